"""Hyper-parameters of training; imports neither JAX nor Flax, so that a command starts quickly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from snnjax.runtime.ranges import (
    BATCHES,
    EPOCHS,
    LEVELS,
    PIXELS,
    SEEDS,
    SHARES,
    check_ranges,
    real,
    whole,
)

__all__ = ["TrainingConfig"]


@dataclass(frozen=True)
class TrainingConfig:
    """Hyper-parameters of training. The paper states none, so every default is a choice.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    epochs: Annotated[int, EPOCHS] = 30
    """passes over the training images"""
    keep: Literal["best", "last"] = "best"
    """which epoch's parameters to keep: those with the best validation accuracy, or the last
    ones, where the learning rate reaches 0"""
    batch_size: Annotated[int, BATCHES] = 128
    """images per batch"""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or stochastic gradient descent with a Nesterov momentum of 0.9"""
    learning_rate: Annotated[float, real(0, 1000)] = 5e-3
    """peak of the one-cycle schedule"""
    weight_decay: Annotated[float, real(0, 1000)] = 1e-4
    """decay of the weights; biases, normalisations and thetas do not decay"""
    label_smoothing: Annotated[float, SHARES] = 0.05
    """share of a label's probability that is spread over all classes"""
    max_shift: Annotated[int, PIXELS] = 2
    """augmentation: translate each image by up to this many pixels along each axis"""
    flip: bool = False
    """augmentation: mirror half of the images left to right"""
    colour: Annotated[float, SHARES] = 0.0
    """augmentation: change brightness, contrast and saturation by up to this share"""
    cutout: Annotated[int, PIXELS] = 0
    """augmentation: cover a square of this many pixels a side with grey"""
    levels: Annotated[int, LEVELS] = 4
    """quantise the activations to this many levels; 0 leaves them smooth"""
    mix_levels_to: Annotated[int, LEVELS] = 0
    """draw the number of levels of each step between `levels` and this number, for a network
    that is accurate at all these T; 0 always takes `levels`"""
    smooth_epochs: Annotated[int, whole(0, 10**6)] = 0
    """leave the activations smooth in this many first epochs, and quantise them afterwards"""
    average: Annotated[float, SHARES] = 0.0
    """decay per step of a running mean of the parameters, such as 0.999; the mean is then
    validated and kept in their place; 0 for no mean"""
    bfloat16: bool = False
    """compute products in bfloat16 while training; parameters stay in float32"""
    seed: Annotated[int, SEEDS] = 0
    """of initial weights, order of images, augmentation, dropout and random spikes"""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.mix_levels_to and not 0 < self.levels < self.mix_levels_to:
            raise ValueError(
                f"mix_levels_to is {self.mix_levels_to}; want it above levels, which is"
                f" {self.levels} and must be above 0"
            )
        if not 0 <= self.smooth_epochs < self.epochs:
            raise ValueError(
                f"smooth_epochs is {self.smooth_epochs}; want it in [0, {self.epochs}), so that"
                " some epochs are quantised"
            )
        if self.smooth_epochs and not self.levels:
            raise ValueError(
                f"smooth_epochs is {self.smooth_epochs}, but levels is 0, so all epochs are smooth;"
                " set levels above 0 or smooth_epochs to 0"
            )

    @property
    def finest_levels(self) -> int:
        """Largest number of levels in training, used to validate; 0 for a smooth network."""
        return self.mix_levels_to or self.levels
