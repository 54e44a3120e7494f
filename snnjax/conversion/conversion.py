"""Parameters of a network in, parameters of its spiking twin out.

Spikes are units, so every scale is in the weights: a rate of 1 after layer l stands for the
activation theta_l, and v_p of charge for theta_l of pre-activation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.networks import synapse
from snnjax.networks.ann import theta_of
from snnjax.runtime.checks import check_value
from snnjax.snn.neuron import make_params

__all__ = ["Unit", "convert", "find_units", "fold"]

Params = dict[str, Any]


def fold(
    layers: tuple[arch.Layer, ...], params: Mapping[str, Any], statistics: Mapping[str, Any]
) -> Params:
    """The parameters without normalisation of images and batches.

    A Normalise makes the kernel W / std and the bias b - sum of W mean / std. Zeros around
    normalised images are the mean around raw ones, so a convolution with padding also gets
    a "border", the value of each channel beyond the image.
    A BatchNorm makes the kernel g W / s and the bias (b - mean) g / s + beta, with
    s = sqrt(variance + epsilon).

    Source: Rueckauer et al. 2017 for batch normalisation. Choice: the paper does not say how
    its images are normalised.

    Args:
      layers: the specifications; names stay as they are.
      params: the collection "params" of these layers.
      statistics: the collection "batch_stats" of these layers.

    Raises:
      ValueError: if a BatchNorm does not directly follow a Dense or Conv or has no
        statistics, or what follows a Normalise, Flatten and AvgPool apart, is no Dense or
        Conv of its channels.
    """
    return _fold_batch_norm(layers, _fold_normalise(layers, params), statistics)


def _fold_normalise(layers: tuple[arch.Layer, ...], params: Mapping[str, Any]) -> Params:
    folded = dict(params)
    if not layers or not isinstance(layers[0], arch.Normalise):
        return folded
    mean, std = jnp.asarray(layers[0].mean), jnp.asarray(layers[0].std)
    name = "nothing"
    for name, layer in arch.named(layers)[1:]:
        if isinstance(layer, arch.Dense | arch.Conv):
            kernel = params[name]["kernel"]
            inputs = kernel.shape[-2] * (layer.groups if isinstance(layer, arch.Conv) else 1)
            if inputs % len(mean):
                raise ValueError(
                    f"{arch.named(layers)[0][0]} has {len(mean)} channels and the weights of"
                    f" {name} {inputs} inputs; want those of the images"
                )
            kernel = kernel / _each_input(layer, kernel, std)
            means = kernel * _each_input(layer, kernel, mean)
            bias = params[name].get("bias", 0.0) - means.sum(tuple(range(kernel.ndim - 1)))
            folded[name] = {"kernel": kernel, "bias": bias}
            if isinstance(layer, arch.Conv) and layer.padding != "VALID":
                folded[name]["border"] = mean
            return folded
        if not isinstance(layer, arch.AvgPool | arch.Flatten):
            break
    raise ValueError(
        f"{arch.named(layers)[0][0]} is followed by {name}; want a Dense or Conv, so that it can"
        " be folded into its weights"
    )


def _fold_batch_norm(
    layers: tuple[arch.Layer, ...], params: Mapping[str, Any], statistics: Mapping[str, Any]
) -> Params:
    folded: Params = {}
    before: str | None = None
    for name, layer in arch.named(layers):
        if isinstance(layer, arch.Block):
            inner, means = params.get(name, {}), statistics.get(name, {})
            folded[name] = {
                branch: _fold_batch_norm(inside, inner.get(branch, {}), means.get(branch, {}))
                for branch, inside in layer.branches.items()
            }
        elif isinstance(layer, arch.BatchNorm):
            if before is None:
                raise ValueError(
                    f"{name} does not follow a Dense or Conv; put it right behind one, so that"
                    " it can be folded into its weights"
                )
            if name not in statistics:
                raise ValueError(
                    f"{name} has no statistics; pass variables with the collection 'batch_stats'"
                )
            slope = params[name]["scale"] / jnp.sqrt(statistics[name]["var"] + layer.epsilon)
            bias = folded[before].get("bias", 0.0) - statistics[name]["mean"]
            folded[before] |= {
                "kernel": folded[before]["kernel"] * slope,
                "bias": bias * slope + params[name]["bias"],
            }
        elif name in params:
            folded[name] = dict(params[name])
        before = name if isinstance(layer, arch.Dense | arch.Conv) else None
    return folded


def convert(
    network: arch.Network,
    variables: Mapping[str, Any],
    *,
    gain: ArrayLike = 1.0,
    threshold: ArrayLike = 1.0,
    initial: ArrayLike = 0.5,
    leak: ArrayLike = 1.0,
    alpha: ArrayLike | None = None,
    scales: Mapping[str, ArrayLike] | None = None,
    shift: ArrayLike = 0.0,
    output_scale: ArrayLike | None = None,
    output_leak: ArrayLike = 1.0,
) -> Params:
    """The parameters of the spiking network, one savable pytree.

    Hidden layers get W v_p theta_in / theta_out and b v_p / theta_out (eqs. 11 and 16,
    each layer with its own theta), the first W v_p / (c theta), the last W theta_in, so
    that its mean current is the logits. The identity shortcut of a residual block becomes
    a synapse of weight v_p theta_in / theta_out into the same neuron.

    Source: He et al. 2024, eqs. 11 and 16, written out for first, last and residual layers.
    Choice: eq. 16 holds for hidden layers of equal theta only; the paper has no rule for the
    first layer's gain or the last layer.

    Args:
      network: the architecture of the ANN.
      variables: the collection "params" and, with batch normalisation, "batch_stats".
      gain: c of eq. 17 (the encoder multiplies by it and the first layer divides).
      threshold: v_p, in membrane units; changes nothing but the unit.
      initial: v(0) / v_p.
      leak: gamma of eq. 18 for every neuron, in (0, 1]; a 1 that is not traced is left out of
        the numbers, so that a simulation may go by counts: see `spiking.steps_by_counts`.
      alpha: slope that sets v_n = v_p / alpha; None takes each activation's own.
      scales: by path of an activation, what a rate of 1 stands for there; None takes its
        theta, or the step of a StepReLU. Activations without a bound need one: see
        `snnjax.conversion.threshold_balancing`.
      shift: current into every hidden neuron at each timestep, as a fraction of v_p; Deng and
        Gu 2021 have 1 / (2T).
      output_scale: logit that one output spike stands for, for the counting readout: see
        `scaling.measure_output_scale`.
      output_leak: share of the last layer's potential kept per timestep, in (0, 1].

    Raises:
      ValueError: if a value is out of its range, an activation has no scale, a scale has no
        activation, parameters are missing, foreign, NaN or Inf, or a spiking layer has no
        weights before it.
    """
    params = _checked(network, variables)
    _check_positive("gain", gain)
    _check_positive("threshold", threshold)
    check_value("shift", shift, np.isfinite, "it finite, a fraction of the threshold")
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
    layers, _, weighted = _convert_stack(
        network.layers, folded, 1.0 / jnp.asarray(gain, jnp.float32), jnp.float32(1.0), "", plan
    )
    if not weighted:
        raise ValueError(f"network {network.name!r} ends without weights; want a Dense last")
    converted: Params = {
        "gain": jnp.asarray(gain, jnp.float32),
        "layers": layers,
        "output_leak": jnp.asarray(output_leak, jnp.float32),
    }
    if output_scale is not None:
        _check_positive("output_scale", output_scale)
        converted["output_scale"] = jnp.asarray(output_scale, jnp.float32)
    return converted


class Unit(NamedTuple):
    """What a layer of neurons stands for, each a number or one for each channel.

    charge: pre-activation that v_p is; spike: output that a spike is; bound: of the ANN's
    output, in spikes per timestep.
    """

    charge: jax.Array
    spike: jax.Array
    bound: jax.Array


class _Plan(NamedTuple):
    """units: by path of the activation; the rest are the neurons' numbers."""

    units: dict[str, Unit]
    threshold: jax.Array
    alpha: ArrayLike | None
    leak: ArrayLike
    initial: ArrayLike
    shift: ArrayLike


