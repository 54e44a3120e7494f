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
from jax.typing import ArrayLike

__all__ = ["NO_CLASS", "classify", "find_ties"]

NO_CLASS = -1
"""Label of a readout neuron that stands for no class."""


def classify(values: ArrayLike) -> jax.Array:
    """Return the class with the largest value, the first one of a tie, int `[...]`.

    Choice: of a single value, class 1 where it is above 0.

    Args:
      values: of a readout, or logits, `[..., K]`.

    Raises:
      ValueError: from JAX, if there are no classes.
    """
    values = jnp.asarray(values)
    if values.shape[-1] == 1:
        return (values[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(values, axis=-1)


def find_ties(values: ArrayLike) -> jax.Array:
    """Return bools `[...]`: True where two or more classes have the largest value.

    Of a single value, True where it is 0.

    Args:
      values: of a readout, or logits, `[..., K]`.

    Raises:
      ValueError: from JAX, if there are no classes.
    """
    values = jnp.asarray(values)
    if values.shape[-1] == 1:
        return values[..., 0] == 0
    return jnp.sum(values == values.max(-1, keepdims=True), axis=-1) > 1
