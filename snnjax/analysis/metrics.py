"""Metrics of a simulation: accuracy, conversion loss, latency and spike rate."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.snn.answers import classify
from snnjax.snn.simulation import Simulation

__all__ = ["accuracy", "conversion_loss", "correct_answers", "latency", "spike_rate"]


def correct_answers(values: jax.Array, labels: ArrayLike) -> jax.Array:
    """Return bools `[T, B]`: True where the class answered after a timestep is the label.

    The answer is `answers.classify` of the values: of a tie, the first class.

    Args:
      values: readout values `[T, B, K]`, where entry t is the readout after timestep t.
      labels: ints `[B]`.

    Raises:
      ValueError: if the shape of `labels` is not `[B]`.
    """
    if jnp.shape(labels) != values.shape[1:2]:
        raise ValueError(f"labels have shape {jnp.shape(labels)}; want {values.shape[1:2]}")
    return classify(values) == jnp.asarray(labels)


def accuracy(values: jax.Array, labels: ArrayLike) -> jax.Array:
    """Return the share of correct answers after each timestep, `[T]`, in [0, 1].

    Args:
      values: readout values `[T, B, K]`.
      labels: ints `[B]`.

    Raises:
      ValueError: if the shape of `labels` is not `[B]`, or there are no images.
    """
    if not values.shape[1]:
        raise ValueError(f"values have shape {values.shape}; want [T, B, K] with an image or more")
    return correct_answers(values, labels).mean(axis=1)


def conversion_loss(ann: float, snn: ArrayLike) -> jax.Array:
    """Return ANN accuracy minus SNN accuracy after each timestep, `[T]`; negative is a gain.

    Args:
      ann: accuracy of the ANN.
      snn: accuracy of the SNN after each timestep, `[T]`, in the unit of `ann`.

    Raises:
      TypeError: from JAX, if `snn` is not numeric.
    """
    return ann - jnp.asarray(snn)


def latency(ann: float, snn: Sequence[float], *, within: float) -> int | None:
    """Return the first timestep whose accuracy is at most `within` below the ANN's, or None.

    Args:
      ann: accuracy of the ANN.
      snn: accuracy of the SNN after timesteps 1 to T, in the unit of `ann`.
      within: allowed loss of accuracy, in the same unit.

    Raises:
      ValueError: if `within` is negative.
    """
    if within < 0:
        raise ValueError(f"within is {within}; want at least 0")
    # Accuracies are multiples of 1 / number of images; 1e-9 only absorbs rounding.
    return next((t for t, a in enumerate(snn, 1) if a >= ann - within - 1e-9), None)


def spike_rate(simulation: Simulation) -> jax.Array:
    """Return the mean number of spikes of either sign per neuron and timestep, `[T]`.

    Entry t is the mean over timesteps 1 to t, all hidden neurons and all images; NaN if the
    network has no hidden neurons.
    """
    neurons = sum(simulation.neurons.values())
    steps = jnp.arange(1, len(simulation.spikes) + 1)
    return simulation.spikes.mean(axis=1) / (neurons * steps)
