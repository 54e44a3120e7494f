"""Weights of one layer as whole numbers: the unit of each channel, and the sums they reach."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.conversion.weight_units import (
    candidates,
    check_bits,
    largest_whole,
    least_error,
    mean_by_channel,
    nearest,
    output_errors,
    start_units,
)
from snnjax.networks import architecture as arch
from snnjax.networks.layers import Conv, Dense, Scale, Weights

__all__ = [
    "PIXEL",
    "Goal",
    "Seen",
    "Signal",
    "bits_by_path",
    "count_weights",
    "quantise_weights",
    "weight_names",
]

Params = dict[str, Any]

PIXEL = 255
"""Whole number that a pixel of 1 becomes: images are bytes."""

KNOWN = (Conv, Dense, Scale)
"""Kinds of weights whose output channels are the last axis of their arrays."""


class Seen(NamedTuple):
    """Mean values on the calibration images, `[B, ...]`, both in the units of the float network.

    exact: in the float network; whole: in the integer network.
    """

    exact: jax.Array
    whole: jax.Array


class Signal(NamedTuple):
    """Numbers that an integer network sends from one layer to the next.

    unit: value in the float network that 1 represents, a scalar or one for each channel.
    low, high: largest magnitudes of the negative and of the positive parts of a sum in a timestep.
    channels: number of channels; None if it is not known.
    weighted: True if weights follow the last neurons.
    seen: values on the calibration images, or None without images.
    constant: True if all weights before it are 0, so that any unit keeps it.
    """

    unit: np.ndarray
    low: float
    high: float
    channels: int | None
    weighted: bool
    seen: Seen | None
    constant: bool = False


class Goal(NamedTuple):
    """Unit of a current: given, or to be chosen.

    unit: a scalar or one for each channel; None if the weights choose it.
    shared: True if all channels have one unit: the next weights, or the answer, compare them.
    """

    unit: np.ndarray | None
    shared: bool = False


def bits_by_path(network: arch.Network, bits: int | Mapping[str, int]) -> dict[str, int]:
    """Bits of every layer of weights, by path; BITS for those that a mapping leaves out.

    Raises:
      ValueError: if a path is unknown, or a number of bits out of range.
    """
    paths = [path for path, layer in arch.walk(network.layers) if isinstance(layer, Weights)]
    return check_bits(bits, paths)


def quantise_weights(
    layer: Weights, own: Params, signal: Signal, goal: Goal, path: str, bits: int
) -> tuple[Params, Signal]:
    """Return the arrays of a layer as whole numbers, and the signal behind it.

    Args:
      layer: the weights.
      own: its arrays in the float network.
      signal: the input.
      goal: unit of the output.
      path: of the layer, for messages.
      bits: of the weights, sign included; biases and borders have as many as they need.

    Raises:
      ValueError: if the layer is of an unknown kind, or follows weights and shares a given unit.
    """
    if not isinstance(layer, KNOWN):
        raise ValueError(
            f"layer {path} is a {type(layer).__name__}; integer weights are known for"
            f" {', '.join(kind.__name__ for kind in KNOWN)}"
        )
    if signal.weighted and goal.unit is not None:
        raise ValueError(
            f"layer {path} follows weights without neurons between them, and shares a unit with"
            " other branches, which is too coarse for it; put neurons between, or make one layer"
            " of both"
        )
    most = largest_whole(bits)
    if isinstance(layer, Scale) and signal.weighted:
        most = 1  # a single weight is its own unit, and the weights before it made it fine
    fine = layer.rescale(own, jnp.asarray(signal.unit), jnp.float32(1))
    fine = {name: np.asarray(values) for name, values in fine.items()}
    unit = goal.unit
    if unit is None:
        unit = _choose_unit(layer, own, fine, signal, most, goal.shared)
    whole = {name: np.asarray(v) for name, v in _rounded(fine, unit, most).items()}
    seen = signal.seen and Seen(
        layer.linear(own, signal.seen.exact),
        layer.linear(_in_floats(layer, fine, whole, signal.unit, unit), signal.seen.whole),
    )
    if "bias" in fine:
        bias = fine["bias"]
        if seen is not None:
            bias = bias + np.asarray(mean_by_channel(seen.exact - seen.whole))
        whole["bias"] = np.round(bias / unit)
        if seen is not None:
            seen = Seen(seen.exact + own["bias"], seen.whole + whole["bias"] * unit)
    low, high = _reach(whole, signal)
    constant = not any(np.any(fine[name]) for name in weight_names(fine))
    return whole, Signal(unit, low, high, layer.features, True, seen, constant)


def _in_floats(layer: Weights, fine: Params, whole: Params, unit_in: Any, unit: Any) -> Params:
    """Whole weights in the units of the float network; the bias is the float one."""
    bias = {"bias": fine["bias"]} if "bias" in fine else {}
    return layer.rescale(whole | bias, 1 / jnp.asarray(unit_in), 1 / jnp.asarray(unit)) | bias


def count_weights(network: arch.Network, params: Params) -> int:
    """Number of all weights of a network, without biases and borders."""
    count = 0
    for path, layer in arch.walk(network.layers):
        if isinstance(layer, Weights):
            own = arch.inside(params["layers"], path)
            count += sum(np.size(own[name]) for name in weight_names(own))
    return count


def weight_names(arrays: Params) -> list[str]:
    """Names of a layer's weights: all its arrays but the bias and the border."""
    return [name for name in arrays if name not in ("bias", "border")]


