"""Rule for convolutions: a `Conv`, with the zeros that pad its input as part of its padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing.graph import weighted
from snnjax.conversion.tracing.image_layout import tell_layout
from snnjax.conversion.tracing.indices import (
    axis_roles,
    channel_order,
    indices_of,
    without_padding,
)
from snnjax.conversion.tracing.jaxpr_walk import Operation, refuse
from snnjax.conversion.tracing.layer_outputs import signal_and_weights
from snnjax.conversion.tracing.rule_table import output_shape, rule
from snnjax.conversion.tracing.signals import Signal, Value
from snnjax.networks import architecture as arch
from snnjax.runtime.windows import Pads, Window

__all__: list[str] = []


@rule("conv_general_dilated")
def convolution(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Signal:
    """Return a convolution of images `[B, H, W, C]` in any order of their axes."""
    signal, weights, weights_first = signal_and_weights(operation, operands)
    params, axes = equation.params, equation.params["dimension_numbers"]
    _check(operation, params, weights_first)
    batch, channels, *pixels = axes.lhs_spec
    output, input_, *taps = axes.rhs_spec
    kernel = np.asarray(weights.value).transpose(*taps, input_, output)
    images, zeros = without_padding(operation, signal.indices.transpose(batch, *pixels, channels))
    roles = axis_roles(images, signal.node.shape)
    if roles is not None:
        tell_layout(operation, signal.node, roles[1:])
    order = channel_order(operation, images, signal.node.shape)
    groups = params["feature_group_count"]
    if groups == 1:
        kernel = kernel[:, :, np.argsort(order)]
    elif np.any(np.diff(order) != 1):
        refuse(
            operation, "it has groups of channels in another order; want that of its input's layer"
        )
    (above, below), (left, right) = zeros
    (more_above, more_below), (more_left, more_right) = params["padding"]
    pads = ((above + more_above, below + more_below), (left + more_left, right + more_right))
    window = _window(operation, params, kernel.shape[:2], pads, images.shape[1:3])
    layer = arch.Conv(
        kernel.shape[-1],
        window.size,
        window.strides,
        window.padding,
        groups,
        False,
        window.dilation,
    )
    shape = (*window.outputs(images.shape[1:3]), kernel.shape[-1])
    node = weighted(signal.node, layer, kernel, shape, weights.sources, operation.line)
    batch_out, channels_out, *pixels_out = axes.out_spec
    image = indices_of(shape, output_shape(equation)[batch_out])
    indices = image.transpose(np.argsort((batch_out, *pixels_out, channels_out)))
    return Signal(node, indices, operation=operation)


def _check(operation: Operation, params: dict[str, Any], weights_first: bool) -> None:
    """Refuse a convolution that `Conv` cannot describe."""
    if weights_first or params["batch_group_count"] != 1 or set(params["lhs_dilation"]) != {1}:
        refuse(operation, "it is transposed; want a convolution of images with fixed kernels")
    if len(params["window_strides"]) != 2:
        refuse(operation, f"it has {len(params['window_strides'])} axes of space; want 2")


def _window(
    operation: Operation, params: dict[str, Any], size: Any, pads: Pads, pixels: tuple[int, ...]
) -> Window:
    """Return the window of a convolution, its padding by name where it has one."""
    if np.min(pads) < 0:
        refuse(operation, f"it cuts off pixels, padding {pads}; want no number below 0")
    strides, dilation = tuple(params["window_strides"]), tuple(params["rhs_dilation"])
    for name in ("VALID", "SAME"):
        window = Window(size, strides, name, dilation)  # type: ignore[arg-type]
        if window.pads(pixels) == pads:
            return window
    return Window(size, strides, pads, dilation)
