"""Units of whole weights: w = s K with one s for each output channel, and the choice of s."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.runtime.checks import check_count
from snnjax.runtime.ranges import WEIGHT_BITS

__all__ = [
    "BIASES",
    "BITS",
    "FINEST",
    "SHARES",
    "candidates",
    "check_bits",
    "largest_whole",
    "least_error",
    "mean_by_channel",
    "nearest",
    "output_errors",
    "start_units",
]

BITS = 8
"""Bits of weights that no option names."""

SHARES = np.linspace(1.0, 0.25, 16, dtype=np.float32)
"""Shares of the largest weight of a channel from which on weights are clipped, to choose from."""

FINEST = 2.0**-10
"""Smallest unit of a channel, as a share of the layer's largest: a channel of weights near 0 would
otherwise have thresholds and biases beyond all bounds."""

BIASES = 2.0**12
"""Whole number that the largest bias becomes in a layer whose weights are all 0."""

TOLERANCE = 1e-3
"""Distance of a quotient from a whole number that counts as rounding."""

COARSE = 127
"""Largest whole weight of a grid that is looked for; a finer one hardly differs from none."""

LOOKED_AT = 64
"""Weights of a channel that are looked at before all of them."""


def check_bits(bits: int | Mapping[str, int], names: Collection[str]) -> dict[str, int]:
    """Return the bits of every array of weights, by name; BITS for those that a mapping leaves out.

    Raises:
      ValueError: if a name is unknown, or a number of bits out of range.
    """
    if not isinstance(bits, Mapping):
        bits = dict.fromkeys(names, bits)
    for name in bits:
        if name not in names:
            raise ValueError(f"bits names {name!r}; want one of {', '.join(names)}")
    found = {name: bits.get(name, BITS) for name in names}
    least, most = int(WEIGHT_BITS.lowest), int(WEIGHT_BITS.highest)
    return {
        name: check_count(f"bits of {name}", n, least=least, most=most) for name, n in found.items()
    }


def largest_whole(bits: int) -> int:
    """Return the largest whole weight of a number of bits, sign included."""
    return 2 ** (bits - 1) - 1


def nearest(weights: Any, unit: Any, most: Any) -> jax.Array:
    """Return weights in whole multiples of `unit`, at most `most` in magnitude."""
    return jnp.clip(jnp.round(weights / unit), -most, most)


def start_units(weights: np.ndarray, most: int, bias: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit of each channel in which its largest weight is the largest whole number.

    Args:
      weights: `[n, C]`.
      most: largest whole weight.
      bias: largest magnitude of a bias, which decides where all weights are 0.

    Returns:
      Units `[C]`, and True `[C]` where all weights of a channel are whole multiples of its unit.
    """
    largest = np.abs(weights).max(0)
    unit = (largest / most).astype(np.float32)
    if not unit.max():
        unit = np.full_like(unit, max(bias, FINEST) / BIASES)
    finest = unit.max() * np.float32(FINEST)
    # A channel whose weights are all 0 in the finest unit needs none; its bias would be too large.
    unit = np.where(2 * largest < finest, unit.max(), np.maximum(unit, finest))
    return _keep_grid(weights, unit, largest, most)


def candidates(unit: np.ndarray) -> np.ndarray:
    """Return units to choose from, `[16, ...]`: shares of `unit`."""
    return SHARES.reshape(-1, *[1] * np.ndim(unit)) * unit


def least_error(units: Any, errors: Any, kept: Any) -> jax.Array:
    """Return the units with the least errors, and the first ones where weights are whole in them.

    Args:
      units: from `candidates`, `[16, ...]`.
      errors: of each, `[16, ...]`.
      kept: from `start_units`, `[...]`.
    """
    best = jnp.where(kept, 0, jnp.argmin(jnp.asarray(errors), 0))
    return jnp.take_along_axis(jnp.asarray(units), best[None], 0)[0]


def output_errors(
    exact: jax.Array, output: Callable[[jax.Array], jax.Array], units: Any, *, centred: bool
) -> jax.Array:
    """Return the squared error of an output at each of n units, by channel, `[n, C]`.

    Args:
      exact: the output of weights that are not rounded, `[..., C]`.
      output: of the weights rounded to a unit.
      units: `[n, ...]`.
      centred: leave out the mean error of each channel, because a bias takes it up.
    """

    def error(unit: jax.Array) -> jax.Array:
        wrong = output(unit) - exact
        if centred:
            wrong -= mean_by_channel(wrong)
        return mean_by_channel(jnp.square(wrong))

    return jax.lax.map(error, units)


def mean_by_channel(values: jax.Array) -> jax.Array:
    """Return the mean over all axes but the last."""
    return jnp.mean(values, tuple(range(values.ndim - 1)))


def _keep_grid(
    weights: np.ndarray, unit: np.ndarray, largest: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Finest unit of which all weights of a channel are whole multiples, and True where one is.

    Args:
      weights: `[n, C]`.
      unit: that channels without such a unit keep, `[C]`; also the least one.
      largest: magnitude of a weight, `[C]`.
      most: largest whole weight.
    """
    found, kept = unit.copy(), np.zeros(unit.shape, bool)
    fits = np.minimum(np.floor(largest / (unit * np.float32(1 - TOLERANCE))), most)
    for whole in range(1, min(most, COARSE) + 1):
        places = np.flatnonzero(~kept & (largest > 0) & (fits >= whole))
        for rows in (slice(LOOKED_AT), slice(None)):  # most channels fail at the first look
            quotient = weights[rows, places] / largest[places] * np.float32(whole)
            places = places[np.all(np.abs(quotient - np.round(quotient)) < TOLERANCE, 0)]
        found[places] = largest[places] / (np.floor(fits[places] / whole) * whole)
        kept[places] = True
    return found, kept
