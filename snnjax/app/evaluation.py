"""Scores of a spiking network on a whole split, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from snnjax.analysis import metrics
from snnjax.app.configurations import SimulateConfig
from snnjax.io import datasets
from snnjax.networks import architecture
from snnjax.runtime import sharding
from snnjax.snn import early_exit, simulation
from snnjax.snn.encoding import Encoding
from snnjax.snn.engine import neuron_shapes
from snnjax.snn.rates import limit
from snnjax.snn.stimulus import Stimulus, frame

__all__ = ["WITHIN", "evaluate", "evaluate_exits"]

WITHIN = 0.0005
"""An SNN has reached its ANN when it is at most 0.05 points below it."""

CURVE = 50
"""Points of a curve that a record keeps."""

HELD = 2**32 - 2
"""Folded into the key of held-out images; no other image has this place."""


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
    """Accuracy of ANN and SNN on a split, spikes, loss and latency.

    "ann" is the network as trained (its quantised form where it has one), "ann_smooth"
    with the plain activation; both are read from the converted parameters. "ceiling" is
    the ANN on the time-average of the very frames that the SNN saw, where they vary: what
    the coding leaves, a yardstick and no strict bound; without `ceiling` it is left out.

    Each device of `mesh`, or each that is visible, gets `batch_size` images at a time; the cores
    of a CPU share them. The draws of an image depend on its place alone, so the figures do not
    depend on the devices, up to rounding.

    Raises:
      ValueError: if the split is empty, or the images do not fit the network.
    """
    images, labels = split
    key, mesh = jax.random.key(seed), mesh or sharding.make_mesh()
    params, size = sharding.replicate(mesh, params), sharding.global_batch_size(mesh, batch_size)
    scores = (
        _score(network, params, *_batch(mesh, images, labels, first, size), config,
               levels=levels or None, key=key, first=first, valid=len(images) - first,
               ceiling=ceiling)
        for first in _batches("simulate", images, size, progress)
    )  # fmt: skip
    total = reduce(partial(jax.tree.map, np.add), scores)
    shapes = neuron_shapes(network, params["layers"], images.shape[1:])
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


def evaluate_exits(
    network: architecture.Network,
    params: dict[str, Any],
    split: datasets.Split,
    held: datasets.Split | None,
    config: SimulateConfig,
    *,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """Accuracy, timesteps and spikes of a split where each image stops when it is clear.

    "steps" is the mean over the images, pre-steps included, and "stopped" how many images stopped
    at each timestep; "spikes" are hidden ones per image. Where the margin is calibrated,
    "calibration" says what it did on the held-out images, and "curve" their accuracy
    against mean timesteps at up to CURVE thresholds.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      split: the images to score.
      held: other images, to calibrate on; None where the configuration gives a margin.
      config: how to simulate, with `exit_margin` or `exit_tolerance`.
      batch_size: images at a time on each device, or on all cores of a CPU.
      seed: of drawn spikes.
      progress: show a bar.
      mesh: the devices; None for all that are visible.

    Raises:
      ValueError: if a split is empty, nothing says when to stop, or the images do not fit.
    """
    key, margin, found = jax.random.key(seed), config.exit_margin, {}
    mesh = mesh or sharding.make_mesh()
    params, size = sharding.replicate(mesh, params), sharding.global_batch_size(mesh, batch_size)
    if config.exit_tolerance is not None and held is not None:
        chosen, curve = _calibrated(
            network, params, held, config, jax.random.fold_in(key, HELD), mesh,
            size=size, progress=progress,
        )  # fmt: skip
        margin = chosen.margin
        found = {"calibration": {"images": len(held.images), **chosen._asdict()}, "curve": curve}
    if margin is None:
        raise ValueError(
            "nothing says when to stop; set exit_margin, or exit_tolerance and pass held images"
        )
    images, labels = split
    right, spikes, stopped = 0, 0, np.zeros(config.num_steps, int)
    for first in _batches("early exit", images, size, progress):
        shown, _ = _batch(mesh, images, labels, first, size)
        answer = early_exit.simulate_until(
            network, params, shown, margin=margin, key=key, first=first, **config.arguments
        )
        kept = jax.tree.map(lambda x, n=len(images) - first: x[:n], sharding.fetch(answer))
        right += int(np.sum(kept.values.argmax(-1) == labels[first : first + size]))
        spikes += int(kept.spikes.sum())
        stopped += np.bincount(kept.steps - 1, minlength=config.num_steps)
    steps = np.arange(1, config.num_steps + 1)
    return {
        "margin": float(margin),
        "accuracy": right / len(images),
        "steps": float(stopped @ steps / len(images)),
        "stopped": stopped.tolist(),
        "spikes": spikes / len(images),
        **found,
    }


def _calibrated(
    network: architecture.Network,
    params: dict[str, Any],
    held: datasets.Split,
    config: SimulateConfig,
    key: jax.Array,
    mesh: Mesh,
    *,
    size: int,
    progress: bool,
) -> tuple[early_exit.Exit, dict[str, list[float]]]:
    """The threshold by the values of held-out images, and their curve."""
    images, labels = held
    how = config.arguments
    values = [
        sharding.fetch(simulation.simulate(
            network, params, _batch(mesh, images, labels, first, size)[0], key=key, first=first,
            **how,
        ).values)
        for first in _batches("calibrate", images, size, progress)
    ]  # fmt: skip
    everything = np.concatenate(values, 1)[:, : len(images)]
    before = simulation.count_pre_steps(network, how["neuron"], how["pre_steps"], config.num_steps)
    tolerance = config.exit_tolerance or 0.0
    chosen = early_exit.choose_margin(everything, labels, tolerance=tolerance, before=before)
    curve = early_exit.trade_off(everything, labels, before=before)
    few = np.unique(np.linspace(0, len(curve.steps) - 1, CURVE).astype(int))
    return chosen, {name: column[few].tolist() for name, column in curve._asdict().items()}


def _batches(name: str, images: np.ndarray, batch_size: int, progress: bool) -> Iterable[int]:
    """The place of the first image of every batch, behind a bar.

    Raises:
      ValueError: if there are no images.
    """
    if not len(images):
        raise ValueError("there are no images to score; want at least one")
    return tqdm(
        range(0, len(images), batch_size), name, unit="batch", mininterval=1, disable=not progress
    )


def _score(
    network: architecture.Network,
    params: dict[str, Any],
    images: jax.Array,
    labels: jax.Array,
    config: SimulateConfig,
    *,
    levels: int | None,
    key: jax.Array,
    first: int,
    valid: int,
    ceiling: bool,
) -> dict[str, Any]:
    """Sums over the first `valid` images of a batch: right answers and spikes."""
    how = config.arguments
    result = simulation.simulate(network, params, images, key=key, first=first, **how)
    each: dict[str, Any] = {
        "snn": metrics.correct_answers(result.values, labels),
        "spikes": result.spikes,
        "layer_spikes": result.layer_spikes,
    }
    right = {
        at: jnp.argmax(_limit(network, params, images, at), -1) == labels for at in {levels, None}
    }
    each |= {"ann": right[levels], "ann_smooth": right[None]}
    if how["encoding"].varies and ceiling:
        before = simulation.count_pre_steps(
            network, how["neuron"], how["pre_steps"], config.num_steps
        )
        each["ceiling"] = _ceiling(
            network, params, images, labels, key, first, levels,
            encoding=how["encoding"], num_steps=config.num_steps, before=before,
            shown=config.shown_steps or config.num_steps,
        )  # fmt: skip
    return jax.tree.map(lambda x: x[..., :valid].sum(-1, dtype=np.int64), sharding.fetch(each))


def _batch(
    mesh: Mesh, images: np.ndarray, labels: np.ndarray, first: int, size: int
) -> tuple[jax.Array, jax.Array]:
    """Images as floats; a last batch is filled up, so that all have one compiled shape."""
    places = np.minimum(np.arange(first, first + size), len(images) - 1)
    shown = images[places].astype(np.float32) / 255
    return sharding.shard(mesh, shown), sharding.shard(mesh, labels[places])


@partial(jax.jit, static_argnames=("network",))
def _limit(
    network: architecture.Network, params: dict[str, Any], images: jax.Array, levels: Any
) -> jax.Array:
    return limit(network, params, images, levels=levels)


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
        x = frame(Stimulus(images, key, first), params["gain"], t, encoding)
        total = total + jnp.where(t < shown, x, 0.0)
        seen = jnp.maximum(jnp.minimum(t, shown - 1) - before, 0) + 1
        mean = total / (seen * params["gain"])
        logits = limit(network, params, mean, levels=levels)
        return total, (jnp.argmax(logits, -1) == labels) & (t >= before)

    return jax.lax.scan(body, jnp.zeros_like(images), jnp.arange(num_steps))[1]
