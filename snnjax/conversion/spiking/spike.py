"""`spike`: from a trained function to a spiking one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.conversion.spiking.calibration import Rule, least_error, measure
from snnjax.conversion.spiking.function import SpikingApply, describe
from snnjax.conversion.spiking.program import Apply
from snnjax.conversion.spiking.quantised import settled
from snnjax.conversion.spiking.summary import summarise
from snnjax.runtime.checks import check_count
from snnjax.runtime.images import FUNCTION_RANKS, float_images

__all__ = ["Spiking", "spike"]

LARGEST_DIFFERENCE = 1e-3
"""Share of an image's largest output by which rounding may change it in another batch."""


@partial(
    jax.tree_util.register_dataclass, data_fields=["params", "levels"], meta_fields=["function"]
)
@dataclass(frozen=True)
class Spiking:
    """A function with neurons at its sites, and its parameters; a pytree.

    function: static part. params: what can be trained: "params", the user's, and "thetas" by site.
    levels: number of levels that each value is quantised to, on each side of 0.
    """

    function: SpikingApply
    params: dict[str, Any]
    levels: ArrayLike

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the function's methods: `params` and "levels"."""
        return self.params | {"levels": self.levels}

    def __str__(self) -> str:
        return summarise(self.function, self.arguments)

    def quantised(self, params: dict[str, Any], x: ArrayLike) -> Any:
        """Return the outputs of the ANN that the spiking function settles to.

        Gradients pass the rounding unchanged (straight-through), to thetas too.

        Source: Bengio et al. 2013 for the gradient of values, LSQ (Esser et al. 2020) for that of
        thetas.

        Args:
          params: like `self.params`; an argument of its own for `jax.grad`.
          x: input `[B, ...]`.
        """
        function = self.function
        neurons = function.neurons(params | {"levels": self.levels})
        signed = dict(zip(function.sites, function.signed, strict=True))

        def at(name: str, value: jax.Array) -> jax.Array:
            theta = jnp.asarray(params["thetas"][name], value.dtype)
            exact = settled(value, neurons[name], function.input_steps)
            clipped = jnp.clip(value / theta, -1.0 if signed[name] else 0.0, 1.0)
            through = theta * (clipped + jax.lax.stop_gradient(exact / theta - clipped))
            # The value is `exact` to the bit; the gradient is that of `through`.
            return jax.lax.stop_gradient(exact) + (through - jax.lax.stop_gradient(through))

        return function.begin(params, jnp.asarray(x))(at)


def spike(
    apply: Apply,
    params: Any,
    example: ArrayLike,
    *,
    levels: int = 16,
    input_steps: int | None = None,
    rule: Rule = least_error,
) -> Spiking:
    """Make a function spiking.

    Args:
      apply: `apply(params, x) -> outputs`, a trained function in inference mode, such as
        `module.apply` of Flax.
      params: its parameters, any pytree.
      example: images `[N, ...]` on which the sizes of spikes are measured.
      levels: number of levels that each value is quantised to, on each side of 0.
      input_steps: number of timesteps with input, at least `levels`, since a neuron sends one
        spike per timestep at most; None for `levels`.
      rule: measures the thetas.

    Raises:
      ValueError: naming the operation and the user's line, if the function cannot be spiking; if a
        site has no finite activation but 0 on the example; or if `levels` or `input_steps` is too
        small.
    """
    images = np.asarray(float_images(example, "example", " to measure on", FUNCTION_RANKS))
    levels = check_count("levels", levels)
    if input_steps is None:
        input_steps = levels
    input_steps = check_count("input_steps", input_steps, least=levels)
    _check_images_apart(apply, params, images)
    _, sites, axes = describe(apply, params, images.shape[1:])
    names = tuple(site.name for site in sites)
    function = SpikingApply(
        apply, names, (True,) * len(names), axes, input_steps, images.shape[1:], _name(apply),
    )  # fmt: skip
    arguments = {"params": params, "levels": np.int32(levels)}
    ranges = measure(function, arguments, images)
    function = function._replace(signed=tuple(bool(ranges[name][0] < 0) for name in names))
    thetas = rule(function, arguments, images, ranges)
    return Spiking(function, {"params": params, "thetas": thetas}, np.int32(levels))


def _name(apply: Apply) -> str:
    """Return the name of the user's module or function."""
    owner = getattr(apply, "__self__", None)
    return type(owner).__name__ if owner is not None else getattr(apply, "__name__", "function")


def _check_images_apart(apply: Apply, params: Any, images: np.ndarray) -> None:
    """Check that the outputs of an image do not depend on the other images."""
    first, pair = images[:1], np.concatenate([images[:1], images[-1:]])
    alone, beside = (jax.jit(apply)(params, x) for x in (np.repeat(first, 2, 0), pair))
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(beside), strict=True):
        if np.shape(a)[:1] != (2,) or not jnp.issubdtype(a.dtype, jnp.floating):
            raise ValueError(
                f"apply returns {a.dtype} of shape {np.shape(a)} for 2 images; want floats"
                " [B, ...], a row for each image"
            )
        difference = float(jnp.max(jnp.abs(a[0] - b[0])))
        if difference > LARGEST_DIFFERENCE * float(jnp.max(jnp.abs(a[0]))):
            raise ValueError(
                f"the first image's outputs change by {difference:.3g} with another image beside"
                " it; want inference mode, such as use_running_average=True for batch norm"
            )
