"""Options of the leaky readout and of how it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from snnjax.app.configurations.choices import one_of, show_ranges
from snnjax.runtime.checks import check_name
from snnjax.runtime.ranges import (
    AMOUNTS,
    IMAGES,
    LEAKS,
    SIZES,
    STEPS,
    UP_TO_IMAGES,
    check_ranges,
    whole,
)
from snnjax.training.plasticity_rules import LEARNING_RULES

__all__ = ["ReadoutConfig"]


@show_ranges
@dataclass(frozen=True, kw_only=True)
class ReadoutConfig:
    """The leaky layer behind the last one, and how it learns. The paper states none of this.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    readout_rule: Annotated[str, one_of(("nothing", *LEARNING_RULES))] = "stdp"
    """learning rule: STDP with competition (stdp), STDP as the paper prints it, without competition
    (literal), a supervised rule that sees labels (teacher), or no learning (nothing)"""
    readout_start: Literal["identity", "random"] = "identity"
    """initial weights; neurons with random ones are assigned to classes with a labelled subset"""
    readout_neurons: Annotated[int, whole(0, 10**5)] = 0
    """neurons of a random start; 0 for three per class"""
    readout_leak: Annotated[float, LEAKS] = 0.95
    """share of the membrane potential kept per timestep"""
    readout_threshold: Annotated[float, SIZES] = 1.5
    """firing threshold, in spikes of the last layer"""
    readout_images: Annotated[int, UP_TO_IMAGES] = 0
    """training images to learn from; 0 for 10,000, or all if there are fewer"""
    readout_labels: Annotated[int | None, IMAGES] = None
    """number of these images whose labels assign the neurons of a random start to classes [default:
    1,000, or all of them if there are fewer]"""
    readout_epochs: Annotated[int, whole(0, 10**6)] = 0
    """passes over the spikes; 0 for 1, or 3 from a random start"""
    readout_steps: Annotated[int, STEPS] = 32
    """timesteps T of learning"""
    a_plus: Annotated[float, AMOUNTS] = 0.02
    """STDP: weight increase for a presynaptic spike before a postsynaptic one"""
    a_minus: Annotated[float, AMOUNTS] = 0.002
    """STDP: weight decrease for a postsynaptic spike before a presynaptic one"""
    tau_plus: Annotated[float, SIZES] = 5.0
    """STDP: time constant of the increase, in timesteps"""
    tau_minus: Annotated[float, SIZES] = 5.0
    """STDP: time constant of the decrease, in timesteps"""

    def __post_init__(self) -> None:
        check_name("readout_rule", self.readout_rule, ("nothing", *LEARNING_RULES))
        check_ranges(self)
        if self.readout_neurons and self.readout_start == "identity":
            raise ValueError(
                f"readout_neurons is {self.readout_neurons}, but identity weights have one neuron"
                " per class; leave it out, or give --readout-start random"
            )
        if self.readout_start == "random" and self.readout_rule != "stdp":
            raise ValueError(
                f"readout_rule is {self.readout_rule}, which starts from identity weights; leave"
                " --readout-start out"
            )

    @property
    def epochs(self) -> int:
        """Passes over the spikes."""
        return self.readout_epochs or (3 if self.readout_start == "random" else 1)
