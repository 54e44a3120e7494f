"""Options of the leaky readout and of how it learns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from snnjax.app.configurations.choices import one_of
from snnjax.runtime.checks import check_name
from snnjax.training.plasticity_rules import LEARNING_RULES

__all__ = ["ReadoutConfig"]


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
    readout_neurons: int = 0
    """neurons of a random start; 0 for three per class"""
    readout_leak: float = 0.95
    """share of the membrane potential kept per timestep, in (0, 1]"""
    readout_threshold: float = 1.5
    """firing threshold, in spikes of the last layer"""
    readout_images: int = 0
    """training images to learn from; 0 for 10,000, or all if there are fewer"""
    readout_labels: int = 1000
    """number of these images whose labels assign neurons to classes"""
    readout_epochs: int = 0
    """passes over the spikes; 0 for 1, or 3 from a random start"""
    readout_steps: int = 32
    """timesteps T of learning"""
    a_plus: float = 0.02
    """STDP: weight increase for a presynaptic spike before a postsynaptic one"""
    a_minus: float = 0.002
    """STDP: weight decrease for a postsynaptic spike before a presynaptic one"""
    tau_plus: float = 5.0
    """STDP: time constant of the increase, in timesteps"""
    tau_minus: float = 5.0
    """STDP: time constant of the decrease, in timesteps"""

    def __post_init__(self) -> None:
        check_name("readout_rule", self.readout_rule, ("nothing", *LEARNING_RULES))
        self._check_layer()
        for name in ("readout_threshold", "tau_plus", "tau_minus"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; want it finite and above 0")
        for name in ("a_plus", "a_minus"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; want it finite and at least 0")

    def _check_layer(self) -> None:
        least = {"readout_labels": 1, "readout_steps": 1, "readout_images": 0}
        for name, low in {**least, "readout_neurons": 0, "readout_epochs": 0}.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}; want at least {low}")
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
        if not 0 < self.readout_leak <= 1:
            raise ValueError(f"readout_leak is {self.readout_leak}; want it in (0, 1]")

    @property
    def epochs(self) -> int:
        """Passes over the spikes."""
        return self.readout_epochs or (3 if self.readout_start == "random" else 1)
