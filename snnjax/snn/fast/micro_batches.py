"""Micro-batches: images of a large batch that a CPU simulates together.

At every timestep a simulation reads and writes the states of all its neurons. If they fit into the
cache, all timesteps of a micro-batch before the next micro-batch take less time than all images
at every timestep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from snnjax.snn.engine import Simulation
from snnjax.snn.fast.chunks import MANY_WEIGHTS
from snnjax.snn.stimulus import Stimulus

__all__ = ["choose_micro_batch", "map_micro_batches"]

CACHE = 2**25
"""Bytes of the states of a micro-batch at most."""

LEAST = 8
"""Images of a micro-batch at least: with fewer, products are small."""


def choose_micro_batch(batch_size: Any, neurons: int, weights: int) -> int:
    """Number of images that are simulated together: a divisor of the batch, or the whole batch.

    The whole batch where its states fit into CACHE, on other platforms than a CPU, in several
    processes, for a batch of unknown size, and for networks of MANY_WEIGHTS, which every
    micro-batch would read again from memory. Every device gets equally many images of a
    micro-batch. If no divisor fits into CACHE and has LEAST images, it is the whole batch too.

    Choice: measured on two CPU cores with a cache of 32 MiB; docs/measurements.md.

    Args:
      batch_size: B; symbolic in a program that is exported for any batch.
      neurons: number of neurons that an image has.
      weights: number of weights; see `chunks.count_weights`.

    Raises:
      Nothing.
    """
    if not isinstance(batch_size, int) or weights >= MANY_WEIGHTS:
        return batch_size
    if jax.default_backend() != "cpu" or jax.process_count() > 1:
        return batch_size
    bytes_of_image = 4 * neurons
    if batch_size * bytes_of_image <= CACHE:
        return batch_size
    devices = jax.device_count()
    sizes = range(devices, CACHE // bytes_of_image + 1, devices)
    return max((n for n in sizes if batch_size % n == 0 and n >= LEAST), default=batch_size)


def map_micro_batches(
    run: Callable[[Stimulus], Simulation], stimulus: Stimulus, size: int
) -> Simulation:
    """Simulate one micro-batch after the other; return the result of the batch.

    The spikes are those of the batch at once, except where rounding decides; random ones too,
    because every image has its own key.

    Args:
      run: the simulation of a stimulus, without a recording.
      stimulus: of the batch, B images.
      size: images of a micro-batch, a divisor of B and a multiple of the number of devices.
    """
    indices = jnp.asarray(stimulus.first) + jnp.arange(len(stimulus.images), dtype=jnp.int32)

    def one(of: tuple[jax.Array, jax.Array]) -> Simulation:
        return run(stimulus._replace(images=of[0], first=of[1]))

    found = jax.lax.map(one, (_deal(stimulus.images, size), _deal(indices, size)))
    return Simulation(
        values=_collect(found.values, 1),
        spikes=_collect(found.spikes, 1),
        layer_spikes={path: _collect(count, 0) for path, count in found.layer_spikes.items()},
        neurons={path: count[0] for path, count in found.neurons.items()},
        recording=None,
    )


def _deal(x: jax.Array, size: int) -> jax.Array:
    """Deal `[B, ...]` into micro-batches `[B / size, size, ...]`.

    Each has images of every device, so that images distributed over devices stay where they are.
    """
    devices = jax.device_count()
    own = x.reshape(devices, -1, size // devices, *x.shape[1:])
    return jnp.swapaxes(own, 0, 1).reshape(-1, size, *x.shape[1:])


def _collect(x: jax.Array, axis: int) -> jax.Array:
    """Undo `_deal`: `axis` is that of the images in a result of one micro-batch."""
    devices, count, size = jax.device_count(), x.shape[0], x.shape[axis + 1]
    before, after = x.shape[1 : axis + 1], x.shape[axis + 2 :]
    dealt = x.reshape(count, *before, devices, size // devices, *after)
    return jnp.moveaxis(dealt, 0, axis + 1).reshape(*before, count * size, *after)
