"""Options of the simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from snnjax.app.configurations.choices import one_of, show_ranges
from snnjax.runtime.checks import check_name
from snnjax.runtime.ranges import SHARES, STEPS, UP_TO_STEPS, check_ranges, real
from snnjax.snn.encoding import ENCODINGS
from snnjax.snn.engine import SpikingFunction
from snnjax.snn.neurons import NEURONS
from snnjax.snn.readout import READOUTS
from snnjax.snn.simulation_arguments import check_shown_steps, count_pre_steps

__all__ = ["DEFAULT_ENCODING", "DEFAULT_NEURON", "SimulateConfig"]

DEFAULT_NEURON = "exact-charge"
DEFAULT_ENCODING = "constant"


@show_ranges
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
    num_steps: Annotated[int, STEPS] = 16
    """timesteps T, including pre-steps; accuracy is reported after each"""
    pre_steps: Annotated[int | None, UP_TO_STEPS] = None
    """timesteps before the first output, after which neurons that support it correct their initial
    state [default: the method's, or 0]"""
    shown_steps: Annotated[int, UP_TO_STEPS] = 0
    """timesteps for which the input is presented; exact-charge neurons then settle to the counts
    of the ANN quantised to that many levels; 0 for all"""
    exit_margin: Annotated[float | None, real(0, 1e9)] = None
    """also evaluate early exit: an image stops when its largest output exceeds the second by this
    margin"""
    exit_tolerance: Annotated[float | None, SHARES] = None
    """also evaluate early exit, with the smallest margin that loses at most this share of the
    validation images, such as 0.001"""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.encoding is not None:
            check_name("encoding", self.encoding, ENCODINGS)
        check_name("readout", self.readout, READOUTS)
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

    def check_steps(self, network: SpikingFunction) -> None:
        """Check that a network of these neurons can run for these timesteps.

        Raises:
          ValueError: as `simulate`.
        """
        neuron = NEURONS[self.neuron or DEFAULT_NEURON]
        check_shown_steps(neuron, self.shown_steps)
        count_pre_steps(network, neuron, self.pre_steps or 0, self.num_steps)
