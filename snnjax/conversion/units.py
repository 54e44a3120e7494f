"""Units of the layers of neurons: values in the ANN that their charge and spikes represent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.runtime.checks import check_value

__all__ = ["Unit", "check_channels", "check_positive", "find_units"]


class Unit(NamedTuple):
    """Units of a layer of neurons, each a scalar or one value per channel.

    charge: pre-activation that a charge of v_p represents.
    spike: output of the activation that a firing rate of 1 represents.
    bound: bound of the ANN's output, in spikes per timestep.
    """

    charge: jax.Array
    spike: jax.Array
    bound: jax.Array


def find_units(
    network: arch.Network,
    variables: Mapping[str, Any],
    scales: Mapping[str, ArrayLike] | None = None,
) -> dict[str, Unit]:
    """Units of each layer of neurons, by path; arguments as in `convert`.

    Raises:
      ValueError: if an activation has no scale, or a scale names no activation.
    """
    params, statistics = variables["params"], variables.get("batch_stats", {})
    if not isinstance(scales or {}, Mapping):
        raise ValueError(
            f"scales is {scales!r}; want a dict from the path of an activation to its scale, as"
            " measure_scales returns it"
        )
    scales = scales or {}
    known = arch.activations(network)
    for path, scale in scales.items():
        if path not in known:
            raise ValueError(f"scales names {path!r}; want one of {', '.join(known)}")
        check_positive(f"scale of {path}", scale)
    units = {}
    for path, spec in known.items():
        theta = spec.learnt_theta(_inside(params, path), _inside(statistics, path))
        if path not in scales and not (spec.step or np.isfinite(spec.theta)):
            raise ValueError(
                f"activation {path} has neither a bound nor a scale; pass"
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


def check_positive(name: str, value: ArrayLike) -> None:
    """Check that a number is above 0, and finite in float32 like its inverse, unless it is traced.

    Raises:
      ValueError: if it is not; the message names the number.
    """
    wanted = "it finite and above 0, also as a float32, and its inverse finite too"
    check_value(name, value, _is_invertible, wanted)


def _is_invertible(value: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        single = value.astype(np.float32)
        return np.isfinite(single) & (single > 0) & np.isfinite(1 / single)


def check_channels(path: str, numbers: Mapping[str, Any], before: arch.Layer) -> None:
    """Check that arrays of numbers have one for each channel of weights directly before.

    Raises:
      ValueError: naming a number that does not.
    """
    channels = getattr(before, "features", None)
    for name, value in numbers.items():
        if channels and np.shape(value)[-1:] not in ((), (1,), (channels,)):
            raise ValueError(
                f"{path}/{name} has shape {np.shape(value)}; want a number, or one for each of"
                f" {channels} channels"
            )
