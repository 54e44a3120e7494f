"""Indices of a layer's output: which of its numbers each entry of the user's array is.

The output of a layer for all images, `[B, H, W, C]` or `[B, N]`, is numbered from 0 in that order.
An array of the user's program that holds the same numbers is described by an integer array of its
shape with the number of each entry. A reshape or a transposition changes that array and nothing
else. `PADDING` stands for a zero around the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

__all__ = [
    "BATCH",
    "CHANNELS",
    "COLUMNS",
    "PADDING",
    "PARTIAL",
    "ROWS",
    "Array",
    "Roles",
    "axis_roles",
    "batch_size",
    "channel_order",
    "channel_places",
    "cut",
    "in_layer_order",
    "in_user_order",
    "indices_of",
    "is_everything",
    "same_for_all_pixels",
    "varied_roles",
    "without_padding",
]

Array = np.ndarray
PADDING = -1
"""Index of an entry that is a zero around the image."""
BATCH, ROWS, COLUMNS, CHANNELS = range(4)
Roles = tuple[int | None, ...]
"""For each axis of the user's array: its axis in `[B, H, W, C]`, or None if its size is 1."""


_NUMBERS: WeakValueDictionary[int, Array] = WeakValueDictionary()
"""The numbers from 0 by their count, as long as an array of indices is a view of them."""


def indices_of(shape: tuple[int, ...], batch: int) -> Array:
    """Return the indices of a layer's output in the layer's own order, `[B, *shape]`.

    They are a view, and so are their transpositions and most of their reshapes: what NumPy keeps
    of a view, its steps in memory, tells the order of its axes without a look at its entries.
    """
    size = batch * int(np.prod(shape))
    numbers = _NUMBERS.get(size)
    if numbers is None:
        _NUMBERS[size] = numbers = np.arange(size, dtype=np.int32)
        numbers.flags.writeable = False
    return numbers.reshape(batch, *shape)


