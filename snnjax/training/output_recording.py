"""Simulation of a network on many images that records the currents of its last layer."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnjax.networks import architecture as arch
from snnjax.snn import simulation
from snnjax.snn.encoding import CONSTANT, Encoding
from snnjax.snn.neurons import EXACT_CHARGE, NeuronModel
from snnjax.snn.readout import CURRENT

__all__ = ["RecordingSettings", "record_output_currents"]

Params = dict[str, Any]


class RecordingSettings(NamedTuple):
    """Settings of the simulation; hashable, so a static argument.

    num_steps: T.
    neuron: of the hidden layers.
    encoding: of images as input.
    pre_steps: see `simulation.simulate`; the recorded current is 0 in these timesteps.
    batch_size: images at a time.
    """

    num_steps: int
    neuron: NeuronModel = EXACT_CHARGE
    encoding: Encoding = CONSTANT
    pre_steps: int = 0
    batch_size: int = 100


@partial(jax.jit, static_argnames=("network", "settings"))
def record_output_currents(
    network: arch.Network,
    params: Params,
    images: jax.Array,
    key: jax.Array,
    settings: RecordingSettings,
) -> jax.Array:
    """Simulate all images, batch by batch, and return the last layer's currents `[T, N, K]`.

    Args:
      network: the architecture; static.
      params: as returned by `conversion.convert`.
      images: uint8 `[N, H, W, C]`.
      key: for an encoding with random spikes.
      settings: of the simulation; static.

    Raises:
      ValueError: if there are no images, the batch size is below 1, or `simulation.simulate`
        refuses its arguments.
    """
    count, batch_size = len(images), settings.batch_size
    if not count or batch_size < 1:
        raise ValueError(f"{count} images in batches of {batch_size}; want at least 1 each")

    def simulate_batch(first: jax.Array) -> jax.Array:
        # The last batch is filled up with copies of the last image.
        indices = jnp.minimum(first + jnp.arange(batch_size), count - 1)
        return simulation.simulate(
            network, params, images[indices].astype(jnp.float32) / 255,
            num_steps=settings.num_steps, neuron=settings.neuron, encoding=settings.encoding,
            readout=CURRENT, key=key, first=first, pre_steps=settings.pre_steps,
        ).values  # fmt: skip

    currents = jax.lax.map(simulate_batch, jnp.arange(0, count, batch_size))  # [N / B, T, B, K]
    classes = currents.shape[-1]
    return jnp.moveaxis(currents, 1, 0).reshape(settings.num_steps, -1, classes)[:, :count]
