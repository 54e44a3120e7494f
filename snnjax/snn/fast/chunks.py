"""Choices that depend on batch, timesteps and the size of the network."""

from __future__ import annotations

from typing import Any, cast

import jax
import numpy as np

from snnjax.networks.architecture import Layer, Network, Weights, map_params
from snnjax.snn.engine import Params, SpikingFunction

__all__ = ["choose_chunk", "count_weights", "prepare_kernels", "prepare_kernels_for"]

TOGETHER = 64
"""Frames at once, timesteps by images, up to which larger products win over more memory."""

FEW_IMAGES = 2
"""Images at once up to which every network is faster with several timesteps at once."""

MANY_WEIGHTS = 2**20
"""Weights of a network from which they do not stay in a core's cache."""

MANY_FRAMES = 128
"""Frames in all from which it pays to prepare kernels for one call."""


def choose_chunk(batch_size: Any, num_steps: int, weights: int) -> int:
    """Number of timesteps that a layer computes at once.

    A small batch reads every weight for little work, so up to TOGETHER frames at once larger
    products win; from there on they gain nothing, and memory grows. A batch of that size, or of
    one that is not known yet, goes through one timestep after the other. Where the weights stay in
    a cache there is little to win with more than FEW_IMAGES images, and more to lose to the spikes.

    Choice: measured on two CPU cores; `experiments/throughput` measures it again.

    Args:
      batch_size: B; symbolic in a program that is exported for any batch.
      num_steps: T.
      weights: number of weights; see `count_weights`.

    Raises:
      Nothing.
    """
    if not isinstance(batch_size, int):
        return 1
    if batch_size > FEW_IMAGES and weights < MANY_WEIGHTS:
        return 1
    return max(1, min(num_steps, TOGETHER // batch_size))


def count_weights(params: Params) -> int:
    """Number of entries in all kernels of a pytree."""
    named = jax.tree_util.tree_flatten_with_path(params)[0]
    names = (getattr(path[-1], "key", getattr(path[-1], "name", None)) for path, _ in named)
    return sum(
        np.size(leaf) for name, (_, leaf) in zip(names, named, strict=True) if name == "kernel"
    )


def prepare_kernels(network: SpikingFunction, params: Params) -> Params:
    """Parameters with their kernels in the form that is fastest for many calls of `simulate`.

    On a CPU these are kernels as Winograd's algorithm needs them, beside the kernels themselves:
    up to 2.8 times the memory. A call of `simulate` computes them for itself where it has enough
    images to show; so this is for many calls with few images. Changes of a kernel come before it.
    The spikes are the same, except where rounding decides.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.

    Raises:
      KeyError: if the parameters are of another network.
    """

    def prepared(layer: Layer, own: Params) -> Params:
        return layer.prepare_kernel(own) if isinstance(layer, Weights) else own

    layers = cast(Network, network).layers
    return {**params, "layers": map_params(layers, params["layers"], prepared)}


def prepare_kernels_for(
    network: SpikingFunction, params: Params, batch: Any, num_steps: int
) -> Params:
    """Parameters as `batch` images for `num_steps` timesteps need them."""
    if isinstance(batch, int) and batch * num_steps >= MANY_FRAMES:  # not known yet in an export
        return prepare_kernels(network, params)
    return params
