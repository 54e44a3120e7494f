"""Accuracy under noise: every density and every readout in one compiled program.

The network runs once for each density; readouts, which only see the currents of its last
layer, are then read from these, for all leaks at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.snn import simulation, spiking
from snnjax.snn.encoding import RATE, Encoding
from snnjax.snn.neuron import EXACT_CHARGE, NeuronModel
from snnjax.snn.noise import Noise, salt_and_pepper
from snnjax.snn.readout import COUNT, CURRENT, LEAKY, read

__all__ = ["correct_under_noise"]

Params = dict[str, Any]


@partial(jax.jit, static_argnames=("network", "num_steps", "levels", "neuron", "encoding"))
def correct_under_noise(
    network: arch.Network,
    params: Params,
    layers: Mapping[str, Params],
    images: jax.Array,
    labels: jax.Array,
    noise: Noise,
    key: jax.Array,
    *,
    num_steps: int,
    levels: int | None = None,
    neuron: NeuronModel = EXACT_CHARGE,
    encoding: Encoding = RATE,
    first: ArrayLike = 0,
) -> dict[str, jax.Array]:
    """Where a network and its ANN are right under noise, for each density and leak.

    Args:
      network: the architecture; static.
      params: what `conversion.convert` returned, with an output_scale.
      layers: by name, leaky layers of one size stacked along a first axis, such as one for
        each leak.
      images: floats `[B, H, W, C]` in [0, 1].
      labels: int `[B]`.
      noise: from `noise.make_noise`, with densities `[D]`.
      key: for noise and spikes.
      num_steps: T; static.
      levels: of the ANN's quantised activations; None for smooth ones. Static.
      neuron: of the hidden layers; static.
      encoding: how images become input; static.
      first: index of the first image among all that share `key`.

    Returns:
      bool arrays by name. "ann" `[D, B]`: the ANN on an image with noise on all of it;
      "ann_mean" `[D, B]`: the ANN on the mean of the frames that the SNN saw; "count" `[D, B]`:
      spike counts without a leaky layer; and for each of `layers`, `[D, L, B]`.

    Raises:
      ValueError: as `simulation.simulate`.
    """
    still = simulation.image_keys(jax.random.fold_in(key, simulation.NOISE), first, len(images))

    def at(density: jax.Array) -> dict[str, jax.Array]:
        of_one = replace(noise, density=density)
        currents = simulation.simulate(
            network, params, images, num_steps=num_steps, neuron=neuron, encoding=encoding,
            readout=CURRENT, key=key, first=first, noise=of_one,
        ).values  # fmt: skip

        def total(sum_so_far: jax.Array, t: jax.Array) -> tuple[jax.Array, None]:
            frame = simulation.frame(
                key, images, params["gain"], t, encoding=encoding, first=first, noise=of_one
            )
            return sum_so_far + frame, None

        seen = jax.lax.scan(total, jnp.zeros_like(images), jnp.arange(num_steps))[0]
        noisy = jax.vmap(partial(salt_and_pepper, density=density))(still, images)
        ann = partial(spiking.limit, network, params, levels=levels)
        values = {
            "ann": ann(noisy),
            "ann_mean": ann(seen / (num_steps * params["gain"])),
            "count": read(COUNT, params, currents)[-1],
        }
        for name, stacked in layers.items():
            values[name] = jax.vmap(
                lambda layer: read(LEAKY, {**params, "readout": layer}, currents)[-1]
            )(stacked)
        return {name: jnp.argmax(value, -1) == labels for name, value in values.items()}

    return jax.vmap(at)(jnp.asarray(noise.density))
