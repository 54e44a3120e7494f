"""One form for the fields of layers, so that layers can be compared, hashed and stored.

A rule `rule(name, value) -> value` returns the form that a layer keeps. It accepts what Flax
accepts, such as one number for both axes, and refuses everything else when the layer is made.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from snnjax.runtime.checks import check_count
from snnjax.runtime.ranges import Range
from snnjax.runtime.windows import PADDINGS

__all__ = [
    "branches",
    "flag",
    "in_range",
    "layer_tuple",
    "number",
    "number_tuple",
    "pads",
    "pair",
    "set_fields",
    "whole_numbers",
]

Rule = Callable[[str, Any], Any]


def set_fields(layer: Any, **rules: Rule) -> None:
    """Replace fields of a frozen layer by the form that their rules return.

    Raises:
      ValueError: naming the field and the kind of the layer, if a rule refuses a value.
    """
    for field, rule in rules.items():
        value = rule(f"{field} of {type(layer).__name__}", getattr(layer, field))
        object.__setattr__(layer, field, value)


def pair(name: str, value: Any) -> tuple[int, int]:
    """Two whole numbers of at least 1, rows first; one number stands for both axes, None for 1.

    Raises:
      ValueError: if it is something else.
    """
    parts = [1, 1] if value is None else _parts(value)
    if parts is None:
        parts = [value, value]
    if len(parts) != 2:
        raise ValueError(f"{name} is {value!r}; want one number, or one for rows and columns each")
    rows, columns = (check_count(name, part) for part in parts)
    return rows, columns


def pads(name: str, value: Any) -> Any:
    """A padding by name, or the pixels added before and after each axis.

    One number stands for all four, a number for an axis stands for both of its sides.

    Raises:
      ValueError: if it is something else.
    """
    if isinstance(value, str):
        if value.upper() in PADDINGS:
            return value.upper()
        raise ValueError(_wanted_pads(name, value))
    axes = _parts(value)
    if axes is None:
        axes = [value, value]
    sides = [[axis, axis] if _parts(axis) is None else _parts(axis) for axis in axes]
    if len(sides) != 2 or any(len(side or ()) != 2 for side in sides):
        raise ValueError(_wanted_pads(name, value))
    return tuple(tuple(check_count(name, pixels, least=0) for pixels in side) for side in sides)  # type: ignore[union-attr]


def whole_numbers(name: str, value: Any) -> tuple[int, ...]:
    """Whole numbers of at least 0.

    Raises:
      ValueError: if it is something else.
    """
    return tuple(check_count(name, part, least=0) for part in layer_tuple(name, value))


def number(name: str, value: Any) -> float:
    """A real number, also of NumPy or JAX; bools are none.

    Raises:
      ValueError: if it is something else.
    """
    if np.shape(value) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} is {value!r}; want a number")
    return float(value)


def in_range(allowed: Range) -> Rule:
    """Rule for a number of a range.

    Raises:
      ValueError: by the rule, for a number out of the range.
    """

    def rule(name: str, value: Any) -> float:
        found = number(name, value)
        allowed.check(name, found)
        return found

    return rule


def number_tuple(name: str, value: Any) -> tuple[float, ...]:
    """Real numbers, one for each channel.

    Raises:
      ValueError: if it is something else.
    """
    parts = _parts(value)
    return tuple(number(name, part) for part in ([value] if parts is None else parts))


def flag(name: str, value: Any) -> bool:
    """True or False.

    Raises:
      ValueError: if it is something else.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ValueError(f"{name} is {value!r}; want True or False")


def branches(name: str, value: Any) -> tuple[tuple[Any, ...], ...]:
    """Layers of each branch of a sequence of branches.

    Raises:
      ValueError: if it is no sequence of sequences.
    """
    return tuple(layer_tuple(name, branch) for branch in layer_tuple(name, value))


def layer_tuple(name: str, value: Any) -> tuple[Any, ...]:
    """Layers of a sequence.

    Raises:
      ValueError: if it is no sequence.
    """
    parts = _parts(value)
    if parts is None:
        raise ValueError(f"{name} is {value!r}; want a tuple or list")
    return tuple(parts)


def _parts(value: Any) -> list[Any] | None:
    """Elements of a sequence or of an array; None for anything else."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return None
    return list(value) if getattr(value, "ndim", 1) else None  # an array of no axes is a number


def _wanted_pads(name: str, value: Any) -> str:
    return (
        f"{name} is {value!r}; want one of {', '.join(PADDINGS)}, or the pixels before and after"
        " each axis, such as ((1, 1), (0, 2))"
    )
