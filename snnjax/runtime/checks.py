"""Checks of what users pass: one line that names the value and what was wanted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

__all__ = ["check_name", "check_value"]


def check_name(kind: str, name: str, known: Collection[str]) -> str:
    """The name itself, if it is known.

    Raises:
      ValueError: if it is not; the message lists what is known and names the nearest.
    """
    if name in known:
        return name
    near = get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {kind} {name!r}: want one of {', '.join(known)}{hint}")


def check_value(
    name: str, value: ArrayLike, good: Callable[[np.ndarray], Any], wanted: str
) -> None:
    """Nothing, if the value is good everywhere, or traced and so not known yet.

    Raises:
      ValueError: naming the value and what was wanted.
    """
    if not isinstance(value, jax.core.Tracer) and not np.all(good(np.asarray(value))):
        raise ValueError(f"{name} is {value}; want {wanted}")
