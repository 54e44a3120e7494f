"""Rules for sums over pixels: an `AvgPool`, or a convolution where windows leave the image."""

from __future__ import annotations

import numpy as np
from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing.graph import Node, scaled, weighted
from snnjax.conversion.tracing.image_layout import reaches_input, tell_layout
from snnjax.conversion.tracing.indices import (
    BATCH,
    CHANNELS,
    COLUMNS,
    ROWS,
    Roles,
    axis_roles,
    batch_size,
    in_user_order,
    indices_of,
)
from snnjax.conversion.tracing.jaxpr_walk import Operation, refuse
from snnjax.conversion.tracing.layer_outputs import layer_output
from snnjax.conversion.tracing.rule_table import output_shape, rule
from snnjax.conversion.tracing.signals import Elementwise, Signal
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
    dilated = {*params["base_dilation"], *params["window_dilation"]} != {1}
    size, strides, padding = [1, 1, 1, 1], [1, 1, 1, 1], [(0, 0)] * 4
    for axis, length in enumerate(params["window_dimensions"]):
        role = roles[axis] if roles else None
        if role is not None:
            size[role], strides[role] = length, params["window_strides"][axis]
            padding[role] = tuple(params["padding"][axis])
        elif length != 1:
            refuse(operation, NOT_PIXELS)
    _tell_pixels(operation, signal.node, {role for role in range(4) if size[role] > 1})
    if roles is None or dilated or size[BATCH] != 1 or size[CHANNELS] != 1:
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
    """Return the sums over all rows, all columns, or both."""
    signal, axes = layer_output(operands[0]), equation.params["axes"]
    roles = axis_roles(signal.indices, signal.node.shape)
    summed = {roles[axis] for axis in axes} - {None} if roles else set()
    _tell_pixels(operation, signal.node, summed)
    if roles is None or not summed <= {ROWS, COLUMNS}:
        refuse(operation, NOT_SUMMED)
    rows, columns, _ = signal.node.shape
    size = (rows if ROWS in summed else 1, columns if COLUMNS in summed else 1)
    kept = tuple(role for axis, role in enumerate(roles) if axis not in axes)
    return _summed(operation, equation, signal, Window(size, size), kept)


NOT_SUMMED = (
    "it sums over channels or images; only pixels can be pooled. A sum over channels is a product,"
    " such as x @ jnp.ones((channels, 1)); a normalisation by sums has no spiking counterpart"
)
NOT_PIXELS = "its window is not over the pixels of images; want windows of rows and columns"


def _tell_pixels(operation: Operation, node: Node, pooled: set[int]) -> None:
    """Tell the layout of the images by the axes that are pooled, if these are the images.

    Raises:
      LayoutTold: if the axes are not those of rows and columns.
    """
    if CHANNELS not in pooled or BATCH in pooled or not reaches_input(node):
        return
    if len(pooled) != 2:
        refuse(
            operation,
            "it sums one axis of the images, or all of them, and nothing says which are the"
            " channels; pass layout='NHWC' or layout='NCHW', and pool rows and columns only",
        )
    rows, columns = sorted(pooled)
    tell_layout(operation, node, (rows, columns, None))


def _summed(
    operation: Operation, equation: JaxprEqn, signal: Signal, window: Window, roles: Roles
) -> Signal:
    """Return the sums over windows; `roles` are of the axes of the user's output."""
    node = _window_sums(signal.node, window, operation)
    image = indices_of(node.shape, batch_size(signal.indices, signal.node.shape))
    return Signal(node, in_user_order(image, roles, output_shape(equation)), operation=operation)


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