def batch_size(indices: Array, shape: tuple[int, ...]) -> int:
    """Return the number of images, which follows from the largest index."""
    if _is_view_of_numbers(indices):
        sizes = (size - 1 for size in indices.shape)
        reach = sum(size * max(step, 0) for size, step in zip(sizes, _steps(indices), strict=True))
        largest = int(indices.flat[0]) + reach
    else:
        largest = int(indices.max())
    return -(-(largest + 1) // int(np.prod(shape)))


def axis_roles(indices: Array, shape: tuple[int, ...]) -> Roles | None:
    """Return the role of each axis of the user's array.

    Args:
      indices: of the user's array.
      shape: of the layer's output for one image.

    Returns:
      The roles, or None if the array is no transposition of the layer's output `[B, H, W, C]`.
    """
    return _roles(indices, shape) if len(shape) == 3 else None


def varied_roles(indices: Array, shape: tuple[int, ...]) -> Roles | None:
    """Return the role of each axis of an array with a part of a layer's output, by its first lines.

    Args:
      indices: of the user's array, perhaps with zeros.
      shape: of the layer's output for one image.

    Returns:
      For each axis the only axis in `[B, H, W, C]` along which its entries change, None if they do
      not; or None if there are several.
    """
    if len(shape) != 3 or not indices.size or indices.max() < 0:
        return None
    sizes = (batch_size(indices, shape), *shape)
    first = np.unravel_index(np.argmax(indices.ravel() >= 0), indices.shape)
    roles: list[int | None] = []
    for axis in range(indices.ndim):
        place: tuple[Any, ...] = (*first[:axis], slice(None), *first[axis + 1 :])
        line = indices[place]
        places = np.unravel_index(line[line >= 0], sizes)
        changed = [role for role in range(4) if np.any(places[role] != places[role][0])]
        if len(changed) > 1:
            return None
        roles.append(changed[0] if changed else None)
    return tuple(roles)


def is_everything(indices: Array, shape: tuple[int, ...]) -> bool:
    """Return True if the entries are those of a layer's whole output, each once, in any order."""
    if _roles(indices, shape) is not None:
        return True
    if indices.size % np.prod(shape) or indices.min() < 0 or indices.max() >= indices.size:
        return False
    return bool(np.all(np.bincount(indices.ravel(), minlength=indices.size) == 1))


def _roles(indices: Array, shape: tuple[int, ...]) -> Roles | None:
    """Return the role of each axis as its axis in `[B, *shape]`, None if it is no transposition."""
    if not indices.size or indices.size % np.prod(shape) or indices.flat[0] != 0:
        return None
    sizes = (indices.size // int(np.prod(shape)), *shape)
    steps = [int(np.prod(sizes[axis + 1 :])) for axis in range(len(sizes))]
    roles: list[int | None] = []
    for size, step in zip(indices.shape, _steps(indices), strict=True):
        found = [role for role in range(len(sizes)) if (sizes[role], steps[role]) == (size, step)]
        if size > 1 and (not found or found[0] in roles):
            return None
        roles.append(found[0] if size > 1 else None)
    if _is_view_of_numbers(indices):
        return tuple(roles)
    wanted = in_user_order(indices_of(shape, sizes[0]), tuple(roles), indices.shape)
    return tuple(roles) if np.array_equal(indices, wanted) else None


def _steps(indices: Array) -> list[int]:
    """Return the difference between the first two entries along each axis; 0 if there is one."""
    first = (0,) * indices.ndim
    return [
        0
        if size == 1
        else int(indices[(*first[:axis], 1, *first[axis + 1 :])]) - int(indices[first])
        for axis, size in enumerate(indices.shape)
    ]


def _is_view_of_numbers(indices: Array) -> bool:
    """Return True if the steps along its axes tell all entries of an array."""
    base = indices.base
    return isinstance(base, np.ndarray) and base is _NUMBERS.get(base.size)


def _is_same_view(a: Array, b: Array) -> bool:
    """Return True if two arrays are one view of the same numbers."""
    layouts = [(x.shape, x.strides, x.flat[0]) for x in (a, b)]
    return _is_view_of_numbers(a) and a.base is b.base and layouts[0] == layouts[1]


def in_user_order(image: Array, roles: Roles, shape: tuple[int, ...]) -> Array:
    """Transpose `[B, *shape]` to the axes of the user's array, of the given roles and shape."""
    order = [role for role in roles if role is not None]
    ones = [role for role in range(image.ndim) if role not in order]
    return image.transpose(*order, *ones).reshape(shape)


def channel_places(indices: Array, shape: tuple[int, ...]) -> tuple[Array, ...]:
    """Return where the user's array has the first pixel of the first image, for each channel.

    Args:
      indices: of the whole output of a layer, in any order.
      shape: of the layer's output for one image.

    Returns:
      For each axis of the user's array, the index of each channel, `[C]`.
    """
    channels, roles = shape[-1], _roles(indices, shape)
    if roles is None:
        places = np.empty(indices.size, np.int64)
        places[indices.ravel()] = np.arange(indices.size)
        return np.unravel_index(places[:channels], indices.shape)
    zeros, all_ = np.zeros(channels, np.int64), np.arange(channels)
    return tuple(all_ if role == len(shape) else zeros for role in roles)


def same_for_all_pixels(values: Array, indices: Array, shape: tuple[int, ...]) -> bool:
    """Return True if numbers differ between the channels of a layer's output only.

    Args:
      values: numbers that broadcast to the user's array.
      indices: of the user's array, which holds the whole output, in any order.
      shape: of the layer's output for one image.
    """
    roles = _roles(indices, shape) or (None,) * indices.ndim
    sizes = (1,) * (indices.ndim - values.ndim) + values.shape
    if all(size == 1 or role == len(shape) for size, role in zip(sizes, roles, strict=True)):
        return True
    values = np.broadcast_to(values, indices.shape)
    of_channels = values[channel_places(indices, shape)]
    return bool(np.all(values == of_channels[indices % shape[-1]]))


def in_layer_order(indices: Array, values: Array, shape: tuple[int, ...]) -> Array:
    """Return the values of the user's entries in the order of the layer, `[B, *shape]`.

    Args:
      indices: of the user's array, which holds the whole output, in any order.
      values: of the shape of the user's array.
      shape: of the layer's output for one image.
    """
    ordered = np.zeros(indices.size, values.dtype)
    ordered[indices.ravel()] = values.ravel()
    return ordered.reshape(-1, *shape)


def channel_order(indices: Array, shape: tuple[int, ...]) -> Array | None:
    """Return the layer's channel at each place of the last axis of `[B, H, W, C]`.

    None if the entries are not those of the whole output, each once, in the order of the layer
    apart from the last axis.
    """
    wanted = indices_of(shape, len(indices))
    order = indices[(0,) * (indices.ndim - 1)]
    if _is_same_view(indices, wanted):
        return order
    if indices.shape != wanted.shape or not np.array_equal(np.sort(order), np.arange(len(order))):
        return None
    return order if np.array_equal(indices, wanted[..., order]) else None


def without_padding(indices: Array) -> tuple[Array, tuple[tuple[int, int], tuple[int, int]]]:
    """Return images `[B, H, W, C]` without the zeros around them, and how many those were."""
    widths, inner = [], indices
    if _is_view_of_numbers(indices):
        return indices, ((0, 0), (0, 0))
    real = indices >= 0
    for axis in (ROWS, COLUMNS):
        found = np.flatnonzero(real.any(tuple(other for other in range(4) if other != axis)))
        if not found.size:
            return indices, ((0, 0), (0, 0))
        widths.append((int(found[0]), indices.shape[axis] - 1 - int(found[-1])))
        inner = np.take(inner, range(found[0], found[-1] + 1), axis)
    return inner, (widths[0], widths[1])


def cut(indices: Array, size: Sequence[int], strides: Sequence[int], pads: Any) -> Array:
    """Return the windows of an array, `[*outputs, *size]`.

    Args:
      indices: the array.
      size: of a window along each axis.
      strides: from one window to the next, along each axis.
      pads: numbers of zeros before and after each axis, or of entries cut off where they are below
        0.
    """
    for axis, (before, after) in enumerate(pads):
        last = indices.shape[axis] + min(after, 0)
        kept = [slice(None)] * axis + [slice(max(-before, 0), last)]
        wide = [(0, 0)] * indices.ndim
        wide[axis] = (max(before, 0), max(after, 0))
        indices = np.pad(indices[tuple(kept)], wide, constant_values=PADDING)
    windows = np.lib.stride_tricks.sliding_window_view(indices, size)
    return windows[tuple(slice(None, None, stride) for stride in strides)]


PARTIAL = "it works on a part, a padding or copies of a layer's output; want all of it, once"
