"""Training of the leaky readout layer by a learning rule, from spikes or from images."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.runtime.checks import check_count, check_key
from snnjax.snn.readout import output_spikes
from snnjax.training.output_recording import RecordingSettings, record_output_currents
from snnjax.training.plasticity_rules import (
    LearnerState,
    LearningRule,
    PlasticityParams,
    competitive_stdp,
)

__all__ = ["learn", "learn_on_images", "random_weights"]

Params = dict[str, Any]


def random_weights(key: jax.Array, classes: int, neurons: int) -> jax.Array:
    """Draw uniform weights `[K, M]` whose sum into each neuron is 1, as in the identity.

    Raises:
      ValueError: if there are fewer neurons than classes.
    """
    if neurons < classes:
        raise ValueError(f"{neurons} neurons cannot stand for {classes} classes; want at least one")
    weights = jax.random.uniform(key, (classes, neurons), jnp.float32)
    sums = weights.sum(0)  # 0 is rare, but a draw
    return jnp.where(sums > 0, weights / jnp.where(sums > 0, sums, 1.0), 1 / classes)


def learn(
    layer: Params,
    spikes: jax.Array,
    labels: ArrayLike,
    key: jax.Array,
    plasticity: PlasticityParams,
    *,
    rule: LearningRule = competitive_stdp,
    epochs: int = 1,
    batch_size: int = 50,
) -> Params:
    """Return the layer with learnt weights; its leak, threshold and labels stay the same.

    The order of the images in epoch e is drawn with fold_in(key, e); images that do not fill a
    whole batch are left out. All arrays are traced, so `jax.vmap` runs over leaks and keys.

    Args:
      layer: from `readout.leaky_layer`.
      spikes: of the last layer, `[T, N, K]`, from `readout.output_spikes`.
      labels: int `[N]`; only `margin_perceptron` uses them.
      key: for the order of the images.
      plasticity: parameters of the rule.
      rule: one of `plasticity_rules.LEARNING_RULES`; static.
      epochs: passes over the images.
      batch_size: images whose mean weight change is applied at once.

    Raises:
      ValueError: if there are fewer images than a batch, or `epochs` is below 1.
    """
    num_images = spikes.shape[1]
    batch_size, epochs = check_count("batch_size", batch_size), check_count("epochs", epochs)
    if num_images < batch_size:
        raise ValueError(f"batch_size is {batch_size}; want at most the {num_images} images")
    if not callable(rule):
        raise ValueError(
            f"rule is {rule!r}; want a function, such as those in"
            " snnjax.training.plasticity_rules.LEARNING_RULES"
        )
    return _learn(
        layer, spikes, jnp.asarray(labels), check_key(key), plasticity,
        rule=rule, epochs=epochs, batch_size=batch_size,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("rule", "epochs", "batch_size"))
def _learn(
    layer: Params,
    spikes: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    plasticity: PlasticityParams,
    *,
    rule: LearningRule,
    epochs: int,
    batch_size: int,
) -> Params:
    num_images = spikes.shape[1]
    num_batches = num_images // batch_size

    def learn_batch(state: LearnerState, batch: jax.Array) -> tuple[LearnerState, None]:
        after = rule(state, layer, spikes[:, batch], labels[batch], plasticity)
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), after), None  # also under x64

    def draw_batches(epoch: jax.Array) -> jax.Array:
        order = jax.random.permutation(jax.random.fold_in(key, epoch), num_images)
        return order[: num_batches * batch_size].reshape(num_batches, batch_size)

    batches = jax.vmap(draw_batches)(jnp.arange(epochs)).reshape(-1, batch_size)
    start = LearnerState(layer["weights"], jnp.zeros(layer["weights"].shape[1], jnp.float32))
    return {**layer, "weights": jax.lax.scan(learn_batch, start, batches)[0].weights}


def learn_on_images(
    network: arch.Network,
    params: Params,
    layer: Params,
    images: ArrayLike,
    labels: ArrayLike,
    key: jax.Array,
    plasticity: PlasticityParams,
    *,
    recording: RecordingSettings,
    rule: LearningRule = competitive_stdp,
    epochs: int = 1,
) -> tuple[Params, jax.Array]:
    """Simulate the images once and learn from the output spikes.

    Args:
      network: the architecture; static.
      params: as returned by `conversion.convert`, with an output_scale.
      layer: from `readout.leaky_layer`.
      images: bytes (uint8) `[N, H, W, C]` or `[N, D]`, or floats in the range of the network.
      labels: int `[N]`; only `margin_perceptron` uses them.
      key: for the order of the images and for an encoding with random spikes.
      plasticity: parameters of the rule.
      recording: settings of the simulation; static.
      rule: one of `plasticity_rules.LEARNING_RULES`; static.
      epochs: passes over the spikes.

    Returns:
      The layer with learnt weights, and the currents of the last layer, `[T, N, K]`.

    Raises:
      ValueError: if `record_output_currents` or `learn` refuses its arguments.
    """
    recording_key, order_key = jax.random.split(check_key(key))
    currents = record_output_currents(network, params, images, recording_key, recording)
    spikes = output_spikes(params, currents)
    learnt = learn(layer, spikes, labels, order_key, plasticity, rule=rule, epochs=epochs)
    return learnt, currents
