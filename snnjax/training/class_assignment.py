"""Assignment of classes to neurons that have learnt without labels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.snn.answers import NO_CLASS, check_labels, classify
from snnjax.snn.readout import leaky_layer, responses

__all__ = ["assign_classes", "with_assigned_classes"]

Params = dict[str, Any]


def with_assigned_classes(
    params: Params, layer: Params, currents: jax.Array, labels: ArrayLike
) -> Params:
    """Return the leaky layer with the classes that `assign_classes` gives to its neurons.

    Args:
      params: as returned by `conversion.convert`, with an output_scale.
      layer: a leaky layer that has learnt.
      currents: of the labelled images, `[T, N, K]`.
      labels: int `[N]`.

    Raises:
      ValueError: if there are no images, none of some class, or no neuron for some class.
    """
    classes = assign_classes(
        {**params, "readout": layer}, currents, labels, num_classes=currents.shape[-1]
    )
    return leaky_layer(
        layer["weights"], leak=layer["leak"], threshold=layer["threshold"], labels=classes
    )


def assign_classes(
    params: Params, currents: jax.Array, labels: ArrayLike, *, num_classes: int
) -> jax.Array:
    """Return for each neuron of the leaky layer the class with its largest mean response, `[M]`.

    Source: Diehl and Cook 2015: the largest mean response over a labelled subset.
    Choice: a neuron that never fired stands for no class, -1. A neuron that responds equally to
    several classes stands for the first of them, as in `answers.classify`.

    Args:
      params: converted parameters with a leaky layer under "readout"; its labels are not used.
      currents: of the labelled images, `[T, N, K]`.
      labels: int `[N]`.
      num_classes: K.

    Raises:
      ValueError: if there are no images, or none of some class, there is not one label for each
        image, or a label is no class.
    """
    check_labels(labels, currents.shape[1:2], num_classes)
    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    if not len(np.asarray(labels)) or (counts == 0).any():
        missing = ", ".join(map(str, np.flatnonzero(counts == 0)))
        raise ValueError(
            f"the labelled subset has {len(np.asarray(labels))} images and none of class {missing};"
            " want some of each"
        )
    of_class = jax.nn.one_hot(labels, num_classes)
    weights = (of_class / of_class.sum(0)).T
    mean_response = jnp.dot(weights, responses(params, currents), precision="highest")
    return jnp.where(mean_response.max(0) > 0, classify(mean_response.T), NO_CLASS)
