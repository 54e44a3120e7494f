"""Batch normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from snnjax.networks.layers.base import Folded, ForwardMode
from snnjax.networks.layers.fields import in_range, set_fields
from snnjax.runtime.ranges import real

__all__ = ["BatchNorm"]


@dataclass(frozen=True)
class BatchNorm(Folded):
    """Batch normalisation, which conversion folds into the weights directly before it.

    Raises:
      ValueError: if the momentum is outside [0, 1], or epsilon below 0 or infinite.
    """

    kind: ClassVar[str] = "norm"

    momentum: float = 0.9
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        set_fields(self, momentum=in_range(real(0, 1)), epsilon=in_range(real(0, math.inf, "[)")))

    def parameter_names(self) -> frozenset[str]:
        """Names of the layer's arrays."""
        return frozenset({"scale", "bias"})

    def parameter_shapes(self, inputs: int | None = None) -> dict[str, tuple[int | None, ...]]:
        """Shapes of the layer's arrays, for an input of so many channels."""
        return {"scale": (inputs,), "bias": (inputs,)}

    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the layer in the ANN; its statistics are in the collection "batch_stats"."""
        return nn.BatchNorm(
            not mode.train, momentum=self.momentum, epsilon=self.epsilon, dtype=mode.dtype,
            name=name,
        )(x)  # fmt: skip

    def affine(
        self, params: Mapping[str, Any], statistics: Mapping[str, Any]
    ) -> tuple[jax.Array, jax.Array]:
        """Slope and shift of each channel: g / s and beta - mean g / s.

        Here s = sqrt(variance + epsilon).

        Args:
          params: "scale" g and "bias" beta.
          statistics: "mean" and "var".
        """
        slope = params["scale"] / jnp.sqrt(statistics["var"] + self.epsilon)
        return slope, params["bias"] - statistics["mean"] * slope

    def remark(self, weights: str) -> str:
        """Describe for a report what conversion makes of the layer."""
        return f"folded into {weights}"
