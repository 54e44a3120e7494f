"""A function of JAX whose sites are neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.conversion.spiking.image_axes import (
    ImageAxis,
    as_made,
    check_sites,
    find_image_axis,
    images_first,
)
from snnjax.conversion.spiking.program import (
    Apply,
    Operand,
    RecordedFunction,
    Values,
    evaluate,
    record,
)
from snnjax.conversion.spiking.sites import Site, fed_by, find_sites
from snnjax.conversion.spiking.theta_checks import check_channels, check_levels, check_theta
from snnjax.conversion.tracing.jaxpr_walk import Known
from snnjax.snn.engine import At, Params, Resume
from snnjax.snn.neurons import NeuronParams

__all__ = ["SpikingApply", "describe"]


class SpikingApply(NamedTuple):
    """A function with neurons at its sites; hashable if the function is.

    apply: `apply(params, x) -> outputs`, the user's function.
    found: names of all values that could be sent as spikes, in the order of computation.
    sites: those of them that are; the others stay floats.
    signed: for each site, True if its neurons send negative spikes too.
    image_axes: for each site, the axis of its value that holds the images.
    input_steps: number of timesteps with input.
    image_shape: shape of one image of the example.
    channels: for each site, the size of the last axis of one image's values; None without an axis.
    name: of the function, for messages.
    """

    apply: Apply
    found: tuple[str, ...]
    sites: tuple[str, ...]
    signed: tuple[bool, ...]
    image_axes: tuple[ImageAxis, ...]
    input_steps: int
    image_shape: tuple[int, ...]
    channels: tuple[int | None, ...]
    name: str = "function"

    def check(self, params: Any, levels: ArrayLike) -> None:
        """Check that parameters are those of a spiking function; traced numbers pass.

        Args:
          params: "params", the user's; "thetas" by site, a number or `[C]` for the last axis.
          levels: number of levels.

        Raises:
          ValueError: if something is missing, a theta is no number above 0 whose spikes are float32
            numbers or has another shape, or `levels` is no whole number that a neuron can send
            within the input.
        """
        thetas = params.get("thetas") if isinstance(params, Mapping) else None
        missing = set(self.sites) - set(thetas if isinstance(thetas, Mapping) else ())
        if thetas is None or missing or "params" not in params:
            lacking = f", which lack thetas of {', '.join(sorted(missing))}" if missing else ""
            raise ValueError(
                f"params are not those of {self.name}{lacking}; want spiking.params, or a copy with"
                " other numbers"
            )
        check_levels(levels, self.input_steps)
        for name, channels in zip(self.sites, self.channels, strict=True):
            check_theta(name, thetas[name], channels, levels, self.input_steps)

    def neurons(self, params: Params) -> dict[str, NeuronParams]:
        """Parameters of each site's neurons.

        Args:
          params: "thetas" by site; "levels", the largest spike count of a neuron, and so the number
            of levels that its value is quantised to, on each side.
        """
        return {
            name: self.neurons_at(name, params["thetas"][name], params["levels"])
            for name in self.sites
        }

    def neurons_at(self, name: str, theta: ArrayLike, levels: ArrayLike) -> NeuronParams:
        """Parameters of one site's neurons.

        A spike is worth theta * input_steps / levels: `levels` spikes in `input_steps` timesteps
        stand for theta.

        Args:
          name: of the site.
          theta: the largest value that a neuron represents: a number, or `[C]`.
          levels: the largest spike count.
        """
        most = jnp.asarray(levels, jnp.float32)
        threshold = jnp.asarray(theta) * (self.input_steps / most)
        is_signed = self.signed[self.sites.index(name)]
        return NeuronParams(
            positive=threshold,
            negative=threshold if is_signed else jnp.asarray(jnp.inf, threshold.dtype),
            leak=None,
            initial=jnp.asarray(0.5, threshold.dtype),
            most=most,
        )

    def begin(self, params: Params, x: jax.Array, *, gradient: bool = False) -> Resume:
        """Compute what no site feeds; return the rest of the function, which sends spikes.

        Args:
          params: "params", the user's.
          x: mean input so far, `[B, ...]`.
          gradient: True if reverse-mode gradients are taken.

        Raises:
          ValueError: if the function cannot be spiking for an input of that shape.
        """
        self._check_shape(x)
        # Some operations, such as a product of matrices, drop an axis of one image.
        twice = [jnp.concatenate([x, x])] if jnp.shape(x)[0] == 1 else []
        for images in (x, *twice):
            program, found = self._recorded(params, images)
            if found is not None:
                thetas = params.get("thetas", {})
                parts = (program, found, self.image_axes, thetas, images)
                resume = _split(*parts, gradient=gradient)
                return resume if images is x else _first_of_two(resume)
        raise self._unlike(x)

    def recorded(self, params: Params, x: Any) -> tuple[RecordedFunction, tuple[Site, ...]]:
        """Return the program for a batch of at least 2 images, and its sites with neurons.

        Args:
          params: "params", the user's.
          x: images `[B, ...]`, or their shape and dtype.

        Raises:
          ValueError: if the function cannot be spiking for an input of that shape.
        """
        self._check_shape(x)
        program, found = self._recorded(params, x)
        if found is None:
            raise self._unlike(x)
        return program, found

    def _recorded(self, params: Params, x: Any) -> tuple[RecordedFunction, tuple[Site, ...] | None]:
        """Return the program, and its sites with neurons; None if they are not the example's."""
        program = record(self.apply, params["params"], x)
        found = find_sites(program)
        alike = self._is_like_example(program, found, len(x))
        return program, self.with_neurons(found) if alike else None

    def _unlike(self, x: Any) -> ValueError:
        return ValueError(
            f"{self.name} has other sites for an input of shape {jnp.shape(x)} than for the"
            " example; want a function whose operations do not depend on the number of images"
        )

    def _check_shape(self, x: Any) -> None:
        """Check that images are as large as the example's, if axes of theirs are joined."""
        shape = jnp.shape(x)[1:]
        places = zip(self.sites, self.image_axes, strict=True)
        joined = [name for name, place in places if place.entries > 1]
        if joined and shape != self.image_shape:
            raise ValueError(
                f"images have shape {shape} and those of the example {self.image_shape};"
                f" {self.name} joins the images with other axes at site {joined[0]}, in an order"
                " that is known for the example's shape alone; pass an example with"
                " images of this shape to spike"
            )

    def _is_like_example(
        self, program: RecordedFunction, found: tuple[Site, ...], batch: int
    ) -> bool:
        """Return True if sites and outputs hold the images where those of the example do."""
        return (
            tuple(site.name for site in found) == self.found
            and all(
                place.fits(site.value.shape, batch)
                for site, place in zip(self.with_neurons(found), self.image_axes, strict=True)
            )
            and all(_shape(of)[:1] == (batch,) for of in program.outputs)
        )

    def with_neurons(self, found: tuple[Site, ...]) -> tuple[Site, ...]:
        """Return those of a program's sites that have neurons."""
        return tuple(site for site in found if site.name in self.sites)


