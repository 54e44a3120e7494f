"""Ranges of the numbers that users choose: stated beside each option, and checked in one place.

An option states its range in its annotation, `epochs: Annotated[int, EPOCHS] = 30`. The help of the
command line shows it, and `check_ranges` checks all options of a configuration. Imports no JAX, so
that a command starts quickly.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

__all__ = ["Range", "check_ranges", "ranges_of", "real", "whole"]


@dataclass(frozen=True)
class Range:
    """Interval of numbers.

    lowest, highest: its finite ends; whole: True for integers alone; ends: "[" or "(" with "]" or
    ")", where a round bracket leaves the end itself out.
    """

    lowest: float
    highest: float
    whole: bool
    ends: str = "[]"

    def __contains__(self, value: Any) -> bool:
        kind = numbers.Integral if self.whole else numbers.Real
        number: Any = value  # the abstract kinds of number have no order
        if not isinstance(number, kind) or isinstance(number, bool):
            return False
        if not self.lowest <= value <= self.highest:  # False for NaN
            return False
        return not (
            (value == self.lowest and self.ends[0] == "(")
            or (value == self.highest and self.ends[1] == ")")
        )

    def __str__(self) -> str:
        """Return "1..1000" for whole numbers and "[0, 1)" for others."""
        if self.whole:
            return f"{self.lowest}..{self.highest}"
        return f"{self.ends[0]}{self.lowest:g}, {self.highest:g}{self.ends[1]}"

    def check(self, name: str, value: Any) -> None:
        """Check one number.

        Args:
          name: of the option, for the message.
          value: the number.

        Raises:
          ValueError: if it is out of range, NaN, or not whole where it has to be.
        """
        if value in self:
            return
        if not self.whole:
            wanted = f"it in {self}"
        elif isinstance(value, float) and math.isfinite(value) and not value.is_integer():
            wanted = "a whole number"
        else:
            wanted = f"at least {self.lowest} and at most {self.highest:,}"
        raise ValueError(f"{name} is {value}; want {wanted}")


def whole(lowest: int, highest: int) -> Range:
    """Range of the whole numbers from `lowest` to `highest`."""
    return Range(lowest, highest, whole=True)


def real(lowest: float, highest: float, ends: str = "[]") -> Range:
    """Range of the numbers from `lowest` to `highest`; `ends` as in `Range`."""
    return Range(lowest, highest, whole=False, ends=ends)


def ranges_of(config: type) -> dict[str, Range]:
    """Ranges of the fields of a dataclass, by name; fields that are no numbers have none."""
    hints = get_type_hints(config, include_extras=True)
    found = {f.name: getattr(hints[f.name], "__metadata__", ()) for f in fields(config)}
    return {n: r for n, extras in found.items() for r in extras if isinstance(r, Range)}


def check_ranges(config: Any) -> None:
    """Check every number of a configuration against the range in its annotation; None passes.

    Raises:
      ValueError: naming the first field that is out of its range.
    """
    for name, allowed in ranges_of(type(config)).items():
        value = getattr(config, name)
        if value is not None:
            allowed.check(name, value)


SEEDS = whole(0, 2**32 - 1)
"""JAX takes 32 bits of a seed, so that a larger one would repeat the numbers of a smaller one."""

EPOCHS = whole(1, 10**6)

IMAGES = whole(1, 10**9)

UP_TO_IMAGES = whole(0, 10**9)
"""Numbers of images where 0 stands for all."""

BATCHES = whole(1, 10**6)
"""Images at once; a million of 28 x 28 pixels are 3 GB in float32."""

STEPS = whole(1, 10**5)
"""Timesteps of a simulation, whose outputs of all timesteps are in memory at once."""

UP_TO_STEPS = whole(0, 10**5)

LEVELS = whole(0, 2**16)

WEIGHT_BITS = whole(2, 16)
"""Bits of whole weights, sign included: one bit has no two sides, and float32 sums few of more."""

UP_TO_WEIGHT_BITS = whole(0, 16)
"""The same, where 0 stands for weights that are not rounded."""

PIXELS = whole(0, 1000)

SHARES = real(0, 1, "[)")

LEAKS = real(1e-6, 1)

SIZES = real(1e-6, 1e6)
"""Numbers by which others are multiplied and divided: both stay far from the ends of float32."""

AMOUNTS = real(0, 1e6)
