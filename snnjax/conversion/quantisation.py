"""Integer networks: converted parameters as whole numbers, whose simulation rounds nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.conversion.quantised_blocks import quantise_block
from snnjax.conversion.quantised_weights import (
    BITS,
    PIXEL,
    Goal,
    Seen,
    Signal,
    bits_by_path,
    quantise_weights,
)
from snnjax.networks import architecture as arch
from snnjax.networks.layers import (
    Activation,
    AvgPool,
    Block,
    FixedSynapse,
    Flatten,
    Folded,
    Layer,
    Transpose,
    Weights,
)
from snnjax.networks.parameters import check_layered, check_shapes
from snnjax.runtime.images import float_images
from snnjax.snn.layer_parameters import check_layers
from snnjax.snn.simulation_arguments import check_params
from snnjax.snn.whole_numbers import (
    WHOLE,
    check_bytes,
    check_sums,
    count_exact_steps,
    is_integer,
)

__all__ = ["quantise"]

Params = dict[str, Any]


def quantise(
    network: arch.Network,
    params: Params,
    bits: int | Mapping[str, int] = BITS,
    images: ArrayLike | None = None,
) -> Params:
    """Return the parameters of an integer network, in the form that `convert` returns.

    Weights, biases, borders and thresholds become whole numbers in float32, by channel:
    K = round(W / s) with s = max|W| / (2^(bits-1) - 1), and all else in the unit s. A pixel becomes
    its byte and a mean over a window the sum, so the input of every layer is whole too. Branches of
    a sum share their units; a shortcut without weights becomes a whole weight that may have more
    bits. One factor, behind the readout, gives logits. While all sums stay below 2^24, which
    `simulate` checks for its number of timesteps, float32 rounds nothing: spikes and values are the
    same for every batch size and engine.

    Source: symmetric quantisation by output channel, Krishnamoorthi 2018; the choice of s by the
    error of the layer's output and the correction of biases are those of Nagel et al. 2021.
    Choice: thresholds stand on the grid of the charge, and the last layer has one s, so that the
    largest whole number is the answer.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned, with gain and output_leak 1, no leak of neurons,
        and v(0) a multiple of half a threshold.
      bits: of the weights, sign included, 2 to 16; or by path of their layer, 8 for others.
      images: images in [0, 1] on which s is chosen, among 16 values up to the one above, by the
        least squared error of the layer's output, and on which biases take up the mean error of
        their channel; None for the one above, and rounded biases.

    Raises:
      ValueError: if `params` are not such or not finite, a path or a number of bits is not, a
        layer is of a kind that has no whole numbers, images are no bytes divided by 255, or one
        timestep alone can reach 2^24.
    """
    check_layered(network)
    floats = _checked(network, params)
    seen = None
    if images is not None:
        x = float_images(images, purpose=" to calibrate on")
        check_bytes(x, PIXEL)
        seen = Seen(x, x)
    start = Signal(np.asarray(1 / PIXEL, np.float32), 0.0, float(PIXEL), None, False, seen)
    goal, at = Goal(None, shared=True), _Place("", bits_by_path(network, bits))
    layers, end = _quantise_stack(network.layers, floats["layers"], start, goal, at)
    result = {**floats, "layers": layers}
    if "output_scale" in floats:
        result["output_scale"] = _threshold(floats["output_scale"], end.unit)
    magnitude = max(end.low, end.high)
    result["integer"] = {"pixel": PIXEL, "logit": end.unit, "magnitude": magnitude}
    check_sums(result, 1)
    result["integer"]["steps"] = min(count_exact_steps(result), WHOLE)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), result)


class _Place(NamedTuple):
    """Path of the block that contains a stack, with a "/" at its end, and bits by path."""

    path: str
    bits: dict[str, int]


def _quantise_stack(
    layers: tuple[Layer, ...], params: Params, signal: Signal, end: Goal, at: _Place
) -> tuple[Params, Signal]:
    """Quantise a stack of layers whose last weights have the unit `end`."""
    result: Params = {}
    for place, (name, layer) in enumerate(arch.named(layers)):
        own, path = params.get(name, {}), at.path + name
        match layer:
            case Weights():
                goal = _goal(layers, place, end)
                result[name], signal = quantise_weights(
                    layer, own, signal, goal, path, at.bits[path]
                )
            case Block():
                branches = partial(
                    _quantise_branches, layer, own, signal, at._replace(path=f"{path}/")
                )
                goal = _goal(layers, place, end)
                result[name], signal = quantise_block(layer, own, goal, path, branches)
            case Activation():
                result[name], signal = _quantise_neurons(layer, own, signal)
            case AvgPool():
                result[name], signal = {"divisor": 1.0}, _pooled(layer, signal)
            case Flatten() | Transpose():
                signal = signal._replace(channels=None, seen=_passed(layer, signal.seen))
            case Folded():
                pass  # conversion folded it into the weights
            case _:
                raise ValueError(
                    f"layer {path} is a {type(layer).__name__}, which has no whole numbers yet"
                )
    return result, signal


def _goal(layers: tuple[Layer, ...], place: int, end: Goal) -> Goal:
    """Unit of the output of the layer at `place`, from what follows it in its stack."""
    shared, windows = False, 1
    for layer in layers[place + 1 :]:
        if isinstance(layer, Weights | Block):
            return Goal(None, shared=True)
        if isinstance(layer, Activation):
            return Goal(None, shared)
        if isinstance(layer, AvgPool):
            windows *= layer.window[0] * layer.window[1]
        shared |= isinstance(layer, Flatten)
    unit = None if end.unit is None else np.asarray(end.unit * np.float32(windows))
    return Goal(unit, shared or end.shared)


def _quantise_branches(
    block: Block, own: Params, signal: Signal, at: _Place, goals: list[Goal]
) -> dict[str, tuple[Params, Signal]]:
    """Arrays and end of every branch of a block, by name, with one goal for each."""
    return {
        name: _quantise_stack(
            stack, own.get(name, {}), signal, goal, at._replace(path=f"{at.path}{name}/")
        )
        for (name, stack), goal in zip(block.branches.items(), goals, strict=True)
    }


def _pooled(layer: AvgPool, signal: Signal) -> Signal:
    """Sums over windows, in a unit as many times smaller."""
    size = layer.window[0] * layer.window[1]
    return signal._replace(
        unit=np.asarray(signal.unit / np.float32(size)), low=signal.low * size,
        high=signal.high * size, seen=_passed(layer, signal.seen),
    )  # fmt: skip


def _passed(layer: FixedSynapse, seen: Seen | None) -> Seen | None:
    return seen and Seen(*(layer.linear({}, values) for values in seen))


def _quantise_neurons(layer: Activation, own: Params, signal: Signal) -> tuple[Params, Signal]:
    """Thresholds and shift of neurons in the unit of their current; their spikes are 1."""
    shift = np.round(own["shift"] / signal.unit)
    whole = {
        **own,
        "positive": _threshold(own["positive"], signal.unit),
        "negative": _threshold(own["negative"], signal.unit),
        "shift": shift,
        "magnitude": max(signal.low, signal.high) + float(np.abs(shift).max()),
    }
    seen = signal.seen
    if seen is not None:
        back = {name: whole[name] * signal.unit for name in ("positive", "negative")}
        seen = Seen(layer.rate(own, seen.exact), layer.rate({**own, **back}, seen.whole))
    return whole, Signal(np.ones((), np.float32), 1.0, 1.0, signal.channels, False, seen)


def _threshold(value: Any, unit: np.ndarray) -> np.ndarray:
    """A threshold in whole multiples of `unit`, at least one; inf stays."""
    return np.maximum(np.round(value / unit), 1)


def _checked(network: arch.Network, params: Params) -> Params:
    """Return the parameters in NumPy's float32, after a check of all that an integer network needs.

    Raises:
      ValueError: naming what is missing or cannot be whole.
    """
    check_params(params)
    check_layers(network.layers, params["layers"], f"network {network.name!r}")
    check_shapes(network.layers, params["layers"])
    if is_integer(params):
        raise ValueError("params are whole numbers already; want what convert returned")
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(params)):
        raise ValueError("params are traced; want their values, so call quantise outside jax.jit")
    if "readout" in params:
        raise ValueError("params have a leaky readout, which has fractions; want them without it")
    floats: Params = {
        name: _as_floats(value) if isinstance(value, dict) else np.asarray(value, np.float32)
        for name, value in params.items()
    }
    _check_finite(floats)
    for name in ("gain", "output_leak"):
        if np.any(floats[name] != 1):
            raise ValueError(f"{name} is {float(floats[name]):g}; want 1, so convert with {name}=1")
    for path in arch.activations(network):
        numbers = arch.inside(floats["layers"], path)
        if numbers["leak"] is not None:
            raise ValueError(f"{path} has a leak, which makes fractions; convert with leak=None")
        if np.any(2 * numbers["initial"] != np.round(2 * numbers["initial"])):
            raise ValueError(
                f"{path}/initial is {numbers['initial']}; want a multiple of 1/2 for whole numbers"
            )
    return floats


def _check_finite(floats: Params) -> None:
    """Check that all numbers are finite; a negative threshold and a bound may be inf.

    Raises:
      ValueError: naming the array that holds another.
    """
    for keys, leaf in jax.tree_util.tree_flatten_with_path(floats)[0]:
        path = jax.tree_util.keystr(keys, simple=True, separator="/")
        bad = np.isnan(leaf) if path.endswith(("/negative", "/bound")) else ~np.isfinite(leaf)
        if np.any(bad):
            raise ValueError(
                f"{path.removeprefix('layers/')} holds {leaf[bad][0]}, which no whole number is;"
                " want finite numbers"
            )


def _as_floats(tree: Params) -> Params:
    """Nested dicts with arrays of NumPy's float32; None stays."""
    return {
        name: _as_floats(value)
        if isinstance(value, dict)
        else (None if value is None else np.asarray(value, np.float32))
        for name, value in tree.items()
    }
