"""The residual block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax

from snnjax.networks.layers.base import Block, DoesNotFit, Layer
from snnjax.networks.layers.fields import layer_tuple, set_fields

__all__ = ["Residual"]


@dataclass(frozen=True)
class Residual(Block):
    """body(x) + shortcut(x); an empty shortcut is the identity.

    Raises:
      ValueError: if a branch is no sequence of layers.
    """

    kind: ClassVar[str] = "residual"

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        set_fields(self, body=layer_tuple, shortcut=layer_tuple)

    @property
    def branches(self) -> Mapping[str, tuple[Layer, ...]]:
        """Layers of the body and of the shortcut."""
        return {"body": self.body, "shortcut": self.shortcut}

    def with_branches(self, change: Callable[[tuple[Layer, ...]], tuple[Layer, ...]]) -> Residual:
        """The same block with `change` applied to both branches."""
        return Residual(change(self.body), change(self.shortcut))

    def join(self, outputs: Sequence[jax.Array]) -> jax.Array:
        """Sum of both branches.

        Raises:
          DoesNotFit: if their shapes differ.
        """
        body, shortcut = outputs
        if body.shape != shortcut.shape:
            shapes = f"{list(body.shape[1:])} and {list(shortcut.shape[1:])}"
            raise DoesNotFit(f"its branches end in different shapes, {shapes}")
        return body + shortcut

    def split_scale(self, scale: jax.Array) -> tuple[jax.Array, None]:
        """The scale of the sum for both branches, and no weight."""
        return scale, None
