"""Simulation of a network on many images that records the currents of its last layer."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.runtime.checks import check_count, check_key
from snnjax.runtime.images import check_dataset_images, unit_images
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


def record_output_currents(
    network: arch.Network,
    params: Params,
    images: ArrayLike,
    key: jax.Array,
    settings: RecordingSettings,
) -> jax.Array:
    """Simulate all images, batch by batch, and return the last layer's currents `[T, N, K]`.

    Args:
      network: the architecture; static.
      params: as returned by `conversion.convert`.
      images: bytes (uint8) `[N, H, W, C]` or `[N, D]`, or floats in the range of the network.
      key: for an encoding with random spikes.
      settings: of the simulation; static.

    Raises:
      ValueError: if there are no images, they are neither bytes nor finite floats, the batch size
        is below 1, or `simulation.simulate` refuses its arguments.
    """
    check_count("batch_size", settings.batch_size)
    images, key = check_dataset_images(images), check_key(key)
    return _record(params, images, key, network=network, settings=settings)


@partial(jax.jit, static_argnames=("network", "settings"))
def _record(
    params: Params,
    images: jax.Array,
    key: jax.Array,
    *,
    network: arch.Network,
    settings: RecordingSettings,
) -> jax.Array:
    count, batch_size = len(images), settings.batch_size

    def simulate_batch(first: jax.Array) -> jax.Array:
        # The last batch is filled up with copies of the last image.
        indices = jnp.minimum(first + jnp.arange(batch_size), count - 1)
        return simulation.simulate(
            network, params, unit_images(images[indices]),
            num_steps=settings.num_steps, neuron=settings.neuron, encoding=settings.encoding,
            readout=CURRENT, key=key, first=first, pre_steps=settings.pre_steps,
        ).values  # fmt: skip

    currents = jax.lax.map(simulate_batch, jnp.arange(0, count, batch_size))  # [N / B, T, B, K]
    classes = currents.shape[-1]
    return jnp.moveaxis(currents, 1, 0).reshape(settings.num_steps, -1, classes)[:, :count]
