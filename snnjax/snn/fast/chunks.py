"""Choice of chunks and kernels by batch size, timesteps and size of the network."""

from __future__ import annotations

from typing import Any, cast

import jax
import numpy as np

from snnjax.networks.architecture import Dense, Layer, Network, Weights, map_params, walk
from snnjax.runtime.silent_inputs import SkippingKernel
from snnjax.snn.engine import Params, SpikingFunction, Task
from snnjax.snn.fast.dynamics import skip_silent_inputs, stem_length
from snnjax.snn.fast.parts import split_kernels
from snnjax.snn.whole_numbers import is_integer

__all__ = [
    "choose_chunk",
    "count_weights",
    "prepare_kernels",
    "prepare_kernels_for",
    "skips_silent_inputs",
]

TOGETHER = 64
"""Frames at once (timesteps times images) up to which larger products save time."""

FEW_IMAGES = 2
"""Batch size up to which every network is faster with several timesteps at once."""

MANY_WEIGHTS = 2**20
"""Number of weights from which they do not stay in the cache of a core."""

MANY_FRAMES = 128
"""Number of frames in one call from which it pays to prepare kernels."""


STEPS_OF_ACTIVE_INPUTS = 16
"""Timesteps at once for networks that skip silent inputs: their rows of a kernel are gathered once
for all of them, and few neurons send their first spike later."""


def choose_chunk(
    batch_size: Any, num_steps: int, weights: int, *, skips_inputs: bool = False
) -> int:
    """Number of timesteps that a layer computes at once.

    A small batch does little work for every weight that it reads, so larger products save time, up
    to TOGETHER frames at once; beyond that only memory grows. A batch of that size or of unknown
    size takes one timestep at a time. So does a batch of more than FEW_IMAGES images if the weights
    stay in a cache: there, storing the spikes costs more time than larger products save. A network
    of dense layers that skip silent inputs takes up to STEPS_OF_ACTIVE_INPUTS for larger batches
    too.

    Choice: measured on two CPU cores, for networks that skip silent inputs on one;
    `experiments/throughput` measures it again.

    Args:
      batch_size: B; symbolic in a program that is exported for any batch.
      num_steps: T.
      weights: number of weights; see `count_weights`.
      skips_inputs: as `skips_silent_inputs` returns it.

    Raises:
      Nothing.
    """
    if not isinstance(batch_size, int):
        return 1
    if batch_size > FEW_IMAGES and weights < MANY_WEIGHTS:
        return 1
    least = STEPS_OF_ACTIVE_INPUTS if skips_inputs else 1
    return min(num_steps, max(least, TOGETHER // batch_size))


def skips_silent_inputs(network: SpikingFunction, params: Params, batch_size: Any) -> bool:
    """True for a network of dense layers of which one behind the stem skips silent inputs.

    Args:
      network: the architecture.
      params: of the network.
      batch_size: B; symbolic in a program that is exported for any batch.

    Raises:
      KeyError: if the parameters belong to another network.
    """
    if not isinstance(network, Network):
        return False
    weights = [layer for _, layer in walk(network.layers) if isinstance(layer, Weights)]
    if not all(isinstance(layer, Dense) for layer in weights):
        return False
    start = stem_length(network.layers)
    skipping = skip_silent_inputs(network.layers, params, start, batch_size)
    return any(map(_skips, jax.tree.leaves(skipping["layers"], is_leaf=_skips)))


def count_weights(params: Params) -> int:
    """Number of entries in all kernels of a pytree."""
    named = jax.tree_util.tree_flatten_with_path(params)[0]
    names = (getattr(path[-1], "key", getattr(path[-1], "name", None)) for path, _ in named)
    return sum(
        np.size(leaf) for name, (_, leaf) in zip(names, named, strict=True) if name == "kernel"
    )


def prepare_kernels(network: SpikingFunction, params: Params) -> Params:
    """Parameters with their kernels in the form that is fastest for many calls of `simulate`.

    On a CPU this adds the kernels in the form of Winograd's algorithm: up to 2.8 times the memory.
    A call of `simulate` with many frames prepares them itself, so this function is for many calls
    with few images. Change kernels before this call, not after it. The spikes are the same, except
    where rounding decides. The kernels of an integer network stay as they are, because Winograd's
    algorithm halves and quarters them.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.

    Raises:
      KeyError: if the parameters belong to another network.
    """

    def prepared(layer: Layer, own: Params) -> Params:
        return layer.prepare_kernel(own) if isinstance(layer, Weights) else own

    if is_integer(params):
        return params
    layers = cast(Network, network).layers
    return {**params, "layers": map_params(layers, params["layers"], prepared)}


def prepare_kernels_for(task: Task, params: Params, batch: Any, num_steps: int) -> Params:
    """Split the kernels into their bfloat16 parts if the task says so, and prepare the others if
    `batch` images for `num_steps` timesteps are enough work.
    """
    if not isinstance(batch, int):  # not known yet in an export
        return params
    if batch * num_steps >= MANY_FRAMES:
        params = params if task.kernel_parts else prepare_kernels(task.network, params)
    return split_kernels(task, params, num_steps)


def _skips(value: Any) -> bool:
    return isinstance(value, SkippingKernel)
