"""Options of the simulation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from snnjax.app.configurations.choices import one_of
from snnjax.runtime.checks import check_name
from snnjax.snn.encoding import ENCODINGS
from snnjax.snn.neurons import NEURONS
from snnjax.snn.readout import READOUTS

__all__ = ["DEFAULT_ENCODING", "DEFAULT_NEURON", "SimulateConfig"]

DEFAULT_NEURON = "exact-charge"
DEFAULT_ENCODING = "constant"


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """Neuron, input encoding, readout and length of a simulation.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    encoding: Annotated[str | None, one_of(ENCODINGS)] = None
    """input: a constant current, Bernoulli spikes (rate), or evenly spaced spikes (deterministic)
    [default: the method's, or constant]"""
    neuron: Annotated[str | None, one_of(NEURONS)] = None
    """neuron model of the hidden layers [default: the method's, or exact-charge]"""
    readout: Annotated[str, one_of(READOUTS)] = "membrane"
    """output: accumulated input current of the last layer (membrane); its spike counts, as in the
    paper (count); or spike counts of a leaky layer behind it, with identity weights (leaky) or
    with weights learnt by STDP (stdp)"""
    num_steps: int = 16
    """timesteps T, including pre-steps; accuracy is reported after each"""
    pre_steps: int | None = None
    """timesteps before the first output, after which neurons that support it correct their initial
    state [default: the method's, or 0]"""
    shown_steps: int = 0
    """timesteps for which the input is presented; exact-charge neurons then settle to the counts
    of the ANN quantised to that many levels; 0 for all"""
    exit_margin: float | None = None
    """also evaluate early exit: an image stops when its largest output exceeds the second by this
    margin"""
    exit_tolerance: float | None = None
    """also evaluate early exit, with the smallest margin that loses at most this share of the
    validation images, such as 0.001"""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps is {self.num_steps}; want at least 1 timestep")
        if self.encoding is not None:
            check_name("encoding", self.encoding, ENCODINGS)
        if self.pre_steps is not None and self.pre_steps < 0:
            raise ValueError(f"pre_steps is {self.pre_steps}; want at least 0")
        if self.shown_steps < 0:
            raise ValueError(f"shown_steps is {self.shown_steps}; want at least 0")
        check_name("readout", self.readout, READOUTS)
        if self.exit_margin is not None and not 0 <= self.exit_margin < math.inf:
            raise ValueError(f"exit_margin is {self.exit_margin}; want it finite and at least 0")
        if self.exit_tolerance is not None and not 0 <= self.exit_tolerance < 1:
            raise ValueError(f"exit_tolerance is {self.exit_tolerance}; want a share in [0, 1)")
        if self.exit_margin is not None and self.exit_tolerance is not None:
            raise ValueError(
                f"exit_margin is {self.exit_margin} and exit_tolerance {self.exit_tolerance}, which"
                " chooses the margin; leave one out"
            )
        if self.neuron is not None:
            check_name("neuron", self.neuron, NEURONS)

    @property
    def exits_early(self) -> bool:
        """True if early exit is evaluated too."""
        return self.exit_margin is not None or self.exit_tolerance is not None

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `snn.simulation.simulate`."""
        return {
            "num_steps": self.num_steps,
            "neuron": NEURONS[self.neuron or DEFAULT_NEURON],
            "encoding": ENCODINGS[self.encoding or DEFAULT_ENCODING],
            "readout": READOUTS[self.readout],
            "pre_steps": self.pre_steps or 0,
            "shown_steps": self.shown_steps,
        }
