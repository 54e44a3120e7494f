"""Weights of a function's products: the user's arrays that they come from, and their channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.conversion.spiking.function import SpikingApply
from snnjax.conversion.spiking.operations import is_product
from snnjax.conversion.spiking.program import Operand, RecordedFunction, Step, path_of
from snnjax.conversion.spiking.sites import Site
from snnjax.conversion.spiking.summary import ann_floating_steps
from snnjax.conversion.tracing.jaxpr_walk import Known
from snnjax.conversion.weight_units import nearest

__all__ = [
    "LEAST",
    "ROUNDING",
    "ProductWeights",
    "channels_of",
    "columns",
    "find_weights",
    "is_factor",
    "on_grid",
    "spread",
    "weight_products",
]


ROUNDING = 0.05
"""Distance of a weight from a whole multiple of its unit, in units, that counts as rounding: a few
roundings of float32 at 16 bits."""

LEAST = 2.0**-100
"""Smallest unit: float32 holds it and what is computed with it. Weights below its half become 0."""


class ProductWeights(NamedTuple):
    """An operand of products that comes from parameters alone.

    name: of the user's module that computes the first product, or of the array without one.
    arrays: paths of the user's arrays of floats that they are computed from, the largest first, and
      those that `is_factor` calls factors last.
    values: the operand.
    axes: those of the operand that are output channels; the product sums over the others.
    products: places of the products among all that `weight_products` yields.
    line: the user's, of the first product.
    """

    name: str
    arrays: tuple[str, ...]
    values: np.ndarray
    axes: tuple[int, ...]
    products: tuple[int, ...]
    line: str


def weight_products(
    program: RecordedFunction, sites: tuple[Site, ...]
) -> Iterator[tuple[int, Step, int]]:
    """Yield number and step of each product of weights with spikes or the input, and the place of
    the weights among its operands.

    Args:
      program: of the function.
      sites: those with neurons.
    """
    in_floats = {step.outputs for step in ann_floating_steps(program, sites)}
    for number, step in enumerate(program.steps):
        if is_product(step) and step.outputs not in in_floats:
            for place, operand in enumerate(step.operands):
                if isinstance(operand, Known):
                    yield number, step, place


def find_weights(function: SpikingApply, params: Any) -> tuple[ProductWeights, ...]:
    """Return the weights of all products with spikes or the input, in the order of computation.

    Products that read the same entries in the same way have one item. Entries are told apart by
    drawn numbers in their place, since two of them may have one value.

    Args:
      function: with neurons at its sites.
      params: the user's, with values.

    Raises:
      ValueError: if weights come from no array of floats in `params`.
    """
    pair = jax.ShapeDtypeStruct((2, *function.image_shape), jnp.float32)
    program, sites = function.recorded({"params": params}, pair)
    drawn, drawn_sites = function.recorded({"params": _drawn(params)}, pair)
    operands = [step.operands[place] for _, step, place in weight_products(drawn, drawn_sites)]
    leaves = {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_flatten_with_path(params)[0]}
    found: list[ProductWeights] = []
    names: dict[str, int] = {}
    for product, (_, step, place) in enumerate(weight_products(program, sites)):
        operand = step.operands[place]
        assert isinstance(operand, Known)
        arrays = _arrays_of(step, operand, leaves)
        values, axes = np.asarray(operand.value), tuple(channels_of(step, place))
        for index, other in enumerate(found):
            alike = other.arrays == arrays and other.axes == axes
            if alike and _are_equal(operands[other.products[0]], operands[product]):
                found[index] = other._replace(products=(*other.products, product))
                break
        else:
            name = step.module or arrays[0]
            names[name] = names.get(name, 0) + 1
            name += f":{names[name]}" if names[name] > 1 else ""
            found.append(
                ProductWeights(name, arrays, values, axes, (product,), step.operation.line)
            )
    return tuple(found)


def _drawn(params: Any) -> Any:
    """Parameters with random floats in [1, 2) in place of all floats."""
    draw = np.random.default_rng(0)

    def drawn(leaf: Any) -> Any:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return leaf
        if isinstance(leaf, float):
            return draw.uniform(1, 2)
        return draw.uniform(1, 2, np.shape(leaf)).astype(leaf.dtype)

    return jax.tree.map(drawn, params)


def is_factor(array: Any) -> bool:
    """Return True for a mask or a constant factor: an array of one number, or of it and 0.

    Choice: beside an array of more numbers it is no array of weights, whatever its size.
    """
    values = np.asarray(array)
    numbers = values[values != 0]
    return bool(np.all(numbers == numbers[:1]))


def _are_equal(one: Operand, other: Operand) -> bool:
    assert isinstance(one, Known) and isinstance(other, Known)
    return np.array_equal(np.asarray(one.value), np.asarray(other.value))


def _arrays_of(step: Step, operand: Known, leaves: dict[str, Any]) -> tuple[str, ...]:
    """Paths of the arrays of floats that an operand is computed from, as in `ProductWeights`."""
    name, line = step.module or step.kind, step.operation.line
    arrays = [path for path in leaves if path in operand.sources]
    floats = [
        path for path in arrays if jnp.issubdtype(jnp.result_type(leaves[path]), jnp.floating)
    ]
    if not floats:
        held = f"{', '.join(arrays)} in params, no floats" if arrays else "no array in params"
        raise ValueError(
            f"weights of {name} at {line} come from {held}; want floats in params, since quantise"
            " returns the rounded ones there"
        )
    return tuple(sorted(floats, key=lambda of: (is_factor(leaves[of]), -np.size(leaves[of]))))


def channels_of(step: Step, place: int) -> dict[int, int]:
    """Return the axes of an operand that a product does not sum over, with their places in its
    output, in the order of the operand.
    """
    numbers, shape = step.equation.params["dimension_numbers"], np.shape(step.operands[place].value)  # type: ignore[union-attr]
    if step.kind == "conv_general_dilated":
        kernel, output = (numbers.rhs_spec[0], numbers.out_spec[1])
        return {kernel: output} if place else {numbers.lhs_spec[0]: numbers.out_spec[0]}
    contracted, batch = (pair[place] for pair in numbers)
    free = [axis for axis in range(len(shape)) if axis not in (*contracted, *batch)]
    ndim = len(step.outputs[0].shape)
    first = ndim - len(free) if place else len(batch)
    places = {axis: at for at, axis in enumerate(batch)}
    places |= {axis: first + at for at, axis in enumerate(free)}
    return dict(sorted(places.items()))


def columns(values: Any, axes: tuple[int, ...]) -> Any:
    """Return weights, or the output of their product, as `[n, C]`, a column for each channel.

    Args:
      values: an array.
      axes: its output channels.
    """
    rest = [axis for axis in range(values.ndim) if axis not in axes]
    size = math.prod(values.shape[axis] for axis in axes)
    return values.transpose(*rest, *axes).reshape(-1, size)


def on_grid(values: Any, unit: Any, axes: tuple[int, ...], most: Any) -> jax.Array:
    """Return weights rounded to whole multiples of their channel's unit, at most `most` of them.

    Args:
      values: weights in the shape of a product's operand.
      unit: `[C]`, or `[1]` for all channels.
      axes: those of the operand that are output channels.
      most: largest whole weight.
    """
    size = spread(unit, values.shape, axes)
    return nearest(values, size, most) * size


def spread(unit: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """Return units `[C]`, or `[1]` for all, in the shape that weights of a shape broadcast with."""
    if unit.shape[0] == 1:
        return unit[0]
    return unit.reshape([size if axis in axes else 1 for axis, size in enumerate(shape)])
