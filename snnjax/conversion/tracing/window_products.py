"""Layers of weights for products with any entries of a layer's output.

A product may take a part of an output, in another order, with copies of entries and with zeros. Its
weights are then laid out for the whole output: a weight of zero where it does not look.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnjax.conversion.tracing.graph import Node, flattened, scaled, weighted
from snnjax.conversion.tracing.indices import PADDING, Array
from snnjax.conversion.tracing.window_search import Windows, find_windows
from snnjax.networks import architecture as arch

__all__ = [
    "MOST_WEIGHTS",
    "Product",
    "block_diagonal",
    "product_with_vectors",
    "product_with_windows",
    "sum_of_windows",
]


MOST_WEIGHTS = 2**24
"""Largest number of weights that are laid out with zeros among them: 128 MiB of float64."""


class Product(NamedTuple):
    """A layer of weights, and the index in its output of each result, `[F, features]`."""

    node: Node
    indices: Array


def block_diagonal(blocks: Array) -> Array | None:
    """Return blocks `[groups, K, features]` as one matrix, zeros between the groups.

    None if that takes more than MOST_WEIGHTS.
    """
    groups, size, features = blocks.shape
    if groups == 1:
        return blocks[0]
    if blocks.size * groups > MOST_WEIGHTS:
        return None
    matrix = np.zeros((groups, size, groups, features))
    matrix[np.arange(groups), :, np.arange(groups)] = blocks
    return matrix.reshape(groups * size, groups * features)


def product_with_vectors(
    node: Node, rows: Array, kernel: Array, sources: frozenset[str] = frozenset(), line: str = ""
) -> Product | None:
    """Return a Dense, or None if the rows are not the same entries of an image each.

    Args:
      node: the layer whose output is multiplied.
      rows: indices of its entries, `[F, K]`.
      kernel: `[K, features]`.
      sources: the user's parameters in the kernel.
      line: of the user's program.
    """
    size = int(np.prod(node.shape))
    real = rows >= 0
    images = np.where(real, rows // size, -1).max(1)
    local = np.where(real, rows - images[:, None] * size, PADDING)
    if np.any(local != local[0]) or not real[0].any() or local.max() >= size:
        return None
    features = kernel.shape[1]
    if size * features > max(MOST_WEIGHTS, kernel.size):
        return None
    whole = np.zeros((size, features))
    _add(whole, (local[0][real[0]],), kernel[real[0]])
    layer = arch.Dense(features, use_bias=False)
    made = weighted(flattened(node), layer, whole, (features,), sources, line)
    return Product(made, images[:, None] * features + np.arange(features))


def product_with_windows(
    node: Node,
    rows: Array,
    kernel: Array,
    groups: int = 1,
    sources: frozenset[str] = frozenset(),
    line: str = "",
) -> Product | None:
    """Return a convolution, or None if the rows are no windows of a map.

    Args:
      node: the layer whose output is multiplied.
      rows: indices of its entries, a window in each row, `[F, K]`.
      kernel: `[K, features]`, with zeros between the groups.
      groups: of channels, if the kernel has zeros between them.
      sources: the user's parameters in the kernel.
      line: of the user's program.
    """
    found = find_windows(rows, node.shape) if len(node.shape) == 3 else None
    if found is None:
        return None
    channels = found.channels.max(0)
    if np.any((found.channels >= 0) & (found.channels != channels)):
        return None
    real, window = channels >= 0, found.window
    weights = int(np.prod(window.size)) * node.shape[-1] * kernel.shape[1]
    if weights > max(MOST_WEIGHTS, kernel.size):
        return None
    whole = np.zeros((*window.size, node.shape[-1], kernel.shape[1]))
    _add(whole, (*(taps[real] for taps in found.taps), channels[real]), kernel[real])
    groups, whole = _grouped(whole, groups)
    features = kernel.shape[1]
    layer = arch.Conv(
        features, window.size, window.strides, window.padding, groups, False, window.dilation
    )
    shape = (*window.outputs(node.shape), features)
    made = weighted(node, layer, whole, shape, sources, line)
    return Product(made, _places(found, features)[:, None] + _features(found, features))


def sum_of_windows(node: Node, rows: Array, line: str = "") -> Product | None:
    """Return sums over windows of each channel, or None if the rows are no such windows.

    Without padding, and if no entry is left out, that is a mean, scaled by the number of entries.
    `AvgPool` has neither, so otherwise it is a convolution of each channel.

    Args:
      node: the layer whose output is summed.
      rows: indices of its entries, a window of one channel in each row, `[F, K]`.
      line: of the user's program.
    """
    found = find_windows(rows, node.shape) if len(node.shape) == 3 else None
    if found is None:
        return None
    channels = found.channels.max(1)
    if np.any((found.channels >= 0) & (found.channels != channels[:, None])):
        return None
    window, depth = found.window, node.shape[-1]
    counts = np.zeros(window.size)
    np.add.at(counts, tuple(taps[(rows >= 0).any(0)] for taps in found.taps), 1)
    shape = (*window.outputs(node.shape), depth)
    places = np.where(channels >= 0, _places(found, depth) + channels, PADDING)[:, None]
    if np.any(window.pads(node.shape)) or np.any(counts != 1) or window.dilation != (1, 1):
        kernel = np.broadcast_to(counts[..., None, None], (*window.size, 1, depth))
        layer = arch.Conv(
            depth, window.size, window.strides, window.padding, depth, False, window.dilation
        )
        return Product(weighted(node, layer, kernel, shape, frozenset(), line), places)
    strides = None if window.strides == window.size else window.strides
    mean = Node(arch.AvgPool(window.size, strides), [node], shape, line=line)
    return Product(scaled(mean, float(np.prod(window.size)), line=line), places)


def _add(whole: Array, places: tuple[Array, ...], numbers: Array) -> None:
    """Add numbers `[K, ...]` at their places, of which some may be the same, to an array of 0."""
    flat = np.ravel_multi_index(places, whole.shape[: len(places)])
    if len(np.unique(flat)) == flat.size:
        whole[places] = numbers
    else:
        np.add.at(whole, places, numbers)


def _places(found: Windows, features: int) -> Array:
    """Return the index of the first feature of each window, PADDING for windows of zeros."""
    return np.where(found.pixels >= 0, found.pixels * features, PADDING)


def _features(found: Windows, features: int) -> Array:
    """Return the numbers of the features of each window, zeros for windows of zeros, `[F, ...]`."""
    return np.where(found.pixels[:, None] >= 0, np.arange(features), 0)


def _grouped(kernel: Array, groups: int) -> tuple[int, Array]:
    """Return the number of groups and the kernel of a convolution with as many groups as possible.

    Args:
      kernel: `[kh, kw, C, features]`, with zeros between the groups.
      groups: as many as there are at most.
    """
    inputs, features = kernel.shape[-2:]
    if groups == 1 or inputs % groups:
        return 1, kernel
    blocks = kernel.reshape(*kernel.shape[:2], groups, inputs // groups, groups, -1)
    own = np.einsum("hwgigo->hwigo", blocks)
    if np.count_nonzero(own) < np.count_nonzero(kernel):
        return 1, kernel
    return groups, own.reshape(*kernel.shape[:2], inputs // groups, features)