def _rounded(fine: Params, unit: Any, most: Any) -> Params:
    """Weights in whole multiples of `unit`, and the border in whole numbers of the input."""
    whole = {name: nearest(fine[name], unit, most) for name in weight_names(fine)}
    return whole | ({"border": jnp.round(fine["border"])} if "border" in fine else {})


def _choose_unit(
    layer: Weights, own: Params, fine: Params, signal: Signal, most: int, shared: bool
) -> np.ndarray:
    """Unit of each channel, or of all: that of the largest weight, or of the least error."""
    weights = [fine[name].reshape(-1, fine[name].shape[-1]) for name in weight_names(fine)]
    together = np.concatenate(weights)
    if shared:
        together = together.reshape(-1, 1)
    unit, kept = start_units(together, most, np.abs(fine.get("bias", np.zeros(1))).max())
    if shared:
        unit, kept = unit[0], kept[0]
    if signal.seen is None or isinstance(layer, Scale) or np.all(kept):
        return np.asarray(unit)
    units = candidates(unit)
    errors = _errors(layer, own, fine, signal.seen, signal.unit, units, most)
    return np.asarray(least_error(units, errors.sum(-1) if shared else errors, kept))


@partial(jax.jit, static_argnames="layer")
def _errors(
    layer: Weights, own: Params, fine: Params, seen: Seen, unit_in: Any, units: Any, most: Any
) -> jax.Array:
    """Squared error of the layer's output at each of n units, by channel, `[n, C]`.

    Its mean error does not count where a bias takes it up.
    """

    def output(unit: jax.Array) -> jax.Array:
        back = _in_floats(layer, fine, _rounded(fine, unit, most), unit_in, unit)
        return layer.linear(back, seen.whole)

    return output_errors(layer.linear(own, seen.exact), output, units, centred="bias" in fine)


def _reach(whole: Params, signal: Signal) -> tuple[float, float]:
    """Largest magnitudes of the negative and the positive parts of an output in one timestep."""
    border, bias = whole.get("border", np.zeros(1)), whole.get("bias", np.zeros(1))
    high, low = max(signal.high, border.max()), max(signal.low, -border.min())
    up, down = np.maximum(bias, 0.0).astype(np.float64), np.maximum(-bias, 0.0).astype(np.float64)
    for name in weight_names(whole):
        axes = tuple(range(whole[name].ndim - 1))
        positive = np.maximum(whole[name], 0.0).sum(axes, np.float64)
        negative = np.maximum(-whole[name], 0.0).sum(axes, np.float64)
        up = up + positive * high + negative * low
        down = down + negative * high + positive * low
    return float(np.max(down)), float(np.max(up))
