"""The block that concatenates its branches along the channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from snnjax.networks.layers.base import Block, DoesNotFit, Layer
from snnjax.networks.layers.fields import branches, set_fields

__all__ = ["Concat"]


@dataclass(frozen=True)
class Concat(Block):
    """Outputs of branches, concatenated along the channels; an empty branch is the identity.

    Raises:
      ValueError: if there are fewer than two branches, or one is no sequence of layers.
    """

    kind: ClassVar[str] = "concat"

    parts: tuple[tuple[Layer, ...], ...]

    def __post_init__(self) -> None:
        set_fields(self, parts=branches)
        if len(self.parts) < 2:
            raise ValueError(f"parts has {len(self.parts)} branches; want at least 2")

    @property
    def branches(self) -> Mapping[str, tuple[Layer, ...]]:
        """Layers of each branch, named "00", "01" and so on."""
        return {f"{place:02d}": part for place, part in enumerate(self.parts)}

    def with_branches(self, change: Callable[[tuple[Layer, ...]], tuple[Layer, ...]]) -> Concat:
        """The same block with `change` applied to every branch."""
        return Concat(tuple(map(change, self.parts)))

    def join(self, outputs: Sequence[jax.Array]) -> jax.Array:
        """Concatenate the outputs along the channels.

        Raises:
          DoesNotFit: if their shapes differ in more than the channels.
        """
        if len({output.shape[:-1] for output in outputs}) > 1:
            shapes = ", ".join(str(list(output.shape[1:])) for output in outputs)
            raise DoesNotFit(f"its branches end in maps of different sizes, {shapes}")
        return jnp.concatenate(outputs, -1)

    def split_scale(self, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Scale 1 for every branch, and the weight 1 / scale after `join`: a vector `scale` covers
        all channels, and each branch has only some of them.
        """
        return jnp.float32(1.0), 1 / scale
