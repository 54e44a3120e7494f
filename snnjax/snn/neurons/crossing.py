"""Comparisons of a potential with its threshold, from which all spikes follow.

A hard comparison has the derivative 0. `surrogates` replaces the derivative and keeps the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax.typing import ArrayLike

__all__ = ["HARD", "Crossing"]

Compare = Callable[[jax.Array, ArrayLike, jax.Array], jax.Array]
"""compare(potential, multiple, threshold) -> 1 or 0: the potential against so many thresholds."""


class Crossing(NamedTuple):
    """Comparisons with values 1 for true and 0 for false, in the dtype of the potential.

    reaches: potential >= multiple * threshold; is_below: potential < multiple * threshold.
    """

    reaches: Compare
    is_below: Compare


def _reaches(potential: jax.Array, multiple: ArrayLike, threshold: jax.Array) -> jax.Array:
    return (potential >= multiple * threshold).astype(potential.dtype)


def _is_below(potential: jax.Array, multiple: ArrayLike, threshold: jax.Array) -> jax.Array:
    return (potential < multiple * threshold).astype(potential.dtype)


HARD = Crossing(_reaches, _is_below)
"""Comparisons without a gradient."""
