"""Rule for matrix products: a `Dense`, or a convolution with a kernel of one pixel."""

from __future__ import annotations

import numpy as np
from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing.graph import flattened, weighted
from snnjax.conversion.tracing.image_layout import reaches_input
from snnjax.conversion.tracing.indices import (
    CHANNELS,
    Array,
    axis_roles,
    batch_size,
    channel_order,
    in_user_order,
    indices_of,
)
from snnjax.conversion.tracing.jaxpr_walk import Operation, refuse
from snnjax.conversion.tracing.layer_outputs import signal_and_weights
from snnjax.conversion.tracing.rule_table import rule
from snnjax.conversion.tracing.signals import Signal, Value
from snnjax.networks import architecture as arch

__all__: list[str] = []


@rule("dot_general")
def product(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Signal:
    """Return a product over all of an image, or over its channels."""
    signal, weights, weights_first = signal_and_weights(operation, operands)
    contracted, batched = equation.params["dimension_numbers"]
    if batched[0]:
        refuse(operation, "its weights differ between the entries of an axis; want one matrix")
    of_signal, of_weights = contracted[::-1] if weights_first else contracted
    free = tuple(axis for axis in range(signal.indices.ndim) if axis not in of_signal)
    kernel = np.moveaxis(np.asarray(weights.value), of_weights, range(len(of_weights)))
    features = kernel.shape[len(of_weights) :]
    kernel = kernel.reshape(int(np.prod(kernel.shape[: len(of_weights)])), -1)
    free_shape = tuple(signal.indices.shape[axis] for axis in free)
    if int(np.prod(free_shape)) == batch_size(signal.indices, signal.node.shape):
        rows = signal.indices.transpose(*free, *of_signal)
        made = _over_images(operation, signal, rows, kernel, weights.sources)
    else:
        made = _over_channels(operation, signal, (free, of_signal), kernel, weights.sources)
    indices = made.indices.reshape(*free_shape, *features)
    if weights_first:  # the free axes of the weights come first then
        indices = np.moveaxis(indices, range(len(free)), range(-len(free), 0))
    return Signal(made.node, indices, operation=operation)


def _over_images(
    operation: Operation, signal: Signal, rows: Array, kernel: Array, sources: frozenset[str]
) -> Signal:
    """Return a Dense; `rows` has the indices of the images, the contracted axes last."""
    batch, features = batch_size(signal.indices, signal.node.shape), kernel.shape[1]
    node = flattened(signal.node)
    order = channel_order(operation, rows.reshape(batch, -1), node.shape)
    layer = arch.Dense(features, use_bias=False)
    kernel = kernel[np.argsort(order)]
    made = weighted(node, layer, kernel, (features,), sources, operation.line)
    return Signal(made, indices_of(made.shape, batch))


def _over_channels(
    operation: Operation,
    signal: Signal,
    axes: tuple[tuple[int, ...], tuple[int, ...]],
    kernel: Array,
    sources: frozenset[str],
) -> Signal:
    """Return a convolution of single pixels; `axes` are the signal's free and contracted ones."""
    free, contracted = axes
    roles = axis_roles(signal.indices, signal.node.shape)
    if roles is None or [roles[axis] for axis in contracted] != [CHANNELS]:
        refuse(
            operation,
            "it multiplies an axis that is neither the channels nor all of an image; want one"
            " of these"
            + "; if the axis is the channels, say so by layout=, such as layout='NCHW'"
            * reaches_input(signal.node),
        )
    features = kernel.shape[1]
    layer = arch.Conv(features, (1, 1), padding="VALID", use_bias=False)
    shape = (*signal.node.shape[:2], features)
    made = weighted(signal.node, layer, kernel[None, None], shape, sources, operation.line)
    image = indices_of(shape, batch_size(signal.indices, signal.node.shape))
    user_shape = (*(signal.indices.shape[axis] for axis in free), features)
    user_roles = (*(roles[axis] for axis in free), CHANNELS)
    return Signal(made, in_user_order(image, user_roles, user_shape))
