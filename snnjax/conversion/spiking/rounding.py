"""Whole weights of what `spike` returned, as multiples of one unit for each output channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from snnjax.conversion.spiking.function import SpikingApply, describe
from snnjax.conversion.spiking.weight_arrays import SAME, count_readers, put_operands, reach
from snnjax.conversion.spiking.weight_choice import Choice, choose_units, start_choice
from snnjax.conversion.spiking.weights import (
    ROUNDING,
    Weights,
    find_weights,
    on_grid,
    spread,
    weight_products,
)
from snnjax.conversion.weight_units import check_bits, largest_whole
from snnjax.runtime.images import FUNCTION_RANKS, float_images
from snnjax.snn.engine import Params

__all__ = ["round_function"]


def round_function(
    function: SpikingApply, params: Params, bits: int | Mapping[str, int], images: ArrayLike | None
) -> Params:
    """Return the parameters of a spiking function with whole weights, and their units.

    Args:
      function: with neurons at its sites.
      params: of the function, "levels" included, which are checked.
      bits: of the weights, or by name.
      images: to choose the units on; None for those of the largest weights.

    Returns:
      "params", the user's; "units" by name, `[C]`, or `[1]` for all channels.

    Raises:
      ValueError: as `quantise`.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, images))):
        raise ValueError(
            "params or images are traced; want their values, so call quantise outside of jax.jit"
        )
    weights = _checked_weights(function, params)
    if images is not None:
        images = np.asarray(float_images(images, "images", " to calibrate on", FUNCTION_RANKS))
    each = check_bits(bits, [of.name for of in weights])
    held = _holders(function, params, weights)
    groups = _groups(function, params, weights, held)
    choices = {}
    for name, group in groups.items():
        _check_same([of.name for of in group], each)
        choices[name] = start_choice(group, largest_whole(each[name]))
    owners = {of.name: name for name, group in groups.items() for of in group}
    chosen = _choose(function, params, weights, owners, choices, images)
    units = {of.name: np.asarray(chosen[owners[of.name]]) for of in weights}
    wanted = {
        of.name: on_grid(of.values, units[of.name], of.axes, largest_whole(each[of.name]))
        for of in weights
    }
    paths = tuple(dict.fromkeys(path for of in held.values() for path in of))
    own = put_operands(function, params, tuple(map(_place, weights)), paths, wanted)
    _check_put(function, own, weights, wanted, units)
    return {"params": own, "units": units | _same_units(params, units)}


def _checked_weights(function: SpikingApply, params: Params) -> tuple[Weights, ...]:
    """Return the weights of all products, after checks of their values."""
    weights = find_weights(function, params["params"])
    if not weights:
        raise ValueError(
            f"{function.name} has no product of weights with spikes or the input, so there is"
            " nothing to round"
        )
    for of in weights:
        if not np.isfinite(of.values).all():
            raise ValueError(
                f"{of.arrays[0]} holds NaN or Inf, which no whole number is; want finite numbers"
            )
    return weights


def _choose(
    function: SpikingApply,
    params: Params,
    weights: tuple[Weights, ...],
    owners: dict[str, str],
    choices: dict[str, Choice],
    images: Any,
) -> dict[str, Any]:
    """Units by the name of a choice: those of least error on images, or of the largest weights."""
    if images is None:
        return {name: choice.units[0] for name, choice in choices.items()}
    by_product = {place: owners[of.name] for of in weights for place in of.products}
    ordered = tuple(by_product[place] for place in sorted(by_product))
    pair = np.repeat(images, 2, 0) if len(images) == 1 else images
    return choose_units(function, ordered, params, pair, choices)


def _same_units(params: Params, units: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Units of before that differ from those of now by rounding alone."""
    before = {name: np.asarray(of) for name, of in params.get("units", {}).items()}
    return {
        name: of
        for name, of in before.items()
        if name in units
        and of.shape == units[name].shape
        and np.allclose(of, units[name], SAME, atol=0)
    }


def _check_same(names: list[str], bits: dict[str, int]) -> None:
    """Check that operands which share entries of an array have the same bits."""
    if len({bits[name] for name in names}) > 1:
        numbers = ", ".join(f"{bits[name]} for {name}" for name in names)
        raise ValueError(
            f"{' and '.join(names)} read the same weights, but bits are {numbers}; want one number"
        )


def _holders(
    function: SpikingApply, params: Params, weights: tuple[Weights, ...]
) -> dict[str, tuple[str, ...]]:
    """Paths of the arrays that hold each operand, by name.

    These are, from the largest on, those with entries that no larger one holds: a joined operand
    has several, one with the scale of a batch normalisation only the array of weights.
    """
    held = {of.name: of.arrays[:1] for of in weights}
    for of in weights:
        if len(of.arrays) > 1:
            reached = reach(function, _place(of), of.arrays, params)
            free = np.ones(of.values.shape, bool)
            for path in of.arrays:
                if np.any(free & reached[path]):
                    held[of.name] = tuple(dict.fromkeys((*held[of.name], path)))
                free &= ~np.asarray(reached[path])
    return held


def _groups(
    function: SpikingApply,
    params: Params,
    weights: tuple[Weights, ...],
    held: dict[str, tuple[str, ...]],
) -> dict[str, list[Weights]]:
    """Weights that share one unit, by the name of the first: those with common entries."""
    by_path: dict[str, list[Weights]] = {}
    for of in weights:
        by_path.setdefault(held[of.name][0], []).append(of)
    shared = {path: group for path, group in by_path.items() if len(group) > 1}
    places = tuple(_place(of) for group in shared.values() for of in group)
    counts = count_readers(function, places, tuple(shared), params) if shared else {}
    groups: dict[str, list[Weights]] = {}
    for path, group in by_path.items():
        if path in counts and int(counts[path]) > 1:
            groups[group[0].name] = group
        else:
            groups |= {of.name: [of] for of in group}
    return groups


def _place(of: Weights) -> tuple[str, int]:
    return of.name, of.products[0]


def _check_put(
    function: SpikingApply,
    own: Any,
    weights: tuple[Weights, ...],
    wanted: dict[str, jax.Array],
    units: dict[str, np.ndarray],
) -> None:
    """Check that the weights are the wanted ones."""
    program, found, _ = describe(function.apply, own, function.image_shape)
    products = list(weight_products(program, function.with_neurons(found)))
    for of in weights:
        _, step, place = products[of.products[0]]
        value = np.asarray(step.operands[place].value)  # type: ignore[union-attr]
        size = spread(units[of.name], value.shape, of.axes)
        if not np.all(np.abs(value - wanted[of.name]) <= ROUNDING * size):
            raise ValueError(
                f"weights of {of.name} at {step.operation.line} are computed from"
                f" {', '.join(of.arrays)} so that no change of {of.arrays[0]} makes them whole;"
                " want the weights themselves as an array in params"
            )
