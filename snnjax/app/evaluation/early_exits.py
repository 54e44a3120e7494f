"""Early exit on all images of a split, with a margin that is given or calibrated."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from snnjax.app.configurations import SimulateConfig
from snnjax.app.evaluation.batches import batches
from snnjax.io import datasets
from snnjax.networks import architecture
from snnjax.runtime import sharding
from snnjax.snn import early_exit, simulation
from snnjax.snn.answers import classify

__all__ = ["HELD_OUT", "evaluate_exits"]

CURVE = 50
"""Points of the calibration curve that a record keeps."""

HELD_OUT = 2**32 - 2
"""Folded into the key of held-out images; no position of an image is as large."""


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
    """Accuracy, timesteps and spikes of a split if each image stops as soon as its margin is clear.

    "steps" is the mean number of timesteps, pre-steps included, "stopped" the number of images that
    stopped at each timestep, and "spikes" the number of hidden spikes per image. If the margin
    is calibrated, "calibration" holds the result on the held-out images, and "curve" their accuracy
    against their mean number of timesteps, at up to CURVE margins.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      split: the images to score.
      held: other images to calibrate the margin on; None if the configuration gives a margin.
      config: how to simulate, with `exit_margin` or `exit_tolerance`.
      batch_size: images at a time on each device, or on all cores of a CPU.
      seed: of random spikes.
      progress: show a progress bar.
      mesh: the devices; None for all that are visible.

    Raises:
      ValueError: if a split is empty, there is no margin, or the images do not fit the network.
    """
    key, margin, found = jax.random.key(seed), config.exit_margin, {}
    mesh = mesh or sharding.make_mesh()
    params, size = sharding.replicate(mesh, params), sharding.global_batch_size(mesh, batch_size)
    if config.exit_tolerance is not None and held is not None:
        values = _values(
            network, params, held, config, jax.random.fold_in(key, HELD_OUT), mesh,
            size=size, progress=progress,
        )  # fmt: skip
        chosen, curve = _calibrate(network, values, held.labels, config)
        margin = chosen.margin
        found = {"calibration": {"images": len(held.images), **chosen._asdict()}, "curve": curve}
    if margin is None:
        raise ValueError(
            "there is no exit margin; set exit_margin, or set exit_tolerance and pass held-out"
            " images"
        )
    right, spikes, stopped = 0, 0, np.zeros(config.num_steps, int)
    for batch in batches(split, size, mesh, name="early exit", progress=progress):
        answer = early_exit.simulate_until(
            network, params, batch.images, margin=margin, key=key, first=batch.first,
            **config.arguments,
        )  # fmt: skip
        fetched, labels = sharding.fetch((answer, batch.labels))
        valid = jax.tree.map(lambda x, n=batch.valid: x[:n], fetched)
        right += int(np.sum(classify(valid.values) == labels[: batch.valid]))
        spikes += int(valid.spikes.sum())
        stopped += np.bincount(valid.steps - 1, minlength=config.num_steps)
    count, steps = len(split.images), np.arange(1, config.num_steps + 1)
    return {
        "margin": float(margin),
        "accuracy": right / count,
        "steps": float(stopped @ steps / count),
        "stopped": stopped.tolist(),
        "spikes": spikes / count,
        **found,
    }


def _values(
    network: architecture.Network,
    params: dict[str, Any],
    split: datasets.Split,
    config: SimulateConfig,
    key: jax.Array,
    mesh: Mesh,
    *,
    size: int,
    progress: bool,
) -> np.ndarray:
    """Outputs `[T, N, K]` of a split at every timestep."""
    values = [
        sharding.fetch(
            simulation.simulate(
                network, params, batch.images, key=key, first=batch.first, **config.arguments
            ).values
        )
        for batch in batches(split, size, mesh, name="calibrate", progress=progress)
    ]
    return np.concatenate(values, 1)[:, : len(split.images)]


def _calibrate(
    network: architecture.Network, values: np.ndarray, labels: np.ndarray, config: SimulateConfig
) -> tuple[early_exit.Exit, dict[str, list[float]]]:
    """Smallest margin within the tolerance, and accuracy against timesteps over all margins."""
    how = config.arguments
    before = simulation.count_pre_steps(network, how["neuron"], how["pre_steps"], config.num_steps)
    tolerance = config.exit_tolerance or 0.0
    chosen = early_exit.choose_margin(values, labels, tolerance=tolerance, before=before)
    curve = early_exit.trade_off(values, labels, before=before)
    few = np.unique(np.linspace(0, len(curve.steps) - 1, CURVE).astype(int))
    return chosen, {name: column[few].tolist() for name, column in curve._asdict().items()}
