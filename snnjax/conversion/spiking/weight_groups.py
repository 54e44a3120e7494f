"""The user's arrays that carry whole weights, and the operands that share a unit in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnjax.conversion.spiking.function import SpikingApply
from snnjax.conversion.spiking.weight_arrays import count_readers, reach, user_arrays
from snnjax.conversion.spiking.weights import LEAST, ProductWeights, is_factor
from snnjax.snn.engine import Params

__all__ = ["Carriers", "check_floats", "find_carriers", "group_weights", "place_of"]

Carriers = dict[str, tuple[str, ...]]
"""Paths of the arrays that change so that an operand becomes whole, by its name."""


def find_carriers(
    function: SpikingApply, params: Params, weights: tuple[ProductWeights, ...]
) -> Carriers:
    """Return the arrays that carry each operand's whole weights; the others stay as they are.

    These are, in the order of `ProductWeights.arrays`, those with entries that none before holds: a
    joined operand has several, one with a mask or the scale of a batch normalisation only the array
    of weights. Entries of the operand that are 0, or become it in every unit, need none.

    Args:
      function: with neurons at its sites.
      params: "params", the user's.
      weights: of all products.

    Raises:
      ValueError: if two arrays can carry the same entry, and neither's size nor numbers tell which
        is to.
    """
    carriers = {of.name: of.arrays[:1] for of in weights}
    for of in weights:
        if len(of.arrays) > 1:
            reached = reach(function, place_of(of), of.arrays, params)
            is_any = np.abs(of.values) >= LEAST / 2
            entries = {path: np.asarray(reached[path]) & is_any for path in of.arrays}
            arrays = user_arrays(params, of.arrays)
            own: list[str] = []
            for path in of.arrays:
                _check_choice(of, path, own, entries, arrays)
                if np.any(entries[path] & ~np.any([entries[held] for held in own], 0)):
                    own.append(path)
            carriers[of.name] = tuple(own) or of.arrays[:1]
    return carriers


def _check_choice(
    of: ProductWeights,
    path: str,
    own: list[str],
    entries: dict[str, np.ndarray],
    arrays: dict[str, Any],
) -> None:
    """Check that an array is smaller than those before that hold entries of it, or a factor."""
    for held in own:
        alike = arrays[held].size == arrays[path].size and not is_factor(arrays[path])
        if alike and np.any(entries[held] & entries[path]):
            raise ValueError(
                f"weights of {of.name} at {of.line} are computed from {held} and {path}, of"
                f" {arrays[path].size} numbers each, and nothing tells which is to be rounded; want"
                " one of them in params: pass their product or sum, or hold the fixed one in apply"
            )


def check_floats(weights: tuple[ProductWeights, ...], carriers: Carriers, params: Params) -> None:
    """Check that the operands and their carriers hold s K, as floats of 32 bits do.

    Args:
      weights: of all products.
      carriers: from `find_carriers`.
      params: "params", the user's.

    Raises:
      ValueError: if some have 16 bits.
    """
    for of in weights:
        for path, array in user_arrays(params, carriers[of.name]).items():
            if array.dtype.itemsize < np.dtype(np.float32).itemsize:
                raise ValueError(
                    f"{path} is {array.dtype}, which rounds s K; want params in float32, such as"
                    " jax.tree.map(jnp.float32, params), and what spike makes of them"
                )
        if of.values.dtype.itemsize < np.dtype(np.float32).itemsize:
            raise ValueError(
                f"weights of {of.name} at {of.line} are {of.values.dtype}, which rounds s K; want"
                " an apply that computes in float32, such as by dtype=jnp.float32 of its modules"
            )


def group_weights(
    function: SpikingApply, params: Params, weights: tuple[ProductWeights, ...], carriers: Carriers
) -> dict[str, list[ProductWeights]]:
    """Return weights that share one unit, by the name of the first: those with common entries.

    Args:
      function: with neurons at its sites.
      params: "params", the user's.
      weights: of all products.
      carriers: from `find_carriers`.
    """
    by_path: dict[str, list[ProductWeights]] = {}
    for of in weights:
        for path in carriers[of.name]:
            by_path.setdefault(path, []).append(of)
    shared = {path: group for path, group in by_path.items() if len(group) > 1}
    places = tuple({place_of(of): None for group in shared.values() for of in group})
    counts = count_readers(function, places, tuple(shared), params) if shared else {}
    first = {of.name: of.name for of in weights}
    for path, group in shared.items():
        if int(counts[path]) > 1:
            joined = {first[of.name] for of in group}
            first |= {name: first[group[0].name] for name in first if first[name] in joined}
    groups: dict[str, list[ProductWeights]] = {}
    for of in weights:
        groups.setdefault(first[of.name], []).append(of)
    return groups


def place_of(of: ProductWeights) -> tuple[str, int]:
    """Return the name of weights, and the place of their first product."""
    return of.name, of.products[0]
