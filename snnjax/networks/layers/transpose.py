"""Another order of the axes of every image, for networks that take channels first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
from jax.typing import ArrayLike

from snnjax.networks.layers.base import DoesNotFit, FixedSynapse, Params
from snnjax.networks.layers.fields import set_fields, whole_numbers

__all__ = ["Transpose"]


@dataclass(frozen=True)
class Transpose(FixedSynapse):
    """Axes of each image in another order: (1, 2, 0) makes `[B, H, W, C]` of `[B, C, H, W]`.

    axes: for each axis of the output, the axis of the input; 0 is the first behind the batch.

    Raises:
      ValueError: if `axes` is no order of 0, 1 and 2.
    """

    kind: ClassVar[str] = "transpose"

    axes: tuple[int, int, int]

    def __post_init__(self) -> None:
        set_fields(self, axes=whole_numbers)
        if sorted(self.axes) != [0, 1, 2]:
            raise ValueError(f"axes is {self.axes}; want 0, 1 and 2 in some order")

    def linear(self, params: Params, x: jax.Array, elapsed: ArrayLike = 1.0) -> jax.Array:
        """Transpose `x`, a batch of images.

        Raises:
          DoesNotFit: if the images do not have three axes.
        """
        del params, elapsed
        if x.ndim != 4:
            raise DoesNotFit(f"it takes images of three axes, and gets {list(x.shape[1:])}")
        return x.transpose(0, *(axis + 1 for axis in self.axes))

    def incidence(self, params: Params, x: jax.Array) -> jax.Array:
        """Transpose `x`; each entry has one synapse."""
        return self.linear(params, x)

    def remark(self, weights: str) -> str:
        """Describe for a report what conversion makes of the layer."""
        del weights
        return "order of axes only"
