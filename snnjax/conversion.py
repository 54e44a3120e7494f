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

from snnjax import architecture as arch
from snnjax.ann import theta_of
from snnjax.checks import check_value
from snnjax.neuron import make_params

__all__ = ["convert", "fold_batch_norm"]

Params = dict[str, Any]


def fold_batch_norm(
    layers: tuple[arch.Layer, ...], params: Mapping[str, Any], statistics: Mapping[str, Any]
) -> Params:
    """The parameters without batch normalisation: kernel g / s, bias (b - mean) g / s + beta.

    Source: Rueckauer et al. 2017, batch-normalisation layers; s = sqrt(variance + epsilon).

    Args:
      layers: the specifications, BatchNorm included; names stay as they are.
      params: the collection "params" of these layers.
      statistics: the collection "batch_stats" of these layers.

    Raises:
      ValueError: if a BatchNorm does not directly follow a Dense or Conv, or has no
        statistics.
    """
    folded: Params = {}
    before: str | None = None
    for name, layer in arch.named(layers):
        if isinstance(layer, arch.Residual):
            inner, means = params.get(name, {}), statistics.get(name, {})
            folded[name] = {
                branch: fold_batch_norm(inside, inner.get(branch, {}), means.get(branch, {}))
                for branch, inside in (("body", layer.body), ("shortcut", layer.shortcut))
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
            folded[before] = {
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
    output_scale: ArrayLike | None = None,
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
      leak: gamma of eq. 18 for every neuron, in (0, 1].
      alpha: slope that sets v_n = v_p / alpha; None takes each activation's own.
      scales: by path of an activation, what a rate of 1 stands for there; None takes its
        theta. Activations without a bound need one: see `snnjax.scaling`.
      output_scale: logit that one output spike stands for, for the counting readout: see
        `scaling.measure_output_scale`.

    Raises:
      ValueError: if a value is out of its range, an activation has no scale, a scale has no
        activation, parameters are missing, foreign, NaN or Inf, or a spiking layer has no
        weights before it.
    """
    params = _checked(network, variables)
    _check_positive("gain", gain)
    _check_positive("threshold", threshold)
    plan = _Plan(
        thetas=_thetas(network, params, scales or {}),
        threshold=jnp.asarray(threshold, jnp.float32),
        alpha=alpha,
        leak=leak,
        initial=initial,
    )
    folded = fold_batch_norm(network.layers, params, variables.get("batch_stats", {}))
    layers, _, weighted = _convert_stack(
        network.layers, folded, 1.0 / jnp.asarray(gain, jnp.float32), jnp.float32(1.0), "", plan
    )
    if not weighted:
        raise ValueError(f"network {network.name!r} ends without weights; want a Dense last")
    converted: Params = {"gain": jnp.asarray(gain, jnp.float32), "layers": layers}
    if output_scale is not None:
        _check_positive("output_scale", output_scale)
        converted["output_scale"] = jnp.asarray(output_scale, jnp.float32)
    return converted


class _Plan(NamedTuple):
    """thetas: by path, what a rate of 1 stands for; the rest are the neurons' numbers."""

    thetas: dict[str, jax.Array]
    threshold: jax.Array
    alpha: ArrayLike | None
    leak: ArrayLike
    initial: ArrayLike


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
            case arch.Dense() | arch.Conv():
                goal = _goal(layers, place, end, path, plan)
                result[name] = _rescaled(layer, params[name], scale, goal)
                scale, weighted = goal, True
            case arch.Residual(body, shortcut):
                goal = _goal(layers, place, end, path, plan)
                result[name] = {}
                for branch, inside in (("body", body), ("shortcut", shortcut)):
                    into = f"{path}{name}/{branch}/"
                    inner, unit, weighted = _convert_stack(
                        inside, params[name][branch], scale, goal, into, plan
                    )
                    result[name][branch] = inner
                    if not weighted:
                        result[name][f"{branch}_weight"] = unit / goal
                scale, weighted = goal, True
            case arch.Activation():
                if not weighted:
                    raise ValueError(
                        f"activation {path}{name} has no weights between it and what it"
                        " listens to; put a Dense or Conv there"
                    )
                alpha = layer.alpha if plan.alpha is None else plan.alpha
                result[name] = make_params(
                    plan.threshold, alpha=alpha, leak=plan.leak, initial=plan.initial
                )._asdict()
                scale, weighted = plan.thetas[path + name], False
    return result, scale, weighted


def _goal(
    layers: tuple[arch.Layer, ...], place: int, end: jax.Array, path: str, plan: _Plan
) -> jax.Array:
    """What a unit of charge stands for behind the weights at `place`."""
    for name, layer in arch.named(layers)[place + 1 :]:
        if isinstance(layer, arch.Dense | arch.Conv | arch.Residual):
            return jnp.float32(1.0)
        if isinstance(layer, arch.Activation):
            return plan.thetas[path + name] / plan.threshold
    return end


def _rescaled(
    layer: arch.Dense | arch.Conv, params: Params, scale: jax.Array, goal: jax.Array
) -> Params:
    """Weights times scale_in / scale_out, channel by channel where scales are vectors."""
    kernel = params["kernel"]
    inputs, outputs = kernel.shape[-2:]
    if scale.ndim:
        if isinstance(layer, arch.Conv):
            groups = jnp.reshape(scale, (layer.groups, inputs)).T
            scale = jnp.repeat(groups, outputs // layer.groups, axis=1)
        else:  # behind a Flatten the channels repeat, pixel by pixel
            scale = jnp.tile(scale, inputs // len(scale))[:, None]
    rescaled = {"kernel": kernel * scale / goal}
    if "bias" in params:
        rescaled["bias"] = params["bias"] / goal
    return rescaled


def _thetas(
    network: arch.Network, params: Params, scales: Mapping[str, ArrayLike]
) -> dict[str, jax.Array]:
    known = arch.activations(network)
    for path, scale in scales.items():
        if path not in known:
            raise ValueError(f"scales names {path!r}; want one of {', '.join(known)}")
        _check_positive(f"scale of {path}", scale)
    thetas = {}
    for path, spec in known.items():
        inside = params
        for name in path.split("/"):
            inside = inside.get(name, {})
        theta = jnp.asarray(scales.get(path, theta_of(spec, inside)), jnp.float32)
        if spec.theta == float("inf") and path not in scales:
            raise ValueError(
                f"activation {path} has no bound, so no rate stands for it; pass"
                " scales=measure_scales(network, variables, images)"
            )
        thetas[path] = theta
    return thetas


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
            case arch.BatchNorm():
                wanted[name] = {"scale", "bias"}
            case arch.Activation(learn="layer" | "channel"):
                wanted[name] = {"log_theta"}
            case arch.Residual():
                # Flax leaves out a branch without parameters.
                branches = {"body": layer.body, "shortcut": layer.shortcut}
                wanted[name] = set(params.get(name, {})) & {"body", "shortcut"}
                for branch, inside in branches.items():
                    inner = params.get(name, {}).get(branch, {})
                    _check_names(inside, inner, f"{branch} of {name}")
    found = {name: set(inside) for name, inside in params.items()}
    if found != wanted:
        raise ValueError(f"params holds {_listed(found)}; {where} wants {_listed(wanted)}")


def _listed(names: Mapping[str, set[str]]) -> str:
    listed = (f"{name} ({', '.join(sorted(inside))})" for name, inside in sorted(names.items()))
    return ", ".join(listed) or "nothing"
