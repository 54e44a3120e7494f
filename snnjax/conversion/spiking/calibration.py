"""Thetas of a function's sites, measured on images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.conversion.ann_outputs import image_batches
from snnjax.conversion.spiking.function import SpikingApply
from snnjax.conversion.spiking.quantised import settled
from snnjax.runtime.images import FUNCTION_RANKS

__all__ = [
    "BATCH_SIZE",
    "describe_values",
    "largest",
    "least_error",
    "least_error_by_channel",
    "measure",
]

BATCH_SIZE = 32
"""Images that are calibrated at once."""

FRACTIONS = np.linspace(0.05, 1.0, 39)
"""Candidates for theta, as shares of the largest magnitude."""

Rule = Callable[[SpikingApply, Any, np.ndarray, dict[str, Any]], dict[str, Any]]
"""rule(function, params, images, ranges) -> theta by site: a number, or `[C]` for the last axis.

params: "params", the user's, and "levels"; ranges: what `measure` returned.
"""


def measure(function: SpikingApply, params: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the smallest and the largest value of every site on images, `[2]` by site.

    Args:
      function: with neurons at its sites; its thetas are not used.
      params: "params", the user's.
      images: `[N, ...]`; they are computed in batches.

    Raises:
      ValueError: if a site has a value that is not finite, or zeros only.
    """
    found = [describe_values(function, params, batch)[0] for batch in _batches(images)]
    ranges = {
        name: np.array([min(f[name][0].min() for f in found), max(f[name][1].max() for f in found)])
        for name in function.sites
    }
    for name, ends in ranges.items():
        if not np.isfinite(ends).all():
            raise ValueError(f"site {name} has NaN or Inf on the example; want finite activations")
    if dead := [name for name, ends in ranges.items() if not ends.any()]:
        which = f"site {dead[0]}" if len(dead) == 1 else f"each of the sites {', '.join(dead)}"
        raise ValueError(
            f"{which} is 0 on all {len(images)} images of the example, so that nothing tells the"
            " size of its spikes; pass images on which it is active, or leave it in floats by"
            f" sites=lambda name: name not in {dead}"
        )
    return ranges


def largest(
    function: SpikingApply, params: Any, images: np.ndarray, ranges: dict[str, Any]
) -> dict[str, Any]:
    """Thetas that no value of the images exceeds.

    Source: data-based normalisation, Diehl et al. 2015.
    """
    del function, params, images
    return {name: np.float32(np.abs(ends).max()) for name, ends in ranges.items()}


def least_error(
    function: SpikingApply, params: Any, images: np.ndarray, ranges: dict[str, Any]
) -> dict[str, Any]:
    """Thetas with the least mean squared error between values and quantised values.

    Choice: one of 39 shares of the largest magnitude; the values are those of the function
    without quantisation.
    """
    tops = largest(function, params, images, ranges)
    return _best(function, params, images, {name: _shares(top) for name, top in tops.items()})


def least_error_by_channel(
    function: SpikingApply, params: Any, images: np.ndarray, ranges: dict[str, Any]
) -> dict[str, Any]:
    """Thetas with the least error for each entry of the last axis, `[C]` by site.

    Choice: the shares of the channel's largest magnitude, and those of the site's, so that no
    channel has a larger error than with `least_error`. A channel that is 0 on all images has the
    site's largest magnitude.
    """
    whole = largest(function, params, images, ranges)
    found = [_channel_tops(function, params, batch) for batch in _batches(images)]
    candidates = {}
    for name, top in whole.items():
        tops = np.max([of[name] for of in found], axis=0)
        of_site = _shares(np.full_like(tops, top))[::-1]
        candidates[name] = np.concatenate([of_site, _shares(np.where(tops > 0, tops, top))])
    return _best(function, params, images, candidates)


def _shares(tops: np.ndarray) -> np.ndarray:
    """Candidates for theta, `[39, ...]`, from the largest magnitudes."""
    return np.multiply.outer(FRACTIONS, tops).astype(np.float32)


def _best(
    function: SpikingApply, params: Any, images: np.ndarray, candidates: dict[str, np.ndarray]
) -> dict[str, Any]:
    """First candidate with the least error on all images, by site and channel."""
    errors = [_errors(function, params, batch, candidates) for batch in _batches(images)]
    best = {}
    for name, thetas in candidates.items():
        place = np.argmin(np.sum([of[name] for of in errors], axis=0), axis=0)
        best[name] = np.take_along_axis(thetas, place[None], axis=0)[0]
    return best


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    return image_batches(
        images, name="thetas", purpose=" to measure on", batch_size=BATCH_SIZE, progress=True,
        ranks=FUNCTION_RANKS,
    )  # fmt: skip


@partial(jax.jit, static_argnums=0)
def describe_values(
    function: SpikingApply, params: Any, images: jax.Array
) -> tuple[dict[str, jax.Array], Any]:
    """Return smallest, largest and mean value of every site, `[3, B]`, and the outputs.

    Args:
      function: with neurons at its sites; its thetas are not used.
      params: "params", the user's.
      images: `[B, ...]`.
    """
    found = {}

    def at(name: str, value: jax.Array) -> jax.Array:
        rows = value.reshape(len(value), -1).astype(jnp.float32)
        found[name] = jnp.stack([rows.min(1), rows.max(1), rows.mean(1)])
        return value

    outputs = function.begin(params, images)(at)
    return found, outputs


@partial(jax.jit, static_argnums=0)
def _channel_tops(function: SpikingApply, params: Any, images: jax.Array) -> dict[str, jax.Array]:
    """Largest magnitude of each channel, `[C]` by site; of all values if there is no such axis."""
    found = {}

    def at(name: str, value: jax.Array) -> jax.Array:
        rest = tuple(range(max(value.ndim - 1, 1)))
        found[name] = jnp.max(jnp.abs(value), rest).astype(jnp.float32)
        return value

    function.begin(params, images)(at)
    return found


@partial(jax.jit, static_argnums=0)
def _errors(
    function: SpikingApply, params: Any, images: jax.Array, candidates: dict[str, jax.Array]
) -> dict[str, jax.Array]:
    """Sum of squared errors with each candidate, `[N]` or `[N, C]` by site, as the candidates."""
    found = {}

    def at(name: str, value: jax.Array) -> jax.Array:
        def error(theta: jax.Array) -> jax.Array:
            neurons = function.neurons_at(name, theta, params["levels"])
            quantised = settled(value, neurons, function.input_steps)
            rest = tuple(range(value.ndim - theta.ndim))
            return jnp.sum(jnp.square(quantised - value), rest, dtype=jnp.float32)

        found[name] = jax.lax.map(error, candidates[name])
        return value

    function.begin(params, images)(at)
    return found