def _convert_stack(
    layers: tuple[arch.Layer, ...],
    params: Params,
    scale: jax.Array,
    end: jax.Array,
    path: str,
    plan: _Plan,
) -> tuple[Params, jax.Array, bool]:
    """Convert a stack whose input unit stands for `scale` and whose last weights give `end`.

    Returns the parameters, what a unit at the end stands for, and whether there were
    weights after the last neurons to bring it there.
    """
    result: Params = {}
    weighted = False
    for place, (name, layer) in enumerate(arch.named(layers)):
        match layer:
            case arch.Dense() | arch.Conv() | arch.Scale():
                goal = _goal(layers, place, end, path, plan)
                result[name] = _rescaled(layer, params[name], scale, goal)
                scale, weighted = goal, True
            case arch.Residual() | arch.Concat():
                goal = _goal(layers, place, end, path, plan)
                # A vector is of all channels, and each branch of a Concat has only some.
                share = jnp.float32(1.0) if isinstance(layer, arch.Concat) else goal
                result[name] = {"weight": 1 / goal} if isinstance(layer, arch.Concat) else {}
                for branch, inside in layer.branches.items():
                    into = f"{path}{name}/{branch}/"
                    inner, reached, weighted = _convert_stack(
                        inside, params[name][branch], scale, share, into, plan
                    )
                    result[name][branch] = inner
                    if not weighted:
                        result[name][f"{branch}_weight"] = reached / share
                scale, weighted = goal, True
            case arch.Activation():
                if not weighted:
                    raise ValueError(
                        f"activation {path}{name} has no weights between it and what it"
                        " listens to; put a Dense or Conv there"
                    )
                alpha = layer.alpha if plan.alpha is None else plan.alpha
                numbers = make_params(
                    plan.threshold, alpha=alpha, leak=plan.leak, initial=plan.initial
                )._asdict()
                del numbers["most"]  # depends on how long the input is shown
                if not isinstance(plan.leak, jax.core.Tracer) and np.all(np.equal(plan.leak, 1)):
                    del numbers["leak"]  # which tells a compiled simulation that there is none
                unit = plan.units[path + name]
                result[name] = {
                    **numbers,
                    "shift": jnp.asarray(plan.shift, jnp.float32) * plan.threshold,
                    "bound": unit.bound,
                }
                scale, weighted = unit.spike, False
    return result, scale, weighted


