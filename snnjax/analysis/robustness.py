"""Robustness to noise: answers for all noise densities and readouts in one compiled program.

The network is simulated once for each density. The output currents are kept, and every readout,
with every leak, is computed from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.runtime.checks import check_count, check_key
from snnjax.runtime.images import check_range, float_images
from snnjax.runtime.ranges import STEPS
from snnjax.snn import simulation
from snnjax.snn.answers import classify
from snnjax.snn.encoding import RATE, Encoding
from snnjax.snn.engine import Task
from snnjax.snn.neurons import EXACT_CHARGE, NeuronModel
from snnjax.snn.noise import Noise, salt_and_pepper
from snnjax.snn.rates import limit
from snnjax.snn.readout import COUNT, CURRENT, LEAKY, read
from snnjax.snn.simulation_arguments import check_models
from snnjax.snn.stimulus import NOISE, Stimulus, frame, image_keys, make_stimulus

__all__ = ["correct_answers_under_noise"]

Params = dict[str, Any]


def correct_answers_under_noise(
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
    """Return which answers of a network and its ANN are correct, at each noise density.

    Args:
      network: the architecture; static.
      params: what `conversion.convert` returned, with an output_scale.
      layers: by name, L leaky readout layers stacked along the first axis of each array, for
        example with L different leaks.
      images: floats `[B, H, W, C]` or `[B, D]` in [0, 1].
      labels: int `[B]`.
      noise: from `noise.make_noise`, with densities `[D]`.
      key: for the noise and the input spikes.
      num_steps: T; static.
      levels: number of levels of the ANN's quantised activations; None for smooth ones. Static.
      neuron: the neuron model of the hidden layers; static.
      encoding: of the images; static.
      first: index of the first image among all that share `key`.

    Returns:
      Arrays of bools, True where the answer is the label, by name. "ann" `[D, B]`: the ANN on
      whole images with noise drawn once; "ann_mean" `[D, B]`: the ANN on the mean of
      the frames that the SNN received; "count" `[D, B]`: the SNN with the spike-count readout;
      and for each name in `layers` `[D, L, B]`: the SNN with these leaky readouts.

    Raises:
      ValueError: as `simulation.simulate`.
    """
    images = float_images(images)
    check_range(images, 0.0, 1.0, "noise sets pixels to 0 or 1; want images in [0, 1]")
    check_models(neuron, encoding)
    return _correct_answers(
        params, layers, jnp.asarray(labels), noise, Stimulus(images, check_key(key), first),
        task=Task(network, neuron, encoding, CURRENT), levels=levels,
        num_steps=check_count("num_steps", num_steps, most=STEPS.highest),
    )  # fmt: skip


@partial(jax.jit, static_argnames=("task", "num_steps", "levels"))
def _correct_answers(
    params: Params,
    layers: Mapping[str, Params],
    labels: jax.Array,
    noise: Noise,
    stimulus: Stimulus,
    *,
    task: Task,
    num_steps: int,
    levels: int | None,
) -> dict[str, jax.Array]:
    (images, key, first, _), network = stimulus, cast(arch.Network, task.network)
    assert key is not None
    keys = image_keys(jax.random.fold_in(key, NOISE), first, len(images))

    def at_density(density: jax.Array) -> dict[str, jax.Array]:
        own_noise = replace(noise, density=density)
        currents = simulation.simulate(
            network, params, images, num_steps=num_steps, neuron=task.neuron,
            encoding=task.encoding, readout=CURRENT, key=key, first=first, noise=own_noise,
        ).values  # fmt: skip

        def add_frame(total: jax.Array, t: jax.Array) -> tuple[jax.Array, None]:
            stimulus = make_stimulus(network, images, key, first, own_noise)
            return total + frame(stimulus, params["gain"], t, task.encoding), None

        total = jax.lax.scan(add_frame, jnp.zeros_like(images), jnp.arange(num_steps))[0]
        noisy = jax.vmap(
            partial(salt_and_pepper, density=density, channel_axis=network.channel_axis)
        )(keys, images)
        ann = partial(limit, network, params, levels=levels)
        values = {
            "ann": ann(noisy),
            "ann_mean": ann(total / (num_steps * params["gain"])),
            "count": read(COUNT, params, currents)[-1],
        }
        for name, stacked in layers.items():
            values[name] = jax.vmap(
                lambda layer: read(LEAKY, {**params, "readout": layer}, currents)[-1]
            )(stacked)
        return {name: classify(value) == labels for name, value in values.items()}

    return jax.vmap(at_density)(jnp.asarray(noise.density))
