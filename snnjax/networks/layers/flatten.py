"""Flattening of a map into a vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
from jax.typing import ArrayLike

from snnjax.networks.layers.base import FixedSynapse, Params

__all__ = ["Flatten"]


@dataclass(frozen=True)
class Flatten(FixedSynapse):
    """`[B, H, W, C]` to `[B, H * W * C]`, channels last."""

    kind: ClassVar[str] = "flatten"

    def linear(self, params: Params, x: jax.Array, elapsed: ArrayLike = 1.0) -> jax.Array:
        """Flatten `x` `[B, ...]` to `[B, N]`."""
        del params, elapsed
        return x.reshape(x.shape[0], -1)

    def incidence(self, params: Params, x: jax.Array) -> jax.Array:
        """Flatten `x`; each entry has one synapse."""
        return self.linear(params, x)
