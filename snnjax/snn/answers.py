"""Answers of a network: one rule for ties, used wherever a class is chosen.

The class with the largest value is the answer. If several classes have the largest value, the
first of them is: a network that is silent answers class 0. A network with a single output tells
two classes apart: its value is above 0 for class 1, as a logit is. Records hold the share of such
ties beside the accuracy, so that a score that rests on them is seen. A neuron of a readout layer
that never fired has no class, NO_CLASS.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_value

__all__ = ["NO_CLASS", "check_labels", "classify", "find_ties"]

NO_CLASS = -1
"""Label of a readout neuron that stands for no class."""


def classify(values: ArrayLike) -> jax.Array:
    """Return the class with the largest value, the first one of a tie, int `[...]`.

    Choice: of a single value, class 1 where it is above 0.

    Args:
      values: of a readout, or logits, `[..., K]`.

    Raises:
      ValueError: if a value is NaN, unless it is traced; from JAX, if there are no classes.
    """
    values = _checked(values)
    if values.shape[-1] == 1:
        return (values[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(values, axis=-1)


def find_ties(values: ArrayLike) -> jax.Array:
    """Return bools `[...]`: True where two or more classes have the largest value.

    Of a single value, True where it is 0.

    Args:
      values: of a readout, or logits, `[..., K]`.

    Raises:
      ValueError: if a value is NaN, unless it is traced; from JAX, if there are no classes.
    """
    values = _checked(values)
    if values.shape[-1] == 1:
        return values[..., 0] == 0
    return jnp.sum(values == values.max(-1, keepdims=True), axis=-1) > 1


def _checked(values: ArrayLike) -> jax.Array:
    """Return values as an array; a NaN has no order, so it is refused unless it is traced."""
    values = jnp.asarray(values)
    nan = jnp.isnan(values).any()
    if not isinstance(nan, jax.core.Tracer) and nan:
        first = np.argwhere(np.isnan(np.asarray(values)))[0].tolist()
        raise ValueError(f"values hold NaN, first at {first}; want numbers, which can be compared")
    return values


def check_labels(labels: ArrayLike, shape: tuple[int, ...], values_per_image: int) -> None:
    """Check the labels of images; of traced labels, the shape and the type.

    Args:
      labels: ints `[B]`.
      shape: wanted shape, `(B,)`.
      values_per_image: K; a network with a single output has the classes 0 and 1.

    Raises:
      ValueError: if they have another shape, are no whole numbers, or one is no class.
    """
    labels = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    if labels.shape != shape:
        raise ValueError(f"labels have shape {labels.shape}; want {shape}")
    classes = max(values_per_image, 2)
    if labels.dtype.kind not in "iub":
        raise ValueError(f"labels are {labels.dtype}; want whole numbers from 0 to {classes - 1}")
    wanted = f"classes from 0 to {classes - 1}"
    check_value("labels", labels, lambda x: (x >= 0) & (x < classes), wanted)
