"""Average pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
from jax.typing import ArrayLike

from snnjax.networks.layers.base import DoesNotFit, FixedSynapse, Params
from snnjax.networks.layers.fields import pair, set_fields

__all__ = ["AvgPool"]


@dataclass(frozen=True)
class AvgPool(FixedSynapse):
    """Mean over windows that lie inside the map; in a spiking network, fixed synapses.

    strides: pixels from one window to the next; None for the size of the window.

    Both are pairs for rows and columns; one number stands for both.

    Raises:
      ValueError: if a field is not of this kind.
    """

    kind: ClassVar[str] = "pool"

    window: tuple[int, int]
    strides: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        set_fields(self, window=pair)
        if self.strides is not None:
            set_fields(self, strides=pair)

    def linear(self, params: Params, x: jax.Array, elapsed: ArrayLike = 1.0) -> jax.Array:
        """Means of `x` `[B, H, W, C]` over windows, or the sums divided by a "divisor".

        Raises:
          DoesNotFit: if `x` is no map, or smaller than a window.
        """
        del elapsed
        return self._sums(x) / params.get("divisor", self.window[0] * self.window[1])

    def incidence(self, params: Params, x: jax.Array) -> jax.Array:
        """Sums of `x` over windows."""
        del params
        return self._sums(x)

    def remark(self, weights: str) -> str:
        """Describe for a report what conversion makes of the layer."""
        del weights
        return f"fixed synapses of 1/{self.window[0] * self.window[1]}"

    def _sums(self, x: jax.Array) -> jax.Array:
        window = self.window
        if x.ndim != 4:
            raise DoesNotFit(f"it takes maps [H, W, C], and gets {list(x.shape[1:])}")
        if x.shape[1] < window[0] or x.shape[2] < window[1]:
            raise DoesNotFit(
                f"a map of {x.shape[1]}x{x.shape[2]} pixels is smaller than the pooling window"
                f" {window[0]}x{window[1]}; want larger images for this network"
            )
        strides = (1, *(self.strides or window), 1)
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, *window, 1), strides, "VALID")
