"""Options of the conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from snnjax.app.configurations.choices import one_of, show_ranges
from snnjax.conversion.calibration import CORRECTIONS
from snnjax.conversion.methods import METHODS
from snnjax.conversion.threshold_balancing import BALANCING_RULES
from snnjax.runtime.checks import check_name
from snnjax.runtime.ranges import IMAGES, LEAKS, SIZES, UP_TO_STEPS, check_ranges, real

__all__ = ["MEASURED_SCALES", "RULES_FOR_STEPS", "ConvertConfig"]

MEASURED_SCALES = ("largest", "percentile", "percentile_99", "data_norm", "least_error")
"""Values of `ConvertConfig.scales` that are measured on images."""

RULES_FOR_STEPS = ("least_error",)
"""Values of `ConvertConfig.scales` whose rule also needs the T of the simulation."""


@show_ranges
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
    for_steps: Annotated[int, UP_TO_STEPS] = 0
    """T for which shift, least_error and the calibration are made [run: the simulation's T]"""
    calibration_images: Annotated[int, IMAGES] = 1000
    """training images on which scales are measured and mean rates are calibrated"""
    output_leak: Annotated[float, LEAKS] = 1.0
    """share of its membrane potential that the last layer keeps per timestep"""
    gain: Annotated[float, SIZES] = 1.0
    """c of eq. 17: input spikes per timestep for a white pixel"""
    initial_potential: Annotated[float, real(-1000, 1000)] = 0.5
    """v(0) as a fraction of the positive threshold; the paper's formulas have 0"""
    threshold: Annotated[float, SIZES] = 1.0
    """positive threshold v_p, in units of the membrane potential"""

    def __post_init__(self) -> None:
        if self.method is not None:
            check_name("method", self.method, METHODS)
        check_name("scales", self.scales, ("theta", *BALANCING_RULES))
        check_name("correct", self.correct, ("nothing", *CORRECTIONS))
        check_ranges(self)

    @property
    def needs_steps(self) -> bool:
        """True if the converted parameters are made for one T."""
        return self.shift or self.correct != "nothing" or self.scales in RULES_FOR_STEPS