def _shape(value: Operand) -> tuple[int, ...]:
    return jnp.shape(value.value) if isinstance(value, Known) else value.shape


def _split(
    program: RecordedFunction,
    sites: tuple[Site, ...],
    axes: tuple[ImageAxis, ...],
    thetas: Mapping[str, ArrayLike],
    x: Any,
    *,
    gradient: bool,
) -> Resume:
    """Compute the steps before all sites; return a function that computes the others.

    Args:
      program: of the function; sites: those with neurons; axes: of their images.
      thetas: by site; empty before they are measured.
      x: mean input so far, `[B, ...]`.
      gradient: True if reverse-mode gradients are taken.
    """
    by_number = {site.value.number: (site, axis) for site, axis in zip(sites, axes, strict=True)}
    fed = fed_by(program, sites)
    is_fed = [not fed.isdisjoint(value.number for value in step.reads) for step in program.steps]
    before = [step for step, is_after in zip(program.steps, is_fed, strict=True) if not is_after]
    after = [step for step, is_after in zip(program.steps, is_fed, strict=True) if is_after]
    start = evaluate(before, {0: x}, lambda number, value: value, gradient=gradient)
    first = [number for number in by_number if number in start]

    def resume(at: At) -> Any:
        def fire(number: int, value: jax.Array) -> jax.Array:
            if number not in by_number:
                return value
            site, axis = by_number[number]
            rows = images_first(value, axis)
            check_channels(site.name, rows.shape, np.shape(thetas.get(site.name, 0)))
            return as_made(at(site.name, rows), axis)

        values: Values = start | {number: fire(number, start[number]) for number in first}
        values = evaluate(after, values, fire, gradient=gradient)
        outputs = [v.value if isinstance(v, Known) else values[v.number] for v in program.outputs]
        return jax.tree.unflatten(program.tree, outputs)

    return resume


def _first_of_two(resume: Resume) -> Resume:
    """Return the function of one image, given that of the image and a copy of it."""

    def of_one(at: At) -> Any:
        def fire(name: str, values: jax.Array) -> jax.Array:
            own = at(name, values[:1])
            return jnp.concatenate([own, own])

        return jax.tree.map(lambda of: of[:1], resume(fire))

    return of_one


def describe(
    apply: Apply, params: Any, shape: tuple[int, ...]
) -> tuple[RecordedFunction, tuple[Site, ...], tuple[ImageAxis, ...]]:
    """Return a function's program for 2 images, its sites and, for each, the axis of the images.

    The axis is the one that grows with the number of images; their order on it is not known here.

    Args:
      apply: the function.
      params: its parameters.
      shape: of one image.

    Raises:
      ValueError: if the function cannot be spiking, or if a site mixes images.
    """
    two, three = (
        record(apply, params, jax.ShapeDtypeStruct((batch, *shape), jnp.float32))
        for batch in (2, 3)
    )
    _check_outputs(two, three)
    sites, others = find_sites(two), find_sites(three)
    check_sites((two, sites), (three, others))
    return two, sites, tuple(map(find_image_axis, sites, others))


def _check_outputs(two: RecordedFunction, three: RecordedFunction) -> None:
    """Check that there are outputs, and that all are floats with a row for each image."""
    if not two.outputs:
        raise ValueError("apply returns nothing; want floats [B, ...], a row for each image")
    for pair in zip(two.outputs, three.outputs, strict=True):
        values = [jnp.asarray(of.value) if isinstance(of, Known) else of for of in pair]
        shapes, dtype = [of.shape for of in values], values[0].dtype
        if [shape[:1] for shape in shapes] != [(2,), (3,)] or not jnp.issubdtype(
            dtype, jnp.floating
        ):
            raise ValueError(
                f"apply returns {dtype} of shape {shapes[0]} for 2 images and {shapes[1]} for 3;"
                " want floats [B, ...], a row for each image"
            )
