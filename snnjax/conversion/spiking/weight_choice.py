"""The choice of the units of whole weights, without images or by the least error on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.conversion.spiking.function import SpikingApply
from snnjax.conversion.spiking.image_axes import as_made, images_first
from snnjax.conversion.spiking.program import Step, Values, compute
from snnjax.conversion.spiking.quantised import settled
from snnjax.conversion.spiking.sites import Site
from snnjax.conversion.spiking.weights import (
    LEAST,
    ProductWeights,
    channels_of,
    columns,
    on_grid,
    weight_products,
)
from snnjax.conversion.tracing.jaxpr_walk import Known
from snnjax.conversion.weight_units import candidates, least_error, output_errors, start_units
from snnjax.snn.engine import Params

__all__ = ["Choice", "choose_units", "start_choice"]


class Choice(NamedTuple):
    """Units that weights can have.

    units: `[16, C]`, or `[16, 1]` if all channels share one; the first is that of the largest
      weight.
    kept: True, `[C]` or `[1]`, where all weights are whole multiples of the first unit.
    most: largest whole weight.
    """

    units: np.ndarray
    kept: np.ndarray
    most: np.float32


def start_choice(group: list[ProductWeights], most: int) -> Choice:
    """Return the units that weights can have; several operands share one for all channels.

    A channel's unit depends on its own weights alone, down to 2^-100; where all are 0, it
    is that of the largest weight. Several operands have one unit to choose from if the first is not
    the one with the largest weight: its output does not show what clipping does to that.

    Args:
      group: one, or several that hold the same entries of an array in different channels.
      most: largest whole weight.
    """
    tables = [columns(of.values, of.axes) for of in group]
    table = tables[0] if len(tables) == 1 else np.concatenate([of.reshape(-1, 1) for of in tables])
    largest = np.abs(table).max(0)
    size = np.where(largest > 0, largest, largest.max() or 1)
    unit, kept = start_units(table / size, most)
    units = np.maximum(candidates(unit * size), np.float32(LEAST))
    if np.abs(tables[0]).max() < largest.max():
        units = np.repeat(units[:1], len(units), 0)
    return Choice(units, kept, np.float32(most))


@partial(jax.jit, static_argnums=(0, 1))
def choose_units(
    function: SpikingApply,
    owners: tuple[str, ...],
    params: Params,
    images: jax.Array,
    choices: dict[str, Choice],
) -> dict[str, jax.Array]:
    """Return the units with the least squared error of the output of the first product, by name.

    Both the exact weights and those of a unit are multiplied with what the neurons have settled to:
    in the function before, and in the function whose weights up to there are whole.

    Args:
      function: with neurons at its sites.
      owners: name of the choice for each of `weight_products`.
      params: of the function, "levels" included.
      images: `[B, ...]`, at least 2.
      choices: by name.

    Raises:
      ValueError: if the function cannot be spiking for images of that shape.
    """
    program, sites = function.recorded(params, images)
    sent = _neurons(function, params, sites)
    places = list(weight_products(program, sites))
    owned = {number: (of, at) for of, (number, _, at) in zip(owners, places, strict=True)}
    before: Values = {0: images}
    after: Values = {0: images}
    units: dict[str, jax.Array] = {}
    for number, step in enumerate(program.steps):
        reads, rounded = _operands(step, before), _operands(step, after)
        made = compute(step, reads)
        if number in owned:
            name, place = owned[number]
            if name not in units:
                units[name] = _least(step, place, made[0], rounded, choices[name])
            axes = tuple(channels_of(step, place))
            rounded[place] = on_grid(rounded[place], units[name], axes, choices[name].most)
        for output, value, other in zip(step.outputs, made, compute(step, rounded), strict=True):
            before[output.number] = sent(output.number, value)
            after[output.number] = sent(output.number, other)
    return units


def _operands(step: Step, values: Values) -> list[Any]:
    return [x.value if isinstance(x, Known) else values[x.number] for x in step.operands]


def _neurons(
    function: SpikingApply, params: Params, sites: tuple[Site, ...]
) -> Callable[[int, jax.Array], jax.Array]:
    """Return a function of the number of a value and the value: what neurons there settle to."""
    neurons = function.neurons(params)
    pairs = zip(sites, function.image_axes, strict=True)
    by_number = {site.value.number: (site.name, axis) for site, axis in pairs}

    def sent(number: int, value: jax.Array) -> jax.Array:
        if number not in by_number:
            return value
        name, axis = by_number[number]
        rows = settled(images_first(value, axis), neurons[name], function.input_steps)
        return as_made(rows, axis)

    return sent


def _least(
    step: Step, place: int, exact: jax.Array, operands: list[Any], choice: Choice
) -> jax.Array:
    """Unit of the weights of a product with the least error of its output.

    Args:
      step: the product.
      place: of the weights among its operands.
      exact: the output without rounding.
      operands: those of the function with whole weights, but for these weights.
      choice: their units.
    """
    channels = channels_of(step, place)
    kernel, outputs = tuple(channels), tuple(channels.values())

    def output(unit: jax.Array) -> jax.Array:
        whole = on_grid(operands[place], unit, kernel, choice.most)
        (made,) = compute(step, [*operands[:place], whole, *operands[place + 1 :]])
        return columns(made, outputs)

    errors = output_errors(
        columns(exact, outputs), output, jnp.asarray(choice.units), centred=False
    )
    if choice.units.shape[1] == 1:
        errors = errors.sum(-1, keepdims=True)
    return least_error(choice.units, errors, choice.kept)
