"""Conversion of the parameters of an ANN to the parameters of its spiking network.

Spikes are -1, 0 or 1, so all scales are in the weights: after layer l, a firing rate of 1
represents the activation theta_l, and a charge of v_p represents the pre-activation theta_l.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.conversion.folding import fold
from snnjax.conversion.units import Unit, check_channels, check_positive, find_units
from snnjax.networks import architecture as arch
from snnjax.networks.architecture import unknown_layer
from snnjax.networks.layers import (
    Activation,
    Block,
    FixedSynapse,
    Flatten,
    Folded,
    Layer,
    Weights,
)
from snnjax.networks.parameters import check_shapes, check_variables
from snnjax.runtime.checks import check_single, check_value
from snnjax.snn.neurons import make_params

__all__ = ["convert"]

Params = dict[str, Any]


def convert(
    network: arch.Network,
    variables: Mapping[str, Any],
    *,
    gain: ArrayLike = 1.0,
    threshold: ArrayLike = 1.0,
    initial: ArrayLike = 0.5,
    leak: ArrayLike | None = None,
    alpha: ArrayLike | None = None,
    scales: Mapping[str, ArrayLike] | None = None,
    shift: ArrayLike = 0.0,
    output_scale: ArrayLike | None = None,
    output_leak: ArrayLike = 1.0,
) -> Params:
    """Return the parameters of the spiking network, a pytree that can be saved.

    Hidden layers get W v_p theta_in / theta_out and b v_p / theta_out (eqs. 11 and 16,
    each layer with its own theta), the first W v_p / (c theta), the last W theta_in, so
    that its mean current is the logits. The identity shortcut of a residual block becomes a
    synapse of weight v_p theta_in / theta_out into the same neuron.

    Source: He et al. 2024, eqs. 11 and 16, written out for first, last and residual layers.
    Choice: eq. 16 holds for hidden layers of equal theta only; the paper has no rule for the
    first layer's gain or the last layer.

    Args:
      network: the architecture of the ANN.
      variables: the collection "params" and, with batch normalisation, "batch_stats".
      gain: c of eq. 17 (the encoding multiplies by it, the first layer divides by it).
      threshold: v_p, in membrane units; it only sets this unit.
      initial: v(0) / v_p.
      leak: gamma of eq. 18 for every neuron, in (0, 1]; None for neurons that keep all their
        charge.
      alpha: slope for v_n = v_p / alpha; None for each activation's own.
      scales: activation that a firing rate of 1 represents, by path of the layer of neurons; by
        default theta, or the step of a StepReLU. Activations without a bound need a scale: see
        `snnjax.conversion.threshold_balancing`.
      shift: current into every hidden neuron at each timestep, as a fraction of v_p; Deng and
        Gu 2021 use 1 / (2T).
      output_scale: logit that one output spike represents, for the readout COUNT: see
        `threshold_balancing.measure_output_scale`.
      output_leak: fraction of the last layer's membrane potential kept per timestep, in (0, 1].

    Raises:
      ValueError: if `network` is no Network, a value is out of its range, an activation has no
        scale, a scale names no activation, parameters are missing, unknown, of another shape, NaN
        or Inf, a layer of neurons or the output has no weights before it, or neurons behind a
        Flatten have a theta or scale for each pixel.
    """
    params = _checked(network, variables)
    check_positive("gain", gain)
    check_single("gain", gain)
    check_positive("threshold", threshold)
    check_value("shift", shift, np.isfinite, "it finite, a fraction of the threshold")
    check_single("output_leak", output_leak)
    check_value("output_leak", output_leak, lambda x: (x > 0) & (x <= 1), "it in (0, 1]")
    statistics = variables.get("batch_stats", {})
    plan = _Plan(
        units=find_units(network, variables, scales),
        threshold=jnp.asarray(threshold, jnp.float32),
        alpha=alpha,
        leak=leak,
        initial=initial,
        shift=shift,
    )
    folded = fold(network.layers, params, statistics)
    converted_layers = _convert_stack(
        network.layers, folded, 1.0 / jnp.asarray(gain, jnp.float32), jnp.float32(1.0), "", plan
    )
    if not converted_layers.weighted:
        raise ValueError(f"network {network.name!r} ends without weights; want a Dense last")
    converted: Params = {
        "gain": jnp.asarray(gain, jnp.float32),
        "layers": converted_layers.params,
        "output_leak": jnp.asarray(output_leak, jnp.float32),
    }
    if output_scale is not None:
        check_positive("output_scale", output_scale)
        converted["output_scale"] = jnp.asarray(output_scale, jnp.float32)
    return converted


class _Plan(NamedTuple):
    """Units of each layer of neurons, by path, and the arguments of `convert` for all neurons."""

    units: dict[str, Unit]
    threshold: jax.Array
    alpha: ArrayLike | None
    leak: ArrayLike | None
    initial: ArrayLike
    shift: ArrayLike


class _Converted(NamedTuple):
    """Result of converting a stack of layers.

    params: arrays by name.
    scale: value in the ANN that an output of 1 represents.
    weighted: True if weights follow the last neurons; they have set the scale as requested.
    """

    params: Params
    scale: jax.Array
    weighted: bool


def _convert_stack(
    layers: tuple[Layer, ...],
    params: Params,
    scale: jax.Array,
    end: jax.Array,
    path: str,
    plan: _Plan,
) -> _Converted:
    """Convert a stack of layers with `scale` at its input; its last weights set the scale `end`."""
    result: Params = {}
    weighted = False
    for place, (name, layer) in enumerate(arch.named(layers)):
        match layer:
            case Weights():
                goal = _scale_after(layers, place, end, path, plan)
                _check_channels(path + name, goal, getattr(layer, "features", None))
                result[name] = layer.rescale(params[name], scale, goal)
                scale, weighted = goal, True
            case Block():
                goal = _scale_after(layers, place, end, path, plan)
                if _is_flattened(layers, place):
                    _check_channels(path + name, goal, 0)
                result[name] = _convert_block(
                    layer, params[name], scale, goal, f"{path}{name}/", plan
                )
                scale, weighted = goal, True
            case Activation():
                if not weighted:
                    raise ValueError(
                        f"activation {path}{name} has no weights between it and the neurons or"
                        " image before it; put a Dense or Conv there"
                    )
                unit = plan.units[path + name]
                result[name] = _neuron_numbers(layer, unit, plan)
                check_channels(path + name, result[name], layers[place - 1])
                scale, weighted = unit.spike, False
            case FixedSynapse() | Folded():
                pass  # a FixedSynapse has no parameters, a Folded is in the weights
            case _:
                raise unknown_layer(path + name, layer)
    return _Converted(result, scale, weighted)


def _convert_block(
    block: Block, params: Params, scale: jax.Array, goal: jax.Array, path: str, plan: _Plan
) -> Params:
    """Convert the branches of a block with the scale `goal` at its output.

    A branch that ends without weights gets a synapse at each output, of weight "<branch>_weight".
    """
    inner_goal, weight = block.split_scale(goal)
    result: Params = {} if weight is None else {"weight": weight}
    for branch, stack in block.branches.items():
        inner, reached, weighted = _convert_stack(
            stack, params[branch], scale, inner_goal, f"{path}{branch}/", plan
        )
        result[branch] = inner
        if not weighted:
            result[f"{branch}_weight"] = reached / inner_goal
    return result


def _neuron_numbers(layer: Activation, unit: Unit, plan: _Plan) -> Params:
    """Parameters of a layer of neurons, without `most`, which depends on the simulation."""
    alpha = layer.alpha if plan.alpha is None else plan.alpha
    numbers = make_params(
        plan.threshold, alpha=alpha, leak=plan.leak, initial=plan.initial
    )._asdict()
    del numbers["most"]
    shift = jnp.asarray(plan.shift, jnp.float32) * plan.threshold
    return {**numbers, "shift": shift, "bound": unit.bound}


def _scale_after(
    layers: tuple[Layer, ...], place: int, end: jax.Array, path: str, plan: _Plan
) -> jax.Array:
    """Pre-activation that a current of 1 represents after the weights at `place`."""
    for name, layer in arch.named(layers)[place + 1 :]:
        if isinstance(layer, Weights | Block):
            return jnp.float32(1.0)
        if isinstance(layer, Activation):
            return plan.units[path + name].charge / plan.threshold
    return end


def _is_flattened(layers: tuple[Layer, ...], place: int) -> bool:
    """True if a Flatten lies between the layer at `place` and the next layer of neurons."""
    for layer in layers[place + 1 :]:
        if isinstance(layer, Activation | Weights | Block):
            return False
        if isinstance(layer, Flatten):
            return True
    return False


def _check_channels(path: str, goal: jax.Array, channels: int | None) -> None:
    """Refuse neurons behind a Flatten whose numbers differ from pixel to pixel.

    Raises:
      ValueError: if `goal` has one number for other than `channels` channels.
    """
    if goal.ndim and channels not in (None, goal.shape[0]):
        raise ValueError(
            f"{path} cannot take up the {goal.shape[0]} thetas or scales of the neurons behind its"
            " Flatten, one for each entry; put the Flatten behind the neurons, or give them one"
            " number"
        )


def _checked(network: arch.Network, variables: Mapping[str, Any]) -> Params:
    """Return the collection "params" in float32, after a check of names, shapes and values."""
    check_variables(network, variables)
    params = variables["params"]
    _check_names(network.layers, params, f"network {network.name!r}")
    for keys, leaf in jax.tree_util.tree_flatten_with_path(dict(variables))[0]:
        dtype = getattr(leaf, "dtype", None) or np.asarray(leaf).dtype
        if not jnp.issubdtype(dtype, jnp.number):
            name = jax.tree_util.keystr(keys, simple=True, separator="/")
            raise ValueError(f"{name} is {leaf!r}; want an array of numbers")
        if not isinstance(leaf, jax.core.Tracer) and not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(keys, simple=True, separator="/")
            raise ValueError(f"{name} holds NaN or Inf; want finite numbers, so train it again")
    check_shapes(network.layers, params, "params/")
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), dict(params))


def _check_names(layers: tuple[arch.Layer, ...], params: Mapping[str, Any], where: str) -> None:
    wanted: dict[str, set[str]] = {}
    for name, layer in arch.named(layers):
        if isinstance(layer, Block):
            # Flax leaves out a branch without parameters, and a block of such branches.
            if name in params:
                wanted[name] = set(params[name]) & set(layer.branches)
            for branch, stack in layer.branches.items():
                inner = params.get(name, {}).get(branch, {})
                _check_names(stack, inner, f"{branch} of {name}")
        elif names := layer.parameter_names():
            wanted[name] = set(names)
    found = {name: set(inside) for name, inside in params.items()}
    if found != wanted:
        raise ValueError(f"params holds {_listed(found)}; {where} wants {_listed(wanted)}")


def _listed(names: Mapping[str, set[str]]) -> str:
    listed = (f"{name} ({', '.join(sorted(inside))})" for name, inside in sorted(names.items()))
    return ", ".join(listed) or "nothing"
