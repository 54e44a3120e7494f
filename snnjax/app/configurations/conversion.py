"""Options of the conversion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from snnjax.app.configurations.choices import one_of
from snnjax.conversion.calibration import CORRECTIONS
from snnjax.conversion.methods import METHODS
from snnjax.conversion.threshold_balancing import BALANCING_RULES
from snnjax.runtime.checks import check_name

__all__ = ["RULES_FOR_STEPS", "ConvertConfig"]

RULES_FOR_STEPS = ("least_error",)
"""Values of `ConvertConfig.scales` whose rule also needs the T of the simulation."""


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Everything that decides the converted parameters, apart from the trained network.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    method: Annotated[str | None, one_of(METHODS)] = None
    """a published method: sets the options of all stages that it consists of"""
    scales: Annotated[str, one_of(("theta", *BALANCING_RULES))] = "theta"
    """activation that a firing rate of 1 stands for: the activation's bound theta, 1 (unit), or a
    rule that measures it on the weights or on training images"""
    shift: bool = False
    """add v_p / (2 T) to the input current of every hidden neuron at each timestep"""
    correct: Annotated[str, one_of(("nothing", *CORRECTIONS))] = "nothing"
    """calibrate double-threshold neurons: match mean firing rates to the ANN's activations by a
    current for each channel (shift) or by an initial potential for each neuron (potential)"""
    for_steps: int = 0
    """T for which shift, least_error and the calibration are made [run: the simulation's T]"""
    calibration_images: int = 1000
    """training images on which scales are measured and mean rates are calibrated"""
    output_leak: float = 1.0
    """share of its membrane potential that the last layer keeps per timestep, in (0, 1]"""
    gain: float = 1.0
    """c of eq. 17: input spikes per timestep for a white pixel, above 0"""
    initial_potential: float = 0.5
    """v(0) as a fraction of the positive threshold; the paper's formulas have 0"""
    threshold: float = 1.0
    """positive threshold v_p, in units of the membrane potential"""

    def __post_init__(self) -> None:
        if self.method is not None:
            check_name("method", self.method, METHODS)
        check_name("scales", self.scales, ("theta", *BALANCING_RULES))
        check_name("correct", self.correct, ("nothing", *CORRECTIONS))
        for name in ("gain", "threshold"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; want it finite and above 0")
        if self.calibration_images < 1:
            raise ValueError(
                f"calibration_images is {self.calibration_images}; want at least 1 image"
            )
        if not math.isfinite(self.initial_potential):
            raise ValueError(f"initial_potential is {self.initial_potential}; want it finite")
        if self.for_steps < 0:
            raise ValueError(f"for_steps is {self.for_steps}; want at least 1 timestep")
        if not 0 < self.output_leak <= 1:
            raise ValueError(f"output_leak is {self.output_leak}; want it in (0, 1]")

    @property
    def needs_steps(self) -> bool:
        """True if the converted parameters are made for one T."""
        return self.shift or self.correct != "nothing" or self.scales in RULES_FOR_STEPS
