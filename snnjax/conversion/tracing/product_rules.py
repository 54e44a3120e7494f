"""Rule for matrix products: a `Dense`, or a convolution with the windows that are multiplied."""

from __future__ import annotations

import numpy as np
from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing.graph import weighted
from snnjax.conversion.tracing.image_layout import reaches_input
from snnjax.conversion.tracing.indices import (
    CHANNELS,
    Array,
    axis_roles,
    batch_size,
    in_user_order,
    indices_of,
)
from snnjax.conversion.tracing.jaxpr_walk import Operation, refuse
from snnjax.conversion.tracing.layer_outputs import signal_and_weights
from snnjax.conversion.tracing.rule_table import rule
from snnjax.conversion.tracing.signals import Signal, Value
from snnjax.conversion.tracing.window_products import (
    Product,
    block_diagonal,
    product_with_vectors,
    product_with_windows,
)
from snnjax.networks import architecture as arch

__all__: list[str] = []


@rule("dot_general")
def product(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Signal:
    """Return a product over all of an image, over its channels, or over windows of it."""
    signal, weights, weights_first = signal_and_weights(operation, operands)
    contracted, batched = equation.params["dimension_numbers"]
    if weights_first:
        contracted, batched = contracted[::-1], batched[::-1]
    of_signal, of_weights = contracted
    groups, groups_of_weights = batched
    free = [a for a in range(signal.indices.ndim) if a not in (*of_signal, *groups)]
    value = np.asarray(weights.value)
    kernel = np.moveaxis(value, (*groups_of_weights, *of_weights), range(len(groups + of_weights)))
    features = kernel.shape[len(groups + of_weights) :]
    blocks = kernel.reshape(int(np.prod(kernel.shape[: len(groups)])), -1, int(np.prod(features)))
    made = _made(operation, signal, (tuple(free), groups, of_signal), blocks, weights.sources)
    free_shape, groups_shape = (
        [signal.indices.shape[axis] for axis in axes] for axes in (free, groups)
    )
    indices = made.indices.reshape(*free_shape, *groups_shape, *features)
    free_at, groups_at = range(len(free)), range(len(free), len(free) + len(groups))
    features_at = range(len(free) + len(groups), indices.ndim)
    order = (features_at, free_at) if weights_first else (free_at, features_at)
    indices = indices.transpose(*groups_at, *order[0], *order[1])
    return Signal(made.node, indices, operation=operation)


Axes = tuple[int, ...]


def _made(
    operation: Operation,
    signal: Signal,
    axes: tuple[Axes, Axes, Axes],
    blocks: Array,
    sources: frozenset[str],
) -> Product:
    """Return a product as a layer.

    Args:
      operation: of the user's program.
      signal: the array that is multiplied.
      axes: its free axes, those with weights of their own, and the contracted ones.
      blocks: `[groups, K, features]`.
      sources: the user's parameters in the weights.
    """
    free, groups, contracted = axes
    num_groups, size, _ = blocks.shape
    free_size = int(np.prod([signal.indices.shape[axis] for axis in free]))
    of_images = free_size == batch_size(signal.indices, signal.node.shape)
    if num_groups == 1 and not of_images:
        made = _over_channels(operation, signal, (free, groups + contracted), blocks[0], sources)
        if made is not None:
            return made
    rows = signal.indices.transpose(*free, *groups, *contracted).reshape(-1, num_groups * size)
    kernel = block_diagonal(blocks)
    if kernel is not None:
        more = (sources, operation.line)
        made = product_with_vectors(signal.node, rows, kernel, *more) if of_images else None
        made = made or product_with_windows(signal.node, rows, kernel, num_groups, *more)
        made = made or product_with_vectors(signal.node, rows, kernel, *more)
        if made is not None:
            return made
    refuse(
        operation,
        "its weights differ between the entries of an axis; want one matrix"
        if num_groups > 1
        else "it multiplies an axis that is neither the channels nor all of an image; want one of"
        " these"
        + "; if the axis is the channels, say so by layout=, such as layout='NCHW'"
        * reaches_input(signal.node),
    )


def _over_channels(
    operation: Operation,
    signal: Signal,
    axes: tuple[Axes, Axes],
    kernel: Array,
    sources: frozenset[str],
) -> Product | None:
    """Return a convolution of single pixels, or None if the product is not over the channels.

    axes: the signal's free and contracted ones.
    """
    free, contracted = axes
    roles = axis_roles(signal.indices, signal.node.shape)
    if roles is None or [roles[axis] for axis in contracted] != [CHANNELS]:
        return None
    features = kernel.shape[1]
    layer = arch.Conv(features, (1, 1), padding="VALID", use_bias=False)
    shape = (*signal.node.shape[:2], features)
    made = weighted(signal.node, layer, kernel[None, None], shape, sources, operation.line)
    image = indices_of(shape, batch_size(signal.indices, signal.node.shape))
    user_shape = (*(signal.indices.shape[axis] for axis in free), features)
    user_roles = (*(roles[axis] for axis in free), CHANNELS)
    return Product(made, in_user_order(image, user_roles, user_shape))
