"""The order of images on joined axes, found by changing one image at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.conversion.spiking.example_checks import INFERENCE
from snnjax.conversion.spiking.function import SpikingApply

__all__ = ["with_image_orders"]

SIZES = 3, 4, 5
"""Numbers of images that are computed at once: orders that one entry of each image does not tell
apart at one number differ at another.
"""


def with_image_orders(
    function: SpikingApply, params: Any, images: np.ndarray, tolerance: float
) -> SpikingApply:
    """Return a function that knows the order of the images in the values of its sites.

    A reshape can join the images with another axis, such as the tokens, before it or behind it.
    Each of a few images is replaced by a random one; the entries that change are this image's.

    Args:
      function: with each image's entries consecutive on every axis of the images.
      params: "params", the user's.
      images: `[N, ...]`.
      tolerance: share of an entry's largest value by which rounding may change it.

    Raises:
      ValueError: if images are in no such order, or the example does not tell it.
    """
    places = dict(zip(function.sites, function.image_axes, strict=True))
    joined = tuple(name for name, place in places.items() if place.entries > 1)
    if not joined:
        return function
    orders = {name: _divisors(places[name].entries) for name in joined}
    for batch in _batches(images):  # usually one
        for name, moves in _moves(function, joined, params, batch, tolerance).items():
            fits = partial(_fits, places[name].entries, moves)
            orders[name] = tuple(filter(fits, orders[name]))
        if all(len(fitting) <= 1 for fitting in orders.values()):
            break
    for name, fitting in orders.items():
        places[name] = places[name]._replace(blocks=_only(name, fitting))
    return function._replace(image_axes=tuple(places.values()))


def _divisors(number: int) -> tuple[int, ...]:
    return tuple(of for of in range(1, number + 1) if number % of == 0)


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield all images in batches of the sizes by turns, and at least one batch of each size."""
    first = turn = 0
    while first < len(images) or turn < len(SIZES):
        size = SIZES[turn % len(SIZES)]
        yield np.take(images, range(first, first + size), 0, mode="wrap")
        first, turn = first + size, turn + 1


def _moves(
    function: SpikingApply, names: tuple[str, ...], params: Any, batch: np.ndarray, tolerance: float
) -> dict[str, np.ndarray]:
    """Return, by site, True where an entry changes with an image, `[B, B * entries]`.

    Args:
      function, params, tolerance: as `with_image_orders`.
      names: of the sites.
      batch: `[B, ...]` images.
    """
    drawn = np.random.default_rng(0).uniform(batch.min(), batch.max() + 1e-3, batch.shape[1:])
    straight = _entries(function, names, params, batch)
    changed = []
    for image in range(len(batch)):
        other = batch.copy()
        other[image] = drawn
        changed.append(_entries(function, names, params, other))
    moves = {}
    for name in names:
        values = np.asarray(straight[name], np.float64)
        bound = tolerance * np.abs(values).max(1, keepdims=True)
        near = np.stack([np.abs(of[name] - values) <= bound for of in changed])
        moves[name] = np.asarray(~near.all(2))  # NaN is not near
    return moves


@partial(jax.jit, static_argnums=(0, 1))
def _entries(
    function: SpikingApply, names: tuple[str, ...], params: Any, images: jax.Array
) -> dict[str, jax.Array]:
    """Return the values of sites, a row for each entry of the axis that holds the images."""
    found = {}

    def at(name: str, value: jax.Array) -> jax.Array:
        if name in names:
            found[name] = value.reshape(value.shape[0] * value.shape[1], -1).astype(jnp.float32)
        return value

    function.begin(params, images)(at)
    return found


def _fits(entries: int, moves: np.ndarray, blocks: int) -> bool:
    """Return True if no entry changes with an image that is not its own in that order."""
    batch, places = moves.shape
    own = np.arange(places) // (entries // blocks) % batch
    return not moves[own != np.arange(batch)[:, None]].any()


def _only(name: str, fitting: tuple[int, ...]) -> int:
    """Return the only order that fits the values of a site."""
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(
            f"values at site {name} are the same for all images, or so few of them differ that"
            " nothing tells which are whose; pass an example on which more of them differ"
        )
    raise ValueError(
        f"values at site {name} change with the images beside them, or hold the images in an order"
        f" that no reshape gives; {INFERENCE}, and images that reshapes alone join with other axes"
    )
