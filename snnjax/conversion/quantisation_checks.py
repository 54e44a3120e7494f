"""Checks of converted parameters that are to become whole numbers."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from snnjax.networks import architecture as arch
from snnjax.networks.parameters import check_shapes
from snnjax.snn.layer_parameters import check_layers
from snnjax.snn.simulation_arguments import check_params
from snnjax.snn.whole_numbers import is_integer

__all__ = ["checked_floats"]

Params = dict[str, Any]


def checked_floats(network: arch.Network, params: Params) -> Params:
    """Return the parameters in NumPy's float32, after a check of all that an integer network needs.

    Raises:
      ValueError: naming what is missing or cannot be whole.
    """
    check_params(params)
    check_layers(network.layers, params["layers"], f"network {network.name!r}")
    check_shapes(network.layers, params["layers"])
    if is_integer(params):
        raise ValueError(
            "params are whole numbers already; want the floats that convert returned, also for"
            " other bits"
        )
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
