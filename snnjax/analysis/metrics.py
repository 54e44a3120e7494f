"""Metrics of a simulation: accuracy, conversion loss, latency and spike rate."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_value
from snnjax.snn.answers import check_labels, classify
from snnjax.snn.simulation import Simulation

__all__ = ["accuracy", "conversion_loss", "correct_answers", "latency", "spike_rate"]


def correct_answers(values: jax.Array, labels: ArrayLike) -> jax.Array:
    """Return bools `[T, B]`: True where the class answered after a timestep is the label.

    The answer is `answers.classify` of the values: of a tie, the first class.

    Args:
      values: readout values `[T, B, K]`, where entry t is the readout after timestep t.
      labels: ints `[B]`.

    Raises:
      ValueError: if the shape of `labels` is not `[B]`, a label is no class, or a value is NaN;
        traced numbers, not known yet, pass.
    """
    check_labels(labels, values.shape[1:2], values.shape[-1])
    return classify(values) == jnp.asarray(labels)


def accuracy(values: jax.Array, labels: ArrayLike) -> jax.Array:
    """Return the share of correct answers after each timestep, `[T]`, in [0, 1].

    Args:
      values: readout values `[T, B, K]`.
      labels: ints `[B]`.

    Raises:
      ValueError: if there are no images, or as in `correct_answers`.
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
      ValueError: if an accuracy is no finite number.
    """
    _check_accuracies(ann, snn)
    return ann - jnp.asarray(snn)


def latency(ann: float, snn: Sequence[float], *, within: float) -> int | None:
    """Return the first timestep whose accuracy is at most `within` below the ANN's, or None.

    Args:
      ann: accuracy of the ANN.
      snn: accuracy of the SNN after timesteps 1 to T, in the unit of `ann`.
      within: allowed loss of accuracy, in the same unit.

    Raises:
      ValueError: if `within` is negative, or an accuracy is no finite number.
    """
    check_value("within", within, lambda x: x >= 0, "at least 0")
    _check_accuracies(ann, snn)
    # Accuracies are multiples of 1 / number of images; 1e-9 only absorbs rounding.
    return next((t for t, a in enumerate(snn, 1) if a >= ann - within - 1e-9), None)


def _check_accuracies(ann: ArrayLike, snn: ArrayLike | Sequence[float]) -> None:
    check_value("ann", ann, np.isfinite, "a finite accuracy")
    check_value("snn", snn, np.isfinite, "finite accuracies")  # type: ignore[arg-type]


def spike_rate(simulation: Simulation) -> jax.Array:
    """Return the mean number of spikes of either sign per neuron and timestep, `[T]`.

    Entry t is the mean over timesteps 1 to t, all hidden neurons and all images; NaN if the
    network has no hidden neurons.
    """
    neurons = sum(simulation.neurons.values())
    steps = jnp.arange(1, len(simulation.spikes) + 1)
    return simulation.spikes.mean(axis=1) / (neurons * steps)
