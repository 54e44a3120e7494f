"""Options of fine-tuning through the simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from snnjax.app.configurations.choices import one_of, show_ranges
from snnjax.runtime.checks import check_name
from snnjax.runtime.ranges import AMOUNTS, EPOCHS, SEEDS, STEPS, UP_TO_IMAGES, check_ranges, real
from snnjax.snn.encoding import ENCODINGS
from snnjax.snn.neurons import NEURONS
from snnjax.snn.surrogates import SURROGATES

__all__ = ["FineTuneConfig"]

DIFFERENTIABLE = tuple(name for name, of in NEURONS.items() if of.with_crossing is not None)
"""Neurons that have surrogate gradients."""


@show_ranges
@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """Everything that decides fine-tuned weights, apart from the network and its training.

    Images, augmentation and decay are those of the training.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    num_steps: Annotated[int, STEPS] = 4
    """timesteps T through which gradients go"""
    answers: Literal["last", "all"] = "last"
    """answers in the loss: the one after T timesteps, or the mean over all timesteps for a
    network that may be stopped at any time"""
    epochs: Annotated[int, EPOCHS] = 3
    """passes over the training images"""
    max_images: Annotated[int, UP_TO_IMAGES] = 0
    """learn from the first so many of the training's images; 0 for all"""
    batch_size: Annotated[int, UP_TO_IMAGES] = 0
    """images per batch; 0 for as many as in the training"""
    learning_rate: Annotated[float, real(0, 1000)] = 1e-3
    """peak of the one-cycle schedule, of AdamW"""
    spike_penalty: Annotated[float, AMOUNTS] = 0.0
    """loss for a spike on every synapse at every timestep: more of it leaves fewer synaptic
    operations"""
    neuron: Annotated[str | None, one_of(DIFFERENTIABLE)] = None
    """neuron model of the hidden layers [default: the method's, or exact-charge]"""
    encoding: Annotated[str | None, one_of(ENCODINGS)] = None
    """how images become input [default: the method's, or constant]"""
    surrogate: Annotated[str, one_of(SURROGATES)] = "straight-through"
    """derivative in place of that of a spike"""
    seed: Annotated[int, SEEDS] = 0
    """of the order of images, augmentation and random spikes"""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.neuron is not None:
            check_name("neuron with a surrogate gradient", self.neuron, DIFFERENTIABLE)
        if self.encoding is not None:
            check_name("encoding", self.encoding, ENCODINGS)
        check_name("surrogate", self.surrogate, SURROGATES)
        if self.answers not in ("last", "all"):
            raise ValueError(f"answers is {self.answers!r}; want last or all")

    @property
    def answer_weights(self) -> tuple[float, ...]:
        """Weight of each timestep's answer in the loss, `[T]`."""
        if self.answers == "all":
            return (1 / self.num_steps,) * self.num_steps
        return (*(0.0,) * (self.num_steps - 1), 1.0)
