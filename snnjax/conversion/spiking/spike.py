"""`spike`: from a trained function to a spiking one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.conversion.spiking.calibration import Rule, least_error, measure
from snnjax.conversion.spiking.example_checks import check_outputs, check_params, tolerance_of
from snnjax.conversion.spiking.function import SpikingApply, describe
from snnjax.conversion.spiking.image_order import with_image_orders
from snnjax.conversion.spiking.program import Apply
from snnjax.conversion.spiking.quantised import settled
from snnjax.conversion.spiking.summary import summarise
from snnjax.conversion.spiking.weight_summary import weight_lines
from snnjax.runtime.checks import check_count, check_name
from snnjax.runtime.images import FUNCTION_RANKS, float_images
from snnjax.runtime.ranges import STEPS

__all__ = ["Spiking", "spike"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["params", "levels", "units"],
    meta_fields=["function"],
)
@dataclass(frozen=True)
class Spiking:
    """A function with neurons at its sites, and its parameters; a pytree.

    function: static part. params: what can be trained: "params", the user's, and "thetas" by site.
    levels: number of levels that each value is quantised to, on each side of 0.
    units: of whole weights, by name, from `quantise`; None without it. They stay when `params` are
    trained, and are no longer those of the weights then, which `print` says.
    """

    function: SpikingApply
    params: dict[str, Any]
    levels: ArrayLike
    units: dict[str, Any] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the function's methods: `params` and "levels".

        Raises:
          ValueError: if they are not those of the function.
        """
        self.function.check(self.params, self.levels)
        return self.params | {"levels": self.levels}

    def __str__(self) -> str:
        lines = [summarise(self.function, self.arguments)]
        if self.units is not None:
            lines += weight_lines(self.function, self.params, self.units)
        return "\n".join(lines)

    def quantised(self, params: dict[str, Any], x: ArrayLike) -> Any:
        """Return the outputs of the ANN that the spiking function settles to.

        Gradients pass the rounding unchanged (straight-through), to thetas too.

        Source: Bengio et al. 2013 for the gradient of values, LSQ (Esser et al. 2020) for that of
        thetas.

        Args:
          params: like `self.params`; an argument of its own for `jax.grad`.
          x: input `[B, ...]`.

        Raises:
          ValueError: if `x` is no array of floats `[B, ...]`, a theta is missing or not above 0,
            or the function cannot be spiking for an input of that shape.
        """
        x, function = float_images(x, "x", ranks=FUNCTION_RANKS), self.function
        function.check(params, self.levels)
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
    sites: Collection[str] | Callable[[str], bool] | None = None,
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
      sites: names of the sites that get neurons, as `print` shows them, or a function that is True
        for these names; the values of the others stay floats. None for all.

    Raises:
      ValueError: naming the operation and the user's line, if the function cannot be spiking; if no
        product reads an activation; if a site has no finite activation but 0 on the example, or
        outputs are NaN; if an image's outputs depend on other images; if parameters are no numbers,
        or are traced; if the example is a tuple or list of arrays; if a theta is no number whose
        spikes float32 can hold; if `levels` or `input_steps` is too small; or if `sites` has a name
        that no site has, or leaves none.
    """
    if not callable(apply):
        raise ValueError(f"apply is {apply!r}; want a function: apply(params, x) -> outputs")
    check_params(params, example)
    _check_example(example)
    if not callable(rule):
        raise ValueError(f"rule is {rule!r}; want a function such as calibration.least_error")
    images = float_images(example, "example images", " to measure on", FUNCTION_RANKS)
    levels = check_count("levels", levels, most=STEPS.highest)
    if input_steps is None:
        input_steps = levels
    input_steps = check_count("input_steps", input_steps, least=levels, most=STEPS.highest)
    images, name, apply = np.asarray(images), _name(apply), _hashable(apply)
    program, described, axes = describe(apply, params, images.shape[1:])
    if not described:
        raise ValueError(
            f"{name} has no activation that a weight product reads: nothing would spike"
        )
    found = tuple(site.name for site in described)
    names = _chosen(sites, found)
    axes = tuple(axis for of, axis in zip(found, axes, strict=True) if of in names)
    arguments = {"params": params, "levels": np.int32(levels)}
    tolerance = tolerance_of(program)
    function = SpikingApply(
        apply, found, names, (True,) * len(names), axes, input_steps, images.shape[1:], (), name
    )
    ranges = measure(function, arguments, images)
    function = with_image_orders(function, arguments, images, tolerance)
    check_outputs(function, arguments, images, tolerance)
    function = function._replace(
        signed=tuple(bool(ranges[name][0] < 0) for name in names),
        channels=_channels(function, arguments),
    )
    thetas = rule(function, arguments, images, ranges)
    spiking = Spiking(function, {"params": params, "thetas": thetas}, np.int32(levels))
    function.check(spiking.params, levels)
    return spiking


def _check_example(example: Any) -> None:
    """Check that the example is one array.

    Raises:
      ValueError: if it is a tuple or list of arrays.
    """
    if isinstance(example, tuple | list) and any(
        np.ndim(of) and hasattr(of, "shape") for of in example
    ):
        raise ValueError(
            f"example is a {type(example).__name__} of {len(example)} arrays; want one array"
            " [N, ...]: stack images, and join several inputs, as by jnp.concatenate on their last"
            " axis, and part them again in apply"
        )


def _chosen(
    sites: Collection[str] | Callable[[str], bool] | None, found: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the names of the sites that get neurons, in the order of computation.

    Raises:
      ValueError: if a name is unknown, or none is left.
    """
    if sites is None:
        return found
    if callable(sites):
        chosen = tuple(name for name in found if sites(name))
    elif isinstance(sites, str) or not isinstance(sites, Collection):
        raise ValueError(
            f"sites is {sites!r}; want names, such as [{found[0]!r}], a function of a name, or None"
            " for all"
        )
    else:
        for name in sites:
            check_name("site", name, found)
        chosen = tuple(name for name in found if name in sites)
    if not chosen:
        raise ValueError(f"sites leaves no site with neurons; want some of {', '.join(found)}")
    return chosen


def _channels(function: SpikingApply, params: dict[str, Any]) -> tuple[int | None, ...]:
    """Size of the last axis of one image's values, for each site; None without an axis."""
    sizes: dict[str, int | None] = {}

    def at(name: str, value: jax.Array) -> jax.Array:
        sizes[name] = value.shape[-1] if value.ndim > 1 else None
        return value

    pair = jax.ShapeDtypeStruct((2, *function.image_shape), jnp.float32)
    jax.eval_shape(lambda params, x: function.begin(params, x)(at), params, pair)
    return tuple(sizes[name] for name in function.sites)


def _hashable(apply: Apply) -> Apply:
    """Return a function that `jax.jit` takes as a constant: the same, unless it holds arrays."""
    try:
        hash(apply)
    except TypeError:
        return lambda params, x: apply(params, x)
    return apply


def _name(apply: Apply) -> str:
    """Return the name of the user's module or function."""
    owner = getattr(apply, "__self__", None)
    return type(owner).__name__ if owner is not None else getattr(apply, "__name__", "function")
