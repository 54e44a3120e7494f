"""Numbers about a simulation, from arrays to arrays."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.snn.simulation import Simulation

__all__ = ["accuracy", "conversion_loss", "correct", "latency", "spike_rate"]


def correct(values: jax.Array, labels: ArrayLike) -> jax.Array:
    """Where the answer after each timestep is right, bool `[T, B]`.

    Args:
      values: readout values `[T, B, K]`.
      labels: `[B]`.

    Raises:
      ValueError: if there is not one label for each image.
    """
    if jnp.shape(labels) != values.shape[1:2]:
        raise ValueError(f"labels have shape {jnp.shape(labels)}; want {values.shape[1:2]}")
    return jnp.argmax(values, axis=-1) == jnp.asarray(labels)


def accuracy(values: jax.Array, labels: ArrayLike) -> jax.Array:
    """Share of right answers after each timestep, `[T]`, in [0, 1].

    Raises:
      ValueError: if there is not one label for each image.
    """
    return correct(values, labels).mean(axis=1)


def conversion_loss(ann: float, snn: ArrayLike) -> jax.Array:
    """What conversion cost after each timestep, in the unit of the accuracies; below 0 a gain."""
    return ann - jnp.asarray(snn)


def latency(ann: float, snn: Sequence[float], *, within: float) -> int | None:
    """The first timestep, from 1, whose accuracy is at most `within` below the ANN's.

    Raises:
      ValueError: if `within` is negative.
    """
    if within < 0:
        raise ValueError(f"within is {within}; want at least 0")
    # Accuracies are counts over one number of images; the slack only absorbs rounding.
    return next((t for t, a in enumerate(snn, 1) if a >= ann - within - 1e-9), None)


def spike_rate(simulation: Simulation) -> jax.Array:
    """Spikes of either sign per hidden neuron per step up to each timestep, `[T]`."""
    neurons = sum(simulation.neurons.values())
    steps = jnp.arange(1, len(simulation.spikes) + 1)
    return simulation.spikes.mean(axis=1) / (neurons * steps)
