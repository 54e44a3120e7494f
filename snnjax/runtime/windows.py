"""Geometry of windows that move over the rows and columns of a map: convolutions and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax

__all__ = ["PADDINGS", "Pads", "Window"]

Pads = tuple[tuple[int, int], tuple[int, int]]
"""Pixels added before and after each axis: ((above, below), (left, right))."""

PADDINGS = ("SAME", "VALID")
"""Paddings by name, with JAX's meaning."""


@dataclass(frozen=True)
class Window:
    """Windows that move over the two axes of a map; all lengths are in pixels, rows first.

    size: taps on each axis.
    strides: from one window to the next.
    padding: "SAME" for one window every `strides` pixels of the map, the odd pixel after it;
      "VALID" for none; or the pixels before and after each axis.
    dilation: from one tap of a window to the next; 1 leaves no gaps.

    Raises:
      ValueError: if `padding` is an unknown name.
    """

    size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Literal["SAME", "VALID"] | Pads = "VALID"
    dilation: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        if isinstance(self.padding, str) and self.padding not in PADDINGS:
            raise ValueError(
                f"padding is {self.padding!r}; want one of {', '.join(PADDINGS)}, or the pixels"
                " before and after each axis, such as ((1, 1), (0, 2))"
            )

    @property
    def reach(self) -> tuple[int, int]:
        """Pixels that a window spans on each axis, the gaps of its dilation included."""
        rows, columns = ((n - 1) * d + 1 for n, d in zip(self.size, self.dilation, strict=True))
        return rows, columns

    def pads(self, shape: Sequence[int]) -> Pads:
        """Pixels added before and after each axis of a map `(H, W, ...)`."""
        if isinstance(self.padding, str):
            rows, columns = jax.lax.padtype_to_pads(
                shape[:2], self.reach, self.strides, self.padding
            )
            return rows, columns
        return self.padding

    def outputs(self, shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of windows on a map `(H, W, ...)`.

        Raises:
          ValueError: if a window is larger than the padded map.
        """
        (above, below), (left, right) = self.pads(shape)
        padded = (shape[0] + above + below, shape[1] + left + right)
        sides = zip(padded, self.reach, self.strides, strict=True)
        rows, columns = ((n - reach) // stride + 1 for n, reach, stride in sides)
        if rows < 1 or columns < 1:
            raise ValueError(
                f"a window spans {self.reach[0]}x{self.reach[1]} pixels, and the map has"
                f" {padded[0]}x{padded[1]} with its padding; want windows no larger than the map:"
                " give larger images, or more padding"
            )
        return rows, columns
