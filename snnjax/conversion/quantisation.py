"""Integer networks: converted parameters as whole numbers, whose simulation rounds nothing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.conversion.quantisation_checks import checked_floats
from snnjax.conversion.quantised_blocks import quantise_block
from snnjax.conversion.quantised_weights import (
    PIXEL,
    Goal,
    Seen,
    Signal,
    bits_by_path,
    quantise_weights,
)
from snnjax.conversion.spiking.rounding import round_function
from snnjax.conversion.spiking.spike import Spiking
from snnjax.conversion.weight_units import BITS
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
from snnjax.networks.parameters import check_layered
from snnjax.runtime.images import float_images
from snnjax.snn.whole_numbers import (
    WHOLE,
    check_bytes,
    check_sums,
    count_exact_steps,
)

__all__ = ["quantise"]

Params = dict[str, Any]


@overload
def quantise(
    network: Spiking,
    params: None = None,
    bits: int | Mapping[str, int] = BITS,
    images: ArrayLike | None = None,
) -> Spiking: ...


@overload
def quantise(
    network: arch.Network,
    params: Params,
    bits: int | Mapping[str, int] = BITS,
    images: ArrayLike | None = None,
) -> Params: ...


def quantise(
    network: arch.Network | Spiking,
    params: Params | None = None,
    bits: int | Mapping[str, int] = BITS,
    images: ArrayLike | None = None,
) -> Params | Spiking:
    """Return integer weights of a network or of a spiking function.

    Call it as `quantise(network, params)` with what `convert` returned, or as `quantise(spiking)`
    with what `spike` returned.

    The parameters of an integer network have the form that `convert` returns. Weights, biases,
    borders and thresholds become whole numbers in float32, by channel: K = round(W / s) with
    s = max|W| / (2^(bits-1) - 1), and all else in the unit s. A pixel becomes its byte and a mean
    over a window the sum, so the input of every layer is whole too. Branches of a sum share their
    units; a shortcut without weights becomes a whole weight that may have more bits. One factor,
    behind the readout, gives logits. While all sums stay below 2^24, which `simulate` checks for
    its number of timesteps, float32 rounds nothing: spikes and values are the same for every batch
    size and engine. The check knows the sums from entries `magnitude` of the parameters, so
    quantise again after weights or biases are changed by hand.

    In a spiking function the weights of each product that reads spikes or the input become s K, in
    the user's arrays, and `units` of the result has s by the product's name. Biases, scales, thetas
    and all else stay floats, and its sums are rounded; `print` names what is computed in floats.

    A threshold below half a unit becomes 1 with a warning that names it.

    Source: symmetric quantisation by output channel, Krishnamoorthi 2018; the choice of s by the
    error of the layer's output and the correction of biases are those of Nagel et al. 2021.
    Choice: thresholds stand on the grid of the charge, and the last layer has one s, so that the
    largest whole number is the answer. In a function weights that several products read in the
    same way have the s of the first; in different ways, one s for all channels.

    Args:
      network: the architecture, or what `spike` returned.
      params: what `conversion.convert` returned, with gain and output_leak 1, no leak of neurons,
        and v(0) a multiple of half a threshold; None for a spiking function.
      bits: of the weights, sign included, 2 to 16; or by path of their layer, in a function by the
        names that `print` of the result lists, 8 for others.
      images: images in [0, 1], for a function any that it takes, on which s is chosen, among 16
        values up to the one above, by the least squared error of the layer's output, and on which
        biases of a network take up the mean error of their channel; None for the one above, and
        rounded biases.

    Raises:
      ValueError: if `network` is neither, `params` are not such, not finite or traced, a path or a
        number of bits is not, a layer is of a kind that has no whole numbers, images are no bytes
        divided by 255, or one timestep alone can reach 2^24. For a function, if no product has
        weights, if these are no 32-bit floats in its parameters, no change of their arrays makes
        them whole or two arrays could hold them, if a parameter is not finite and no mask of 0 and
        -inf, or if images are no finite floats or of another shape than it takes.
    """
    if isinstance(network, Spiking):
        if params is not None:
            raise ValueError(
                "params are given, and what spike returned has its own; want"
                " quantise(spiking, bits=8, images=images)"
            )
        before = network.units or {}
        own, units = round_function(network.function, network.arguments, bits, images, before)
        return replace(network, params={**network.params, "params": own}, units=units)
    check_layered(network)
    if params is None:
        raise ValueError(
            "params are missing: want quantise(network, params) with what convert returned; only"
            " what snnjax.spike returned goes without params"
        )
    return _quantise_network(network, params, bits, images)


def _quantise_network(
    network: arch.Network,
    params: Params,
    bits: int | Mapping[str, int],
    images: ArrayLike | None,
) -> Params:
    """Return the parameters of an integer network, in the form that `convert` returns."""
    if isinstance(images, jax.core.Tracer):
        raise ValueError("images are traced; want their values, so call quantise outside jax.jit")
    floats = checked_floats(network, params)
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
        result["output_scale"] = _threshold(floats["output_scale"], end.unit, "output_scale")
    magnitude = max(end.low, end.high)
    result["integer"] = {"pixel": PIXEL, "logit": end.unit, "magnitude": magnitude}
    check_sums(result, 1)
    result["integer"]["steps"] = min(count_exact_steps(result), WHOLE)
    result["integer"]["weight"] = _largest_weight(layers)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), result)


def _largest_weight(layers: Params) -> float:
    """Largest magnitude of a kernel."""
    named = jax.tree_util.tree_flatten_with_path(layers)[0]
    kernels = [leaf for path, leaf in named if path[-1].key == "kernel"]  # type: ignore[attr-defined]
    return max((float(np.abs(kernel).max()) for kernel in kernels), default=0.0)


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
                result[name], signal = _quantise_neurons(layer, own, signal, path)
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


def _quantise_neurons(
    layer: Activation, own: Params, signal: Signal, path: str
) -> tuple[Params, Signal]:
    """Thresholds and shift of neurons in the unit of their current; their spikes are 1."""
    shift = np.round(own["shift"] / signal.unit)
    whole = {
        **own,
        "positive": _threshold(own["positive"], signal.unit, f"{path}/positive"),
        "negative": _threshold(own["negative"], signal.unit, f"{path}/negative"),
        "shift": shift,
        "magnitude": max(signal.low, signal.high) + float(np.abs(shift).max()),
    }
    seen = signal.seen
    if seen is not None:
        back = {name: whole[name] * signal.unit for name in ("positive", "negative")}
        seen = Seen(layer.rate(own, seen.exact), layer.rate({**own, **back}, seen.whole))
    return whole, Signal(np.ones((), np.float32), 1.0, 1.0, signal.channels, False, seen)


def _threshold(value: Any, unit: np.ndarray, name: str) -> np.ndarray:
    """A threshold in whole multiples of `unit`, at least one, with a warning then; inf stays."""
    whole = np.round(value / unit)
    if np.any(whole < 1):
        warnings.warn(
            f"{name} is {np.min(value / unit):.2g} of the unit of the weights before it and becomes"
            " 1, which changes the spikes; want more bits for these weights, or images to choose"
            " the unit on",
            stacklevel=2,
        )
    return np.maximum(whole, 1)
