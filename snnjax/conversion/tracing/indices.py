"""Indices of a layer's output: which of its numbers each entry of the user's array is.

The output of a layer for all images, `[B, H, W, C]` or `[B, N]`, is numbered from 0 in that order.
An array of the user's program that holds the same numbers is described by an integer array of its
shape with the number of each entry. A reshape or a transposition changes that array and nothing
else. `PADDING` stands for a zero around the image.
"""

from __future__ import annotations

import numpy as np

from snnjax.conversion.tracing.jaxpr_walk import Operation, refuse

__all__ = [
    "BATCH",
    "CHANNELS",
    "COLUMNS",
    "PADDING",
    "ROWS",
    "Array",
    "Roles",
    "axis_roles",
    "batch_size",
    "channel_order",
    "in_layer_order",
    "in_user_order",
    "indices_of",
    "without_padding",
]

Array = np.ndarray
PADDING = -1
"""Index of an entry that is a zero around the image."""
BATCH, ROWS, COLUMNS, CHANNELS = range(4)
Roles = tuple[int | None, ...]
"""For each axis of the user's array: its axis in `[B, H, W, C]`, or None if its size is 1."""


def indices_of(shape: tuple[int, ...], batch: int) -> Array:
    """Return the indices of a layer's output in the layer's own order, `[B, *shape]`."""
    return np.arange(batch * int(np.prod(shape))).reshape(batch, *shape)


def batch_size(indices: Array, shape: tuple[int, ...]) -> int:
    """Return the number of images, which follows from the largest index."""
    return -(-(int(indices.max()) + 1) // int(np.prod(shape)))


def axis_roles(indices: Array, shape: tuple[int, ...]) -> Roles | None:
    """Return the role of each axis of the user's array.

    Args:
      indices: of the user's array.
      shape: of the layer's output for one image.

    Returns:
      The roles, or None if the array is no transposition of the layer's output `[B, H, W, C]`.
    """
    if len(shape) != 3 or indices.size % np.prod(shape) or indices.min() < 0:
        return None
    sizes = (indices.size // int(np.prod(shape)), *shape)
    steps = [int(np.prod(sizes[axis + 1 :])) for axis in range(4)]
    roles: list[int | None] = []
    for axis, size in enumerate(indices.shape):
        if size == 1:
            roles.append(None)
            continue
        step = int(np.diff(np.take(indices, [0, 1], axis), axis=axis).flat[0])
        found = [role for role in range(4) if sizes[role] == size and steps[role] == step]
        if not found or found[0] in roles:
            return None
        roles.append(found[0])
    wanted = in_user_order(indices_of(shape, sizes[0]), tuple(roles), indices.shape)
    return tuple(roles) if np.array_equal(indices, wanted) else None


def in_user_order(image: Array, roles: Roles, shape: tuple[int, ...]) -> Array:
    """Transpose `[B, H, W, C]` to the axes of the user's array, of the given roles and shape."""
    order = [role for role in roles if role is not None]
    ones = [role for role in range(4) if role not in order]
    return image.transpose(*order, *ones).reshape(shape)


def in_layer_order(
    operation: Operation, indices: Array, values: Array, shape: tuple[int, ...]
) -> Array:
    """Return the values of the user's entries in the order of the layer, `[B, *shape]`.

    Raises:
      ValueError: if the entries are not those of the whole output, each once.
    """
    each_once = np.array_equal(np.sort(indices, None), np.arange(indices.size))
    if not each_once or indices.size % np.prod(shape):
        refuse(operation, PARTIAL)
    ordered = np.zeros(indices.size, values.dtype)
    ordered[indices.ravel()] = values.ravel()
    return ordered.reshape(-1, *shape)


def channel_order(operation: Operation, indices: Array, shape: tuple[int, ...]) -> Array:
    """Return the layer's channel, or input, at each place of the last axis of `[B, ..., N]`.

    Raises:
      ValueError: if the entries are not those of the whole output, or not in the order of the
        layer apart from the last axis.
    """
    wanted = indices_of(shape, len(indices))
    order = indices[(0,) * (indices.ndim - 1)]
    if indices.shape != wanted.shape or np.any(order < 0) or len(np.unique(order)) < order.size:
        refuse(operation, PARTIAL)
    if np.any(order >= shape[-1]) or not np.array_equal(indices, wanted[..., order]):
        refuse(
            operation,
            "its input has a layer's output in another shape or order; want images or vectors",
        )
    return order


def without_padding(
    operation: Operation, indices: Array
) -> tuple[Array, tuple[tuple[int, int], tuple[int, int]]]:
    """Return images `[B, H, W, C]` without the zeros around them, and how many those were.

    Raises:
      ValueError: if there are zeros inside the images.
    """
    real = indices >= 0
    widths, inner = [], indices
    for axis in (ROWS, COLUMNS):
        found = np.flatnonzero(real.any(tuple(other for other in range(4) if other != axis)))
        widths.append((int(found[0]), indices.shape[axis] - 1 - int(found[-1])))
        inner = np.take(inner, range(found[0], found[-1] + 1), axis)
    if np.any(inner < 0):
        refuse(
            operation,
            "its input is padded inside the image; want zeros around it only",
        )
    return inner, (widths[0], widths[1])


PARTIAL = "it works on a part, a padding or copies of a layer's output; want all of it, once"
