"""Parameters of a model of another library, by the user's own names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

__all__ = ["check_names", "floats_and_others"]

Params = dict[str, np.ndarray]
Apply = Callable[[Any, Any], Any]
"""apply(params, images) -> outputs."""


def floats_and_others(values: Mapping[str, np.ndarray]) -> tuple[Params, Params]:
    """Return the floats as float32, and the other arrays, such as tables of indices.

    Choice: the others are constants of the function and no parameters, so that `jax.grad` takes
    the parameters as they are.

    Raises:
      ValueError: if an array is complex.
    """
    floats, others = {}, {}
    for name, value in values.items():
        if np.iscomplexobj(value):
            raise ValueError(f"parameter {name} is complex; want real parameters")
        if jnp.issubdtype(value.dtype, jnp.floating):  # bfloat16 too, unlike NumPy's
            floats[name] = value.astype(np.float32)
        else:
            others[name] = value
    return floats, others


def check_names(params: Mapping[str, Any], wanted: Iterable[str], model: str) -> None:
    """Check that parameters have the names that a model of that name has.

    Raises:
      ValueError: naming one that is missing or unknown.
    """
    names = set(wanted)
    wrong = sorted(names ^ set(params))
    if wrong:
        kind = "lack" if wrong[0] in names else "have the unknown name"
        raise ValueError(f"params of {model} {kind} {wrong[0]}; want the names that it came with")
