"""Windows of a map, found in an array of indices.

A program may cut a map into windows in many ways: by a convolution, by slices that are joined, by
reshapes into patches, in reversed order, after a crop. An array of indices tells it: each of its
rows is one window, moved to another pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnjax.conversion.tracing.indices import PADDING, Array
from snnjax.runtime.windows import PADDINGS, Window

__all__ = ["Windows", "find_windows"]


class Windows(NamedTuple):
    """Windows that move over a map.

    window: their geometry; its size is that of a kernel with the taps below.
    taps: row and column in the kernel of each entry of a window, `[K]` each.
    channels: channel of each entry of each window, `[F, K]`, PADDING for a zero.
    pixels: output pixel of each window, `[F]`, numbered over all images; PADDING for a window that
      holds nothing but zeros.
    """

    window: Window
    taps: tuple[Array, Array]
    channels: Array
    pixels: Array


class _Axis(NamedTuple):
    """Windows along one axis of a map; `inside` is False for entries beyond its ends, `[F, K]`."""

    size: int
    stride: int
    dilation: int
    pads: tuple[int, int]
    taps: Array
    outputs: Array
    inside: Array


def find_windows(indices: Array, shape: tuple[int, ...]) -> Windows | None:
    """Return the windows that the rows of an array are, or None if they are none.

    Args:
      indices: `[F, K]`, a window in each row.
      shape: of the map, `(H, W, C)`.
    """
    height, width, depth = shape
    real = indices >= 0
    image, local = np.divmod(indices, height * width * depth)
    pixel, channels = np.divmod(local, depth)
    images = np.where(real, image, -1).max(1)
    rows = _along(pixel // width, real, height)
    columns = _along(pixel % width, real, width)
    if rows is None or columns is None or np.any(real & (image != images[:, None])):
        return None
    used = real.any(1, keepdims=True) & real.any(0, keepdims=True)
    if np.any(used & (real != (rows.inside & columns.inside))):
        return None
    window = _named(rows, columns, (height, width))
    outputs = window.outputs((height, width))
    pixels = (images * outputs[0] + rows.outputs) * outputs[1] + columns.outputs
    return Windows(
        window,
        (rows.taps, columns.taps),
        np.where(real, channels, PADDING),
        np.where(images >= 0, pixels, PADDING),
    )


def _along(positions: Array, real: Array, length: int) -> _Axis | None:
    """Return the windows along one axis.

    Args:
      positions: row or column of each entry, `[F, K]`.
      real: False for an entry that is a zero.
      length: of the axis.
    """
    found = _start_and_offset(positions, real)
    if found is None:
        return None
    starts, offsets = found
    stride, dilation = (max(int(np.gcd.reduce(x - x.min())), 1) for x in (starts, offsets))
    outputs, taps = (starts - starts.min()) // stride, offsets // dilation
    before = -int(starts.min())
    after = int(starts.max() + offsets.max()) - (length - 1)
    # A crop is a kernel with zeros where the windows do not look.
    front = max(-(before // dilation), 0)
    after = after if after >= 0 else min(0, after + stride - 1)
    back = max(-(after // dilation), 0)
    inside = starts[:, None] + offsets
    return _Axis(
        size=front + int(taps.max()) + 1 + back,
        stride=stride,
        dilation=dilation,
        pads=(before + front * dilation, after + back * dilation),
        taps=taps + front,
        outputs=outputs,
        inside=(inside >= 0) & (inside < length),
    )


def _start_and_offset(positions: Array, real: Array) -> tuple[Array, Array] | None:
    """Return the start of each window and the offset in it of each entry, or None.

    Their sum is the position of each entry that is real, and the smallest offset is 0.
    """
    starts, offsets = (np.zeros(size, np.int64) for size in positions.shape)
    known, placed = (np.zeros(size, bool) for size in positions.shape)
    known[np.argmax(real.sum(1))] = True
    for _ in range(len(offsets) + 1):
        before = int(known.sum() + placed.sum())
        linked = real & known[:, None]
        row = np.argmax(linked, 0)
        offsets = np.where(placed, offsets, positions[row, np.arange(len(offsets))] - starts[row])
        placed |= linked.any(0)
        linked = real & placed
        column = np.argmax(linked, 1)
        moved = positions[np.arange(len(starts)), column] - offsets[column]
        starts = np.where(known, starts, moved)
        known |= linked.any(1)
        if known.sum() + placed.sum() == before:
            break
    if not placed.any() or np.any(real & (starts[:, None] + offsets != positions)):
        return None
    if np.any(real.any(1) & ~known):
        return None
    least = offsets[placed].min()
    starts, offsets = starts + least, offsets - least
    return np.where(known, starts, starts[known].min()), np.where(placed, offsets, 0)


def _named(rows: _Axis, columns: _Axis, shape: tuple[int, int]) -> Window:
    """Return the window of two axes, its padding by name where it has one."""
    size, strides = (rows.size, columns.size), (rows.stride, columns.stride)
    dilation = (rows.dilation, columns.dilation)
    plain = Window(size, strides, (rows.pads, columns.pads), dilation)
    for name in reversed(PADDINGS):
        window = Window(size, strides, name, dilation)  # type: ignore[arg-type]
        pads = window.pads(shape)
        padded = (n + sum(pad) for n, pad in zip(shape, pads, strict=True))
        fits = all(n >= reach for n, reach in zip(padded, window.reach, strict=True))
        starts = [before for before, _ in pads] == [rows.pads[0], columns.pads[0]]
        if starts and fits and window.outputs(shape) == plain.outputs(shape):
            return window
    return plain
