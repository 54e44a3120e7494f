"""Checks of values that users pass; each error names the value and what was wanted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

__all__ = ["check_name", "check_value"]


def check_name(kind: str, name: str, known: Collection[str]) -> str:
    """Return a name if it is known.

    Args:
      kind: of name, for the message.
      name: to look for.
      known: names.

    Raises:
      ValueError: if it is unknown; the message lists the known names and suggests the nearest.
    """
    if name in known:
        return name
    near = get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {kind} {name!r}: want one of {', '.join(known)}{hint}")


def check_value(
    name: str, value: ArrayLike, good: Callable[[np.ndarray], Any], wanted: str
) -> None:
    """Check that every element of a value is good; traced values, not known yet, pass.

    Args:
      name: of the value, for the message.
      value: a number or an array.
      good: True for each element that is good.
      wanted: the good values in words, for the message.

    Raises:
      ValueError: if an element is not good.
    """
    if not isinstance(value, jax.core.Tracer) and not np.all(good(np.asarray(value))):
        raise ValueError(f"{name} is {value}; want {wanted}")