def _goal(
    layers: tuple[arch.Layer, ...], place: int, end: jax.Array, path: str, plan: _Plan
) -> jax.Array:
    """What a unit of charge stands for behind the weights at `place`."""
    for name, layer in arch.named(layers)[place + 1 :]:
        if isinstance(layer, arch.Dense | arch.Conv | arch.Scale | arch.Block):
            return jnp.float32(1.0)
        if isinstance(layer, arch.Activation):
            return plan.units[path + name].charge / plan.threshold
    return end


def _rescaled(
    layer: arch.Dense | arch.Conv | arch.Scale, params: Params, scale: jax.Array, goal: jax.Array
) -> Params:
    """Weights times scale_in / scale_out, channel by channel where scales are vectors."""
    name = "scale" if isinstance(layer, arch.Scale) else "kernel"
    rescaled = {name: params[name] * _each_input(layer, params[name], scale) / goal}
    if "bias" in params:
        rescaled["bias"] = params["bias"] / goal
    if "border" in params:
        rescaled["border"] = params["border"] / scale
    return rescaled


def _each_input(
    layer: arch.Dense | arch.Conv | arch.Scale, kernel: jax.Array, values: jax.Array
) -> jax.Array:
    """One value, or one for each channel, in the shape of the last two axes of a kernel, or that
    of a scale.
    """
    if not values.ndim:
        return values
    if isinstance(layer, arch.Scale):
        return synapse.of_each(values, kernel)
    inputs, outputs = kernel.shape[-2:]
    if isinstance(layer, arch.Conv):
        groups = jnp.reshape(values, (layer.groups, inputs)).T
        return jnp.repeat(groups, outputs // layer.groups, axis=1)
    # Behind a Flatten the channels repeat, pixel by pixel.
    return jnp.tile(values, inputs // len(values))[:, None]


def find_units(
    network: arch.Network,
    variables: Mapping[str, Any],
    scales: Mapping[str, ArrayLike] | None = None,
) -> dict[str, Unit]:
    """What the neurons of each activation stand for, by path; arguments as in `convert`.

    Raises:
      ValueError: if an activation has no scale, or a scale no activation.
    """
    params, statistics = variables["params"], variables.get("batch_stats", {})
    scales = scales or {}
    known = arch.activations(network)
    for path, scale in scales.items():
        if path not in known:
            raise ValueError(f"scales names {path!r}; want one of {', '.join(known)}")
        _check_positive(f"scale of {path}", scale)
    units = {}
    for path, spec in known.items():
        theta = theta_of(spec, _inside(params, path), _inside(statistics, path))
        if path not in scales and not (spec.step or np.isfinite(spec.theta)):
            raise ValueError(
                f"activation {path} has no bound, so no rate stands for it; pass"
                " scales=measure_scales(network, variables, images)"
            )
        charge = jnp.asarray(scales.get(path, spec.step or theta), jnp.float32)
        spike = charge / theta if spec.learn == "rate" else charge
        units[path] = Unit(charge, spike, jnp.asarray(theta / charge, jnp.float32))
    return units


def _inside(tree: Mapping[str, Any], path: str) -> dict[str, Any]:
    for name in path.split("/"):
        tree = tree.get(name, {})
    return dict(tree)


def _check_positive(name: str, value: ArrayLike) -> None:
    check_value(name, value, lambda x: np.isfinite(x) & (x > 0), "it finite and above 0")


def _checked(network: arch.Network, variables: Mapping[str, Any]) -> Params:
    """The collection "params", with the names that the network has and finite numbers."""
    if "params" not in variables:
        raise ValueError(
            f"variables has {', '.join(sorted(variables)) or 'nothing'}; want the collection"
            " 'params', as a Flax module's init returns it"
        )
    params = variables["params"]
    _check_names(network.layers, params, f"network {network.name!r}")
    for keys, leaf in jax.tree_util.tree_flatten_with_path(dict(variables))[0]:
        if not isinstance(leaf, jax.core.Tracer) and not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(keys, simple=True, separator="/")
            raise ValueError(f"{name} holds NaN or Inf; want finite numbers, so train it again")
    return params


def _check_names(layers: tuple[arch.Layer, ...], params: Mapping[str, Any], where: str) -> None:
    wanted = {}
    for name, layer in arch.named(layers):
        match layer:
            case arch.Dense(_, use_bias) | arch.Conv(use_bias=use_bias):
                wanted[name] = {"kernel", "bias"} if use_bias else {"kernel"}
            case arch.BatchNorm() | arch.Scale():
                wanted[name] = {"scale", "bias"}
            case arch.Activation(learn="layer" | "channel"):
                wanted[name] = {"log_theta"}
            case arch.Activation(learn="rate"):
                wanted[name] = {"share"}
            case arch.Residual() | arch.Concat():
                # Flax leaves out a branch without parameters.
                wanted[name] = set(params.get(name, {})) & set(layer.branches)
                for branch, inside in layer.branches.items():
                    inner = params.get(name, {}).get(branch, {})
                    _check_names(inside, inner, f"{branch} of {name}")
    found = {name: set(inside) for name, inside in params.items()}
    if found != wanted:
        raise ValueError(f"params holds {_listed(found)}; {where} wants {_listed(wanted)}")


def _listed(names: Mapping[str, set[str]]) -> str:
    listed = (f"{name} ({', '.join(sorted(inside))})" for name, inside in sorted(names.items()))
    return ", ".join(listed) or "nothing"
