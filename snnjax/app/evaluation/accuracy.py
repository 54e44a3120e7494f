"""Accuracy of ANN and SNN at every timestep, on all images of a split."""

from __future__ import annotations

import math
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from snnjax.analysis import metrics
from snnjax.app.configurations import SimulateConfig
from snnjax.app.evaluation.batches import Batch, batches
from snnjax.io import datasets
from snnjax.networks import architecture
from snnjax.runtime import sharding
from snnjax.snn import simulation
from snnjax.snn.answers import classify, find_ties
from snnjax.snn.encoding import Encoding
from snnjax.snn.engine import neuron_shapes
from snnjax.snn.rates import limit
from snnjax.snn.stimulus import Stimulus, frame

__all__ = ["WITHIN", "evaluate"]

WITHIN = 0.0005
"""An SNN has reached its ANN when its accuracy is at most 0.05 points lower."""


def evaluate(
    network: architecture.Network,
    params: dict[str, Any],
    split: datasets.Split,
    config: SimulateConfig,
    *,
    levels: int = 0,
    batch_size: int = 128,
    seed: int = 0,
    ceiling: bool = True,
    progress: bool = True,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """Accuracy of ANN and SNN on a split, with ties, spikes, loss and latency.

    "tied" is the share of images whose answer after a timestep is the first of several classes with
    the largest value; in pre-steps that is every image.

    "ann" is the network as it was trained (quantised if it was trained so), "ann_smooth" the same
    with smooth activations; both are read from the converted parameters. "ceiling" is the
    accuracy of the ANN on the time average of the frames that the SNN received, if frames vary: it
    shows what the encoding loses, and is no strict bound.

    The random numbers of an image depend on its position in the split alone, so that results do not
    depend on the devices, up to rounding.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      split: the images to score.
      config: how to simulate.
      levels: levels by which the ANN's activations are quantised; 0 for smooth ones.
      batch_size: images at a time on each device, or on all cores of a CPU.
      seed: of random spikes.
      ceiling: False leaves "ceiling" out.
      progress: show a progress bar.
      mesh: the devices; None for all that are visible.

    Raises:
      ValueError: if the split is empty, or the images do not fit the network.
    """
    mesh = mesh or sharding.make_mesh()
    params, size = sharding.replicate(mesh, params), sharding.global_batch_size(mesh, batch_size)
    sums = (
        _sums(
            network, params, batch, config,
            levels=levels or None, key=jax.random.key(seed), ceiling=ceiling,
        )
        for batch in batches(split, size, mesh, name="simulate", progress=progress)
    )  # fmt: skip
    total = reduce(partial(jax.tree.map, np.add), sums)
    shapes = neuron_shapes(network, params["layers"], split.images.shape[1:])
    neurons = {path: math.prod(shape) for path, shape in shapes.items()}
    hidden = sum(neurons.values()) or 1  # without neurons, a rate of 0
    count, steps = len(split.images), np.arange(1, config.num_steps + 1)
    ann, snn = total["ann"] / count, total["snn"] / count
    return {
        "ann": float(ann),
        "ann_smooth": float(total["ann_smooth"] / count),
        "snn": snn.tolist(),
        "tied": (total["tied"] / count).tolist(),
        "loss": (ann - snn).tolist(),
        "latency": metrics.latency(float(ann), snn.tolist(), within=WITHIN),
        "spike_rate": (total["spikes"] / (count * hidden * steps)).tolist(),
        "layer_spike_rate": {
            path: float(total["layer_spikes"][path] / (count * size * config.num_steps))
            for path, size in neurons.items()
        },
        "ceiling": (total["ceiling"] / count).tolist() if "ceiling" in total else None,
    }


def _sums(
    network: architecture.Network,
    params: dict[str, Any],
    batch: Batch,
    config: SimulateConfig,
    *,
    levels: int | None,
    key: jax.Array,
    ceiling: bool,
) -> dict[str, Any]:
    """Numbers of correct answers and of spikes, summed over the valid images of a batch."""
    how = config.arguments
    result = simulation.simulate(network, params, batch.images, key=key, first=batch.first, **how)
    each: dict[str, Any] = {
        "snn": metrics.correct_answers(result.values, batch.labels),
        "tied": find_ties(result.values),
        "spikes": result.spikes,
        "layer_spikes": result.layer_spikes,
    }
    right = {
        at: classify(_ann_logits(network, params, batch.images, at)) == batch.labels
        for at in {levels, None}
    }
    each |= {"ann": right[levels], "ann_smooth": right[None]}
    if how["encoding"].varies and ceiling:
        answered = simulation.count_pre_steps(
            network, how["neuron"], how["pre_steps"], config.num_steps
        )
        frames = _Frames(
            how["encoding"], config.num_steps, answered, config.shown_steps or config.num_steps
        )
        each["ceiling"] = _right_on_mean_frame(
            network, params, batch.images, batch.labels, key, batch.first, levels, frames=frames
        )
    valid = batch.valid
    return jax.tree.map(lambda x: x[..., :valid].sum(-1, dtype=np.int64), sharding.fetch(each))


@partial(jax.jit, static_argnames=("network",))
def _ann_logits(
    network: architecture.Network, params: dict[str, Any], images: jax.Array, levels: Any
) -> jax.Array:
    return limit(network, params, images, levels=levels)


class _Frames(NamedTuple):
    """Input of a simulation over time.

    encoding: of the images; num_steps: T; before: pre-steps, whose frames give no answer; shown:
    timesteps for which the input is presented.
    """

    encoding: Encoding
    num_steps: int
    before: int
    shown: int


@partial(jax.jit, static_argnames=("network", "frames"))
def _right_on_mean_frame(
    network: architecture.Network,
    params: dict[str, Any],
    images: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    first: int,
    levels: Any,
    *,
    frames: _Frames,
) -> jax.Array:
    """True where the ANN classifies the mean of the frames until t correctly, bool `[T, B]`.

    The mean is over the frames after the pre-steps, as long as input is presented.
    """
    before, shown = frames.before, frames.shown

    def body(total: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        total = jnp.where(t < before, 0.0, total)
        x = frame(Stimulus(images, key, first), params["gain"], t, frames.encoding)
        total = total + jnp.where(t < shown, x, 0.0)
        seen = jnp.maximum(jnp.minimum(t, shown - 1) - before, 0) + 1
        mean = total / (seen * params["gain"])
        logits = limit(network, params, mean, levels=levels)
        return total, (classify(logits) == labels) & (t >= before)

    return jax.lax.scan(body, jnp.zeros_like(images), jnp.arange(frames.num_steps))[1]
