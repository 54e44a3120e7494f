"""Checks of a function on its example: numbers that can be traced, and images that stay apart."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.conversion.spiking.calibration import BATCH_SIZE, describe_values
from snnjax.conversion.spiking.function import SpikingApply
from snnjax.conversion.spiking.program import RecordedFunction, path_of

__all__ = ["INFERENCE", "check_outputs", "check_params", "tolerance_of"]

LARGEST_DIFFERENCE = 1e-3
"""Share of the largest value by which rounding may change a value in another batch."""

ROUNDINGS = 16
"""Multiple of a 16-bit float's rounding error by which rounding may change a value."""

INFERENCE = "want inference mode, such as use_running_average=True for batch norm"
"""Advice to a function whose images change each other's values."""


def check_params(params: Any, example: Any) -> None:
    """Check that the parameters are numbers with values.

    Raises:
      ValueError: if a leaf is no number, or if one, or the example, is traced.
    """
    for keys, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        path = path_of(keys)
        numbers = jax.Array | np.ndarray | np.generic | int | float | complex
        is_text = isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "OSU"
        if not isinstance(leaf, numbers) or is_text:
            raise ValueError(
                f"params hold {leaf!r} at {path}; want arrays of numbers: pass what is static in"
                " apply, as eqx.partition(model, eqx.is_array) and nnx.split part it"
            )
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, example))):
        raise ValueError(
            "params or example are traced; spike measures thetas on their values, so call it"
            " outside of jax.jit, jax.grad and jax.vmap"
        )


def tolerance_of(program: RecordedFunction) -> float:
    """Return the share of the largest value by which rounding may change a value."""
    dtypes = {value.dtype for step in program.steps for value in (*step.reads, *step.outputs)}
    floats = [jnp.finfo(of).eps for of in dtypes if jnp.issubdtype(of, jnp.floating)]
    coarse = max([float(eps) for eps in floats if eps > jnp.finfo(jnp.float32).eps], default=0.0)
    return max(LARGEST_DIFFERENCE, ROUNDINGS * coarse)


def check_outputs(
    function: SpikingApply, params: Any, images: np.ndarray, tolerance: float
) -> None:
    """Check that each image's values depend on this image alone.

    The images are computed in their order, in another order, and the first one beside copies of
    itself; and two of them by the user's function.

    Args:
      function: with neurons at its sites; its thetas are not used.
      params: "params", the user's.
      images: `[N, ...]`.
      tolerance: share of the largest value by which rounding may change it.

    Raises:
      ValueError: if values or outputs change with the other images, or outputs are NaN.
    """
    batches = math.ceil(len(images) / BATCH_SIZE)
    batch = _different(images[: len(images) // batches])  # as many as are measured at once
    straight = describe_values(function, params, batch)
    rolled = describe_values(function, params, np.roll(batch, 1, 0))
    alone = describe_values(function, params, np.repeat(batch[:1], len(batch), 0))
    if any(np.isnan(leaf).any() for leaf in jax.tree.leaves(straight[1])):
        raise ValueError("apply returns NaN on the example; want parameters without NaN")
    for name in function.sites:
        values = straight[0][name]
        others = np.roll(rolled[0][name], -1, 1), alone[0][name]
        if _differ(values, others[0], tolerance) or _differ(values[:, :1], others[1], tolerance):
            raise ValueError(
                f"values at site {name} change with the images beside them; {INFERENCE}"
            )
    with jax.default_matmul_precision("highest"):
        pair = jax.jit(function.apply)(params["params"], batch[:2])
    leaves = (jax.tree.leaves(of) for of in (straight[1], rolled[1], alone[1], pair))
    for values, moved, same, two in zip(*leaves, strict=True):
        if _differ(values, np.roll(moved, -1, 0), tolerance) or _differ(
            values[:1], same, tolerance
        ):
            raise ValueError(f"an image's outputs change with the images beside it; {INFERENCE}")
        if _differ(values[:2], two, tolerance):
            raise ValueError(
                f"outputs of the first two images change in a batch of {len(batch)}; {INFERENCE},"
                " and no numbers that depend on the size of the batch"
            )


def _different(images: np.ndarray) -> np.ndarray:
    """Return at least 2 images that are not all equal."""
    if len(images) > 1 and (images != images[:1]).any():
        return images
    other = np.flip(images[:1]) / 2
    return np.concatenate([images[:1], other if (other != images[:1]).any() else other + 1])


def _differ(values: Any, others: Any, tolerance: float) -> bool:
    """Return True if values differ by more than rounding."""
    values, others = np.broadcast_arrays(np.asarray(values, np.float64), np.asarray(others))
    apart = values != others  # equal infinities are not
    largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    return bool(np.any(~(np.abs(values - others)[apart] <= tolerance * largest)))
