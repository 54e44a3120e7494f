"""Accuracy and synaptic operations of a spiking network at every timestep."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from snnjax.analysis import metrics
from snnjax.analysis.synapses import count_synapses, find_synapses
from snnjax.app.evaluation.batches import batches
from snnjax.io import datasets
from snnjax.networks import architecture
from snnjax.runtime import sharding
from snnjax.snn import simulation
from snnjax.snn.engine import Observer
from snnjax.snn.spike_counts import weigh_spikes

__all__ = ["evaluate_operations"]


def evaluate_operations(
    network: architecture.Network,
    params: dict[str, Any],
    split: datasets.Split,
    *,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
    mesh: Mesh | None = None,
    **how: Any,
) -> dict[str, Any]:
    """Return "accuracy", "spikes" and "synaptic_operations" of all timesteps so far, each `[T]`.

    Spikes and operations are those of the mean image; those of the input are not among them.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      split: the images to score.
      batch_size: images at a time on each device, or on all cores of a CPU.
      seed: of random input spikes.
      progress: show a progress bar.
      mesh: the devices; None for all that are visible.
      how: arguments of `simulate`.

    Raises:
      ValueError: as `simulate`.
    """
    mesh = mesh or sharding.make_mesh()
    counts = count_synapses(find_synapses(network, params, split.images.shape[1:]))
    fan_outs = {path: jnp.asarray(of, jnp.int32) for path, of in counts.items()}
    params, size = sharding.replicate(mesh, params), sharding.global_batch_size(mesh, batch_size)
    rows = []
    for batch in batches(split, size, mesh, name="simulate", progress=progress):
        found = simulation.simulate(
            network, params, batch.images, key=jax.random.key(seed), first=batch.first,
            record=Observer(_operations, fan_outs), **how,
        )  # fmt: skip
        right = metrics.correct_answers(found.values, batch.labels)
        each = sharding.fetch({"right": right, "spikes": found.spikes, "used": found.recording})
        rows.append({name: of[:, : batch.valid].sum(1, np.int64) for name, of in each.items()})
    total = {name: sum(row[name] for row in rows) / len(split.images) for name in rows[0]}
    return {
        "accuracy": total["right"].tolist(),
        "spikes": total["spikes"].tolist(),
        "synaptic_operations": np.cumsum(total["used"]).tolist(),
    }


def _operations(
    fan_outs: dict[str, jax.Array], frame: jax.Array, spikes: dict[str, jax.Array]
) -> jax.Array:
    """Synaptic operations of a timestep, `[B]`; an observer."""
    return weigh_spikes(spikes, fan_outs, len(frame))
