"""The residual block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax

from snnjax.networks.layers.base import Block, Layer

__all__ = ["Residual"]


@dataclass(frozen=True)
class Residual(Block):
    """body(x) + shortcut(x); an empty shortcut is the identity."""

    kind: ClassVar[str] = "residual"

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    @property
    def branches(self) -> Mapping[str, tuple[Layer, ...]]:
        """Layers of the body and of the shortcut."""
        return {"body": self.body, "shortcut": self.shortcut}

    def with_branches(self, change: Callable[[tuple[Layer, ...]], tuple[Layer, ...]]) -> Residual:
        """The same block with `change` applied to both branches."""
        return Residual(change(self.body), change(self.shortcut))

    def join(self, outputs: Sequence[jax.Array]) -> jax.Array:
        """Sum of both branches."""
        body, shortcut = outputs
        return body + shortcut

    def split_scale(self, scale: jax.Array) -> tuple[jax.Array, None]:
        """The scale of the sum for both branches, and no weight."""
        return scale, None
