"""Normalisation of the image by fixed means and standard deviations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from snnjax.networks.layers.base import Folded, ForwardMode
from snnjax.networks.layers.fields import number_tuple, set_fields

__all__ = ["Normalise"]


@dataclass(frozen=True)
class Normalise(Folded):
    """(x - mean) / std of each channel of the image; the first layer of a network.

    Conversion folds it into the first weights.

    Raises:
      ValueError: if `mean` and `std` differ in length, or a standard deviation is not above 0.
    """

    kind: ClassVar[str] = "normalise"

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        set_fields(self, mean=number_tuple, std=number_tuple)
        if len(self.mean) != len(self.std) or not all(s > 0 for s in self.std):
            raise ValueError(
                f"mean is {self.mean} and std {self.std}; want one mean and one standard"
                " deviation above 0 for each channel"
            )

    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the layer in the ANN.

        Raises:
          ValueError: if the image has another number of channels.
        """
        del name, mode
        if x.shape[-1] != len(self.mean):
            raise ValueError(
                f"images have {x.shape[-1]} channels; want the {len(self.mean)} that the network"
                " normalises"
            )
        return (x - jnp.float32(self.mean)) / jnp.float32(self.std)

    def remark(self, weights: str) -> str:
        """Describe for a report what conversion makes of the layer."""
        del weights
        return "folded into the first weights, with the mean as padding"
