"""Whole weights of what `spike` returned, as multiples of one unit for each output channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.conversion.spiking.function import SpikingApply, describe
from snnjax.conversion.spiking.program import path_of
from snnjax.conversion.spiking.weight_arrays import SAME, put_operands
from snnjax.conversion.spiking.weight_choice import Choice, choose_units, start_choice
from snnjax.conversion.spiking.weight_groups import (
    Carriers,
    check_floats,
    find_carriers,
    group_weights,
    place_of,
)
from snnjax.conversion.spiking.weights import (
    ROUNDING,
    ProductWeights,
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
    function: SpikingApply,
    params: Params,
    bits: int | Mapping[str, int],
    images: ArrayLike | None,
    before: Mapping[str, Any],
) -> tuple[Any, dict[str, np.ndarray]]:
    """Return the user's parameters with whole weights, and their units.

    Args:
      function: with neurons at its sites.
      params: of the function, "levels" included, which are checked.
      bits: of the weights, or by name.
      images: to choose the units on; None for those of the largest weights.
      before: units of weights that were rounded before, which stay if they differ by rounding
        alone.

    Returns:
      The user's parameters; units by name, `[C]`, or `[1]` for all channels.

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
    carriers = find_carriers(function, params, weights)
    check_floats(weights, carriers, params)
    groups = group_weights(function, params, weights, carriers)
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
    paths = tuple(dict.fromkeys(path for of in carriers.values() for path in of))
    own = put_operands(function, params, tuple(map(place_of, weights)), paths, wanted)
    _check_put(function, own, weights, wanted, units, carriers)
    return own, units | _same_units(before, units)


def _checked_weights(function: SpikingApply, params: Params) -> tuple[ProductWeights, ...]:
    """Return the weights of all products, after checks of all parameters."""
    paths: list[str] = []
    for keys, leaf in jax.tree_util.tree_flatten_with_path(params["params"])[0]:
        paths.append(path_of(keys))
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) and not _is_added_mask(leaf):
            _check_finite(paths[-1], np.ravel(leaf))
    if len({*paths}) < len(paths):
        path = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(f"params hold two arrays at {path}; want keys without a /")
    weights = find_weights(function, params["params"])
    if not weights:
        raise ValueError(
            f"{function.name} has no product of weights with spikes or the input, so there is"
            " nothing to round"
        )
    for of in weights:
        if not of.values.size:
            raise ValueError(
                f"weights of {of.name} at {of.line} have shape {of.values.shape}, so there is"
                " nothing to round; want no empty array in a product"
            )
        _check_finite(f"the product of {of.name} at {of.line}", np.ravel(of.values))
    return weights


def _check_finite(name: str, values: np.ndarray) -> None:
    bad = ~np.isfinite(values)
    if np.any(bad):
        raise ValueError(f"{name} holds {values[bad][0]}; want finite numbers")


def _is_added_mask(leaf: Any) -> bool:
    """Return True for 0 and -inf alone, as attention adds them to its scores."""
    values = np.asarray(leaf)
    return bool(np.all((values == 0) | (values == -np.inf)))


def _choose(
    function: SpikingApply,
    params: Params,
    weights: tuple[ProductWeights, ...],
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


def _same_units(before: Mapping[str, Any], units: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Units of before that differ from those of now by rounding alone."""
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


def _check_put(
    function: SpikingApply,
    own: Any,
    weights: tuple[ProductWeights, ...],
    wanted: dict[str, jax.Array],
    units: dict[str, np.ndarray],
    carriers: Carriers,
) -> None:
    """Check that the weights are the wanted ones."""
    program, found, _ = describe(function.apply, own, function.image_shape)
    products = list(weight_products(program, function.with_neurons(found)))
    for of in weights:
        _, step, place = products[of.products[0]]
        value = np.asarray(step.operands[place].value)  # type: ignore[union-attr]
        size = spread(units[of.name], value.shape, of.axes)
        if not np.all(np.abs(value - wanted[of.name]) <= ROUNDING * size):
            raise ValueError(_no_change(of, weights, carriers))


def _no_change(of: ProductWeights, weights: tuple[ProductWeights, ...], carriers: Carriers) -> str:
    """Message that weights cannot be whole, with the other products that read their arrays."""
    own = carriers[of.name]
    others = [
        f"; {other.name} at {other.line} reads {shared[0]} too"
        for other in weights
        if other is not of and (shared := [path for path in own if path in carriers[other.name]])
    ]
    return (
        f"weights of {of.name} at {of.line} are computed from {', '.join(of.arrays)} so that no"
        f" change of {' and '.join(own)} makes them whole{''.join(others)}; want the weights"
        f" themselves as an array in params{', one for each product' if others else ''}, without"
        " jax.lax.stop_gradient or rounding"
    )
