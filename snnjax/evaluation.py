"""Scores of a spiking network on a whole split, batch by batch."""

from __future__ import annotations

import math
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm.auto import tqdm

from snnjax import architecture, datasets, metrics, simulation, spiking
from snnjax.encoding import ENCODINGS, Encoding
from snnjax.neuron import NEURONS
from snnjax.readout import READOUTS
from snnjax.settings import DEFAULT_ENCODING, DEFAULT_NEURON, SimulateConfig

__all__ = ["WITHIN", "evaluate"]

WITHIN = 0.0005
"""An SNN has reached its ANN when it is at most 0.05 points below it."""


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
) -> dict[str, Any]:
    """Accuracy of ANN and SNN on a split, spikes, loss and latency.

    "ann" is the network as trained (its quantised form where it has one), "ann_smooth"
    with the plain activation; both are read from the converted parameters. "ceiling" is
    the ANN on the time-average of the very frames that the SNN saw, where they vary: what
    the coding leaves, a yardstick and no strict bound; without `ceiling` it is left out.

    Raises:
      ValueError: if the split is empty, or the images do not fit the network.
    """
    images, labels = split
    if not len(images):
        raise ValueError("there are no images to score; want at least one")
    key = jax.random.key(seed)
    batches = tqdm(
        range(0, len(images), batch_size), "simulate", unit="batch", mininterval=1,
        disable=not progress,
    )  # fmt: skip
    scores = (
        _score(network, params, *_batch(images, labels, first, batch_size), config,
               levels=levels or None, key=key, first=first, valid=len(images) - first,
               ceiling=ceiling)
        for first in batches
    )  # fmt: skip
    total = reduce(partial(jax.tree.map, np.add), scores)
    shapes = spiking.neurons(network, params["layers"], images.shape[1:])
    neurons = {path: math.prod(shape) for path, shape in shapes.items()}
    count, steps = len(images), np.arange(1, config.num_steps + 1)
    ann, snn = total["ann"] / count, total["snn"] / count
    return {
        "ann": float(ann),
        "ann_smooth": float(total["ann_smooth"] / count),
        "snn": snn.tolist(),
        "loss": (ann - snn).tolist(),
        "latency": metrics.latency(float(ann), snn.tolist(), within=WITHIN),
        "spike_rate": (total["spikes"] / (count * sum(neurons.values()) * steps)).tolist(),
        "layer_spike_rate": {
            path: float(total["layer_spikes"][path] / (count * size * config.num_steps))
            for path, size in neurons.items()
        },
        "ceiling": (total["ceiling"] / count).tolist() if "ceiling" in total else None,
    }


def _score(
    network: architecture.Network,
    params: dict[str, Any],
    images: np.ndarray,
    labels: np.ndarray,
    config: SimulateConfig,
    *,
    levels: int | None,
    key: jax.Array,
    first: int,
    valid: int,
    ceiling: bool,
) -> dict[str, Any]:
    """Sums over the first `valid` images of a batch: right answers and spikes."""
    encoding = ENCODINGS[config.encoding or DEFAULT_ENCODING]
    neuron, pre_steps = NEURONS[config.neuron or DEFAULT_NEURON], config.pre_steps or 0
    result = simulation.simulate(
        network, params, images, num_steps=config.num_steps, neuron=neuron, encoding=encoding,
        readout=READOUTS[config.readout], key=key, first=first, pre_steps=pre_steps,
        shown_steps=config.shown_steps,
    )  # fmt: skip
    sums: dict[str, Any] = {
        "snn": metrics.correct(result.values, labels)[:, :valid].sum(1),
        "spikes": result.spikes[:, :valid].sum(1),
        "layer_spikes": {path: s[:valid].sum() for path, s in result.layer_spikes.items()},
    }
    right = {
        at: (jnp.argmax(_limit(network, params, images, at), -1) == labels)[:valid].sum()
        for at in {levels, None}
    }
    sums |= {"ann": right[levels], "ann_smooth": right[None]}
    if encoding.varies and ceiling:
        reached = _ceiling(
            network, params, images, labels, key, first, levels,
            encoding=encoding, num_steps=config.num_steps,
            before=simulation.all_pre_steps(network, neuron, pre_steps, config.num_steps),
            shown=config.shown_steps or config.num_steps,
        )  # fmt: skip
        sums["ceiling"] = reached[:, :valid].sum(1)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.int64), sums)


def _batch(
    images: np.ndarray, labels: np.ndarray, first: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images as floats; a last batch is filled up, so that all have one compiled shape."""
    places = np.minimum(np.arange(first, first + batch_size), len(images) - 1)
    return images[places].astype(np.float32) / 255, labels[places]


@partial(jax.jit, static_argnames=("network",))
def _limit(
    network: architecture.Network, params: dict[str, Any], images: jax.Array, levels: Any
) -> jax.Array:
    return spiking.limit(network, params, images, levels=levels)


@partial(jax.jit, static_argnames=("network", "encoding", "num_steps", "before", "shown"))
def _ceiling(
    network: architecture.Network,
    params: dict[str, Any],
    images: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    first: int,
    levels: Any,
    *,
    encoding: Encoding,
    num_steps: int,
    before: int,
    shown: int,
) -> jax.Array:
    """Where the ANN is right on the mean of the frames up to t, bool `[T, B]`.

    Only the frames behind the `before` pre-steps count, since only they give an answer, and
    only the first `shown` are shown.
    """

    def body(total: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        total = jnp.where(t < before, 0.0, total)
        frame = simulation.frame(key, images, params["gain"], t, encoding=encoding, first=first)
        total = total + jnp.where(t < shown, frame, 0.0)
        seen = jnp.maximum(jnp.minimum(t, shown - 1) - before, 0) + 1
        mean = total / (seen * params["gain"])
        logits = spiking.limit(network, params, mean, levels=levels)
        return total, (jnp.argmax(logits, -1) == labels) & (t >= before)

    return jax.lax.scan(body, jnp.zeros_like(images), jnp.arange(num_steps))[1]
