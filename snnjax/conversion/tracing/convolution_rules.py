"""Rule for convolutions: a `Conv`, with the zeros that pad its input as part of its padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing.graph import weighted
from snnjax.conversion.tracing.image_layout import tell_layout
from snnjax.conversion.tracing.indices import (
    Array,
    channel_order,
    cut,
    indices_of,
    varied_roles,
    without_padding,
)
from snnjax.conversion.tracing.jaxpr_walk import Operation, refuse
from snnjax.conversion.tracing.layer_outputs import signal_and_weights
from snnjax.conversion.tracing.rule_table import rule
from snnjax.conversion.tracing.selections import find_whole
from snnjax.conversion.tracing.signals import Signal, Value
from snnjax.conversion.tracing.window_products import (
    Product,
    block_diagonal,
    product_with_windows,
)
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
    images = signal.indices.transpose(batch, *pixels, channels)
    roles = varied_roles(images, signal.node.shape)
    if roles is not None:
        tell_layout(operation, signal.node, roles[1:])
    made = _of_images(operation, Signal(signal.node, images), params, kernel, weights.sources)
    made = made or _of_windows(
        operation, Signal(signal.node, images), params, kernel, weights.sources
    )
    if made is None:  # zeros around a part, where the whole has something else
        part = find_whole(Signal(signal.node, images, operation=operation))
        if part is not None:
            made = _of_windows(operation, part, params, kernel, weights.sources)
    if made is None:
        refuse(operation, ELSEWHERE)
    batch_out, channels_out, *pixels_out = axes.out_spec
    indices = made.indices.transpose(np.argsort((batch_out, *pixels_out, channels_out)))
    return Signal(made.node, indices, operation=operation)


def _of_images(
    operation: Operation,
    signal: Signal,
    params: dict[str, Any],
    kernel: Array,
    sources: frozenset[str],
) -> Product | None:
    """Return a convolution of a layer's output, perhaps with zeros around it, or None."""
    images, zeros = without_padding(signal.indices)
    order = channel_order(images, signal.node.shape)
    groups = params["feature_group_count"]
    if order is None or (groups > 1 and np.any(np.diff(order) != 1)):
        return None
    (above, below), (left, right) = zeros
    (more_above, more_below), (more_left, more_right) = params["padding"]
    pads = ((above + more_above, below + more_below), (left + more_left, right + more_right))
    if np.min(pads) < 0:
        return None
    if groups == 1:
        kernel = kernel[:, :, np.argsort(order)]
    window = _window(params, kernel.shape[:2], pads, images.shape[1:3])
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
    node = weighted(signal.node, layer, kernel, shape, sources, operation.line)
    return Product(node, indices_of(shape, len(images)))


def _of_windows(
    operation: Operation,
    signal: Signal,
    params: dict[str, Any],
    kernel: Array,
    sources: frozenset[str],
) -> Product | None:
    """Return a convolution of a part of a layer's output, in any order; None if there is none."""
    groups, strides, dilation = (
        params[name] for name in ("feature_group_count", "window_strides", "rhs_dilation")
    )
    size = Window(kernel.shape[:2], (1, 1), "VALID", tuple(dilation)).reach
    pads = ((0, 0), *params["padding"], (0, 0))
    windows = cut(signal.indices, (1, *size, 1), (1, *strides, 1), pads)
    taps = windows[..., 0, :: dilation[0], :: dilation[1], 0]
    rows = taps.transpose(0, 1, 2, 4, 5, 3)
    shape = rows.shape[:3]
    blocks = kernel.reshape(*kernel.shape[:3], groups, -1).transpose(3, 0, 1, 2, 4)
    taps_first = block_diagonal(blocks.reshape(groups, -1, blocks.shape[-1]))
    if taps_first is None:
        return None
    taps_first = taps_first.reshape(groups, *kernel.shape[:3], -1).transpose(1, 2, 0, 3, 4)
    made = product_with_windows(
        signal.node,
        rows.reshape(int(np.prod(shape)), -1),
        taps_first.reshape(-1, kernel.shape[-1]),
        groups,
        sources,
        operation.line,
    )
    return made and Product(made.node, made.indices.reshape(*shape, -1))


ELSEWHERE = (
    "its input is padded inside the image, or has a layer's output in another shape or order; want"
    " images, with zeros around them only"
)


def _check(operation: Operation, params: dict[str, Any], weights_first: bool) -> None:
    """Refuse a convolution that `Conv` cannot describe."""
    if weights_first or params["batch_group_count"] != 1 or set(params["lhs_dilation"]) != {1}:
        refuse(operation, "it is transposed; want a convolution of images with fixed kernels")
    if len(params["window_strides"]) != 2:
        refuse(operation, f"it has {len(params['window_strides'])} axes of space; want 2")
    of_axes = zip(params["padding"], params["window_strides"], strict=True)
    if any(min(pads) < 0 < max(pads) and stride > 1 for pads, stride in of_axes):
        refuse(
            operation,
            "it has strides, crops one side of an axis and pads the other, which XLA computes"
            " wrongly on a CPU; crop with a slice before it",
        )


def _window(params: dict[str, Any], size: Any, pads: Pads, pixels: tuple[int, ...]) -> Window:
    """Return the window of a convolution, its padding by name where it has one."""
    strides, dilation = tuple(params["window_strides"]), tuple(params["rhs_dilation"])
    for name in ("VALID", "SAME"):
        window = Window(size, strides, name, dilation)  # type: ignore[arg-type]
        if window.pads(pixels) == pads:
            return window
    return Window(size, strides, pads, dilation)
