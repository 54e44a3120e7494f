"""Rules for sums over pixels: an `AvgPool`, or a convolution where windows leave the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing.graph import Node, scaled, weighted
from snnjax.conversion.tracing.image_layout import reaches_input, tell_layout
from snnjax.conversion.tracing.indices import (
    BATCH,
    CHANNELS,
    COLUMNS,
    ROWS,
    Array,
    Roles,
    axis_roles,
    batch_size,
    cut,
    in_user_order,
    indices_of,
    varied_roles,
)
from snnjax.conversion.tracing.jaxpr_walk import Operation, refuse
from snnjax.conversion.tracing.layer_outputs import layer_output
from snnjax.conversion.tracing.rule_table import output_shape, rule
from snnjax.conversion.tracing.signals import Elementwise, Signal
from snnjax.conversion.tracing.window_products import sum_of_windows
from snnjax.networks import architecture as arch
from snnjax.runtime.windows import Window

__all__: list[str] = []


@rule("reduce_window_sum")
def window_sum(
    operation: Operation, equation: JaxprEqn, operands: list[Signal | Elementwise]
) -> Signal:
    """Return the sums over windows of pixels."""
    signal, params = layer_output(operands[0]), equation.params
    roles = axis_roles(signal.indices, signal.node.shape)
    wide = [axis for axis, size in enumerate(params["window_dimensions"]) if size > 1]
    _tell_pixels(operation, signal, wide)
    if {*params["base_dilation"]} != {1}:
        refuse(operation, NOT_PIXELS)
    if roles is None or {*params["window_dilation"]} != {1}:
        windows = _windows(signal.indices, params)
        return _of_any_entries(operation, equation, signal, windows, NOT_PIXELS)
    size, strides, padding = [1, 1, 1, 1], [1, 1, 1, 1], [(0, 0)] * 4
    for axis, length in enumerate(params["window_dimensions"]):
        role = roles[axis]
        if role is not None:
            size[role], strides[role] = length, params["window_strides"][axis]
            padding[role] = tuple(params["padding"][axis])
        elif length != 1:
            refuse(operation, NOT_PIXELS)
    if size[BATCH] != 1 or size[CHANNELS] != 1:
        refuse(operation, NOT_PIXELS)
    window = Window(
        (size[ROWS], size[COLUMNS]),
        (strides[ROWS], strides[COLUMNS]),
        (padding[ROWS], padding[COLUMNS]),
    )
    return _summed(operation, equation, signal, window, roles)


@rule("reduce_sum")
def axis_sum(
    operation: Operation, equation: JaxprEqn, operands: list[Signal | Elementwise]
) -> Signal:
    """Return the sums over all rows, all columns, or both, or over windows of pixels."""
    signal, axes = layer_output(operands[0]), equation.params["axes"]
    roles = axis_roles(signal.indices, signal.node.shape)
    _tell_pixels(operation, signal, axes)
    kept = tuple(axis for axis in range(signal.indices.ndim) if axis not in axes)
    summed = {roles[axis] for axis in axes} - {None} if roles else set()
    if roles is None or not summed <= {ROWS, COLUMNS}:
        windows = signal.indices.transpose(*kept, *axes)
        return _of_any_entries(operation, equation, signal, windows, NOT_SUMMED)
    rows, columns, _ = signal.node.shape
    size = (rows if ROWS in summed else 1, columns if COLUMNS in summed else 1)
    of_kept = tuple(roles[axis] for axis in kept)
    return _summed(operation, equation, signal, Window(size, size), of_kept)


NOT_SUMMED = (
    "it sums over channels or images; only pixels can be pooled. A sum over channels is a product,"
    " such as x @ jnp.ones((channels, 1)); a normalisation by sums has no spiking counterpart"
)
NOT_PIXELS = "its window is not over the pixels of images; want windows of rows and columns"


def _tell_pixels(operation: Operation, signal: Signal, axes: Sequence[int]) -> None:
    """Tell the layout of the images by the axes that are pooled, if these are the images.

    Raises:
      LayoutTold: if the axes are not those of rows and columns.
    """
    roles = varied_roles(signal.indices, signal.node.shape)
    pooled = {roles[axis] for axis in axes} - {None} if roles else set()
    if CHANNELS not in pooled or BATCH in pooled or not reaches_input(signal.node):
        return
    if len(pooled) != 2:
        refuse(
            operation,
            "it sums one axis of the images, or all of them, and nothing says which are the"
            " channels; pass layout='NHWC' or layout='NCHW', and pool rows and columns only",
        )
    rows, columns = sorted(pooled)  # type: ignore[type-var]
    tell_layout(operation, signal.node, (rows, columns, None))


def _of_any_entries(
    operation: Operation, equation: JaxprEqn, signal: Signal, windows: Array, reason: str
) -> Signal:
    """Return sums over the last axes of an array of indices, `[*outputs, ...]`.

    Raises:
      ValueError: with the reason, if these are no windows of pixels.
    """
    shape = output_shape(equation)
    rows = windows.reshape(int(np.prod(shape)), -1)
    made = sum_of_windows(signal.node, rows, operation.line)
    if made is None:
        refuse(operation, reason)
    return Signal(made.node, made.indices.reshape(shape), operation=operation)


def _summed(
    operation: Operation, equation: JaxprEqn, signal: Signal, window: Window, roles: Roles
) -> Signal:
    """Return the sums over windows; `roles` are of the axes of the user's output."""
    node = _window_sums(signal.node, window, operation)
    image = indices_of(node.shape, batch_size(signal.indices, signal.node.shape))
    return Signal(node, in_user_order(image, roles, output_shape(equation)), operation=operation)


def _windows(indices: Array, params: dict[str, Any]) -> Array:
    """Return the windows that an operation sums, `[*outputs, *window]`."""
    sizes, gaps = params["window_dimensions"], params["window_dilation"]
    reach = [(size - 1) * gap + 1 for size, gap in zip(sizes, gaps, strict=True)]
    windows = cut(indices, reach, params["window_strides"], params["padding"])
    taps: tuple[Any, ...] = (..., *(slice(None, None, gap) for gap in gaps))
    return windows[taps]


def _window_sums(node: Node, window: Window, operation: Operation) -> Node:
    """Add the sums over windows behind a node.

    Without padding that is a mean, scaled by the number of pixels. `AvgPool` has no padding, so
    with one it is a convolution by ones of each channel.
    """
    channels = node.shape[-1]
    shape = (*window.outputs(node.shape), channels)
    if np.any(window.pads(node.shape)):
        kernel = np.ones((*window.size, 1, channels))
        layer = arch.Conv(channels, window.size, window.strides, window.padding, channels, False)
        return weighted(node, layer, kernel, shape, frozenset(), operation.line)
    strides = None if window.strides == window.size else window.strides
    mean = Node(arch.AvgPool(window.size, strides), [node], shape, line=operation.line)
    return scaled(mean, float(window.size[0] * window.size[1]), line=operation.line)
