"""Layers for a part, another order or copies of a layer's output: weights of 0 and 1.

They are multiplied into the weights before them, which gives weights for the part alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnjax.conversion.tracing.graph import Node, is_layer, scaled, weighted
from snnjax.conversion.tracing.indices import (
    CHANNELS,
    COLUMNS,
    PARTIAL,
    ROWS,
    Array,
    axis_roles,
    batch_size,
    in_user_order,
    indices_of,
    is_everything,
)
from snnjax.conversion.tracing.jaxpr_walk import refuse
from snnjax.conversion.tracing.signals import Signal
from snnjax.conversion.tracing.window_products import (
    MOST_WEIGHTS,
    Product,
    product_with_vectors,
    product_with_windows,
)
from snnjax.networks import architecture as arch
from snnjax.runtime.windows import Window

__all__ = ["find_whole", "in_own_order", "whole"]


def whole(signal: Signal) -> Signal:
    """Return an array as all of a layer's output, in any order.

    Raises:
      ValueError: if no layer has these entries as its output.
    """
    found = find_whole(signal)
    if found is None:
        refuse(signal.operation, PARTIAL)
    return found


def find_whole(signal: Signal) -> Signal | None:
    """Return an array as all of a layer's output, in any order; None if there is no such layer."""
    if is_everything(signal.indices, signal.node.shape):
        return signal
    if not signal.indices.ndim:
        return None
    made = _of_map(signal) or _of_padded_map(signal) or _of_vector(signal)
    if made is None:
        return None
    return Signal(_merged(made.node), made.indices, operation=signal.operation)


def in_own_order(signal: Signal) -> Node | None:
    """Return a layer whose output is an array `[B, ...]` itself, or None if there is none.

    It may be flattened.
    """
    if np.array_equal(signal.indices.ravel(), np.arange(signal.indices.size)):
        return signal.node
    for made in (_of_map(signal), _of_vector(signal)):
        if made is not None and np.array_equal(
            made.indices.ravel(), np.arange(signal.indices.size)
        ):
            return _merged(made.node)
    return None


def _of_map(signal: Signal) -> Product | None:
    """Return a convolution that selects; its channels may be any axis of the user's array, or none.

    The entries along that axis are of one pixel each.
    """
    indices = signal.indices
    for axis in (*reversed(range(indices.ndim)), None):
        moved = indices[..., None] if axis is None else np.moveaxis(indices, axis, -1)
        rows = moved.reshape(-1, moved.shape[-1])
        kernel, line = np.eye(moved.shape[-1]), signal.operation.line
        made = product_with_windows(signal.node, rows, kernel, line=line)
        if made is None or not is_everything(made.indices, made.node.shape):
            continue
        taps = made.node.params["kernel"].any((2, 3))
        if np.count_nonzero(taps) == 1:
            places = made.indices.reshape(moved.shape)
            places = places[..., 0] if axis is None else np.moveaxis(places, -1, axis)
            return Product(made.node, places)
    return None


def _of_padded_map(signal: Signal) -> Product | None:
    """Return a convolution that surrounds a part of a map with zeros."""
    real = np.nonzero(signal.indices >= 0)
    if not real[0].size or len(signal.node.shape) != 3:
        return None
    box = [(int(place.min()), int(place.max()) + 1) for place in real]
    inner = signal.indices[tuple(slice(*ends) for ends in box)]
    if inner.shape == signal.indices.shape:
        return None
    part = find_whole(Signal(signal.node, inner, operation=signal.operation))
    roles = None if part is None else axis_roles(part.indices, part.node.shape)
    if part is None or roles is None:
        return None
    left = [role for role in range(4) if role not in roles]
    of_axes = [left.pop(0) if role is None and left else role for role in roles]
    pads = {
        role: (start, size - end)
        for role, (start, end), size in zip(of_axes, box, signal.indices.shape, strict=True)
        if end - start < size
    }
    if not pads.keys() <= {ROWS, COLUMNS, CHANNELS}:
        return None
    depth, (front, back) = part.node.shape[-1], pads.get(CHANNELS, (0, 0))
    window = Window((1, 1), (1, 1), (pads.get(ROWS, (0, 0)), pads.get(COLUMNS, (0, 0))))
    kernel = np.pad(np.eye(depth), ((0, 0), (front, back)))
    shape = (*window.outputs(part.node.shape), kernel.shape[1])
    layer = arch.Conv(shape[-1], (1, 1), padding=window.padding, use_bias=False)
    node = weighted(part.node, layer, kernel[None, None], shape, frozenset(), signal.operation.line)
    image = indices_of(shape, batch_size(part.indices, part.node.shape))
    return Product(node, in_user_order(image, tuple(of_axes), signal.indices.shape))


def _of_vector(signal: Signal) -> Product | None:
    """Return a matrix that selects; the images may be any axis of the user's array."""
    for axis in range(signal.indices.ndim):
        moved = np.moveaxis(signal.indices, axis, 0)
        rows = moved.reshape(len(moved), -1)
        count = rows.shape[1]
        if count * int(np.prod(signal.node.shape)) > MOST_WEIGHTS:
            continue
        made = product_with_vectors(signal.node, rows, np.eye(count), line=signal.operation.line)
        if made is not None and is_everything(made.indices, made.node.shape):
            return Product(made.node, np.moveaxis(made.indices.reshape(moved.shape), 0, axis))
    return None


def _merged(node: Node) -> Node:
    """Return a selection of channels multiplied into the weights before it, or as it is."""
    matrix = _matrix(node)
    if matrix is None:
        return node
    before = node.inputs[0]
    if is_layer(before, arch.Scale):
        inner = _merged(replace(node, inputs=before.inputs))
        numbers = {name: values @ matrix for name, values in before.params.items()}
        return scaled(inner, **numbers, sources=before.sources, line=before.line)
    layer = before.layer
    if isinstance(layer, arch.Dense) or (isinstance(layer, arch.Conv) and layer.groups == 1):
        layer, kernel = replace(layer, features=matrix.shape[1]), before.params["kernel"] @ matrix
        return weighted(before.inputs[0], layer, kernel, node.shape, before.sources, before.line)
    return node


def _matrix(node: Node) -> Array | None:
    """Return the matrix `[C, features]` that a layer multiplies every pixel with, or None."""
    if is_layer(node, arch.Dense):
        return node.params["kernel"]
    one_pixel = isinstance(node.layer, arch.Conv) and node.params["kernel"].shape[:2] == (1, 1)
    same_map = node.shape[:2] == node.inputs[0].shape[:2]
    return node.params["kernel"][0, 0] if one_pixel and same_map else None
