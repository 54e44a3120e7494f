"""Two thresholds, hard reset."""

from __future__ import annotations

from functools import partial

import jax

from snnjax.snn.neurons.base import (
    MembraneState,
    NeuronModel,
    NeuronParams,
    crossings,
    integrate,
    rest,
)
from snnjax.snn.neurons.crossing import HARD, Crossing

__all__ = ["DOUBLE_THRESHOLD_HARD"]


def _step(
    params: NeuronParams, state: MembraneState, current: jax.Array, crossing: Crossing = HARD
) -> tuple[MembraneState, jax.Array]:
    """Fire at the thresholds of the double-threshold neuron; any spike resets the potential to 0.

    Source: Cao et al. 2015 and Diehl et al. 2015 for the reset.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m = integrate(params, state.membrane, current)
    up, down = crossings(params, m, crossing)
    return MembraneState(m * (1 - up) * (1 - down)), up - down


def _with_crossing(crossing: Crossing) -> NeuronModel:
    return NeuronModel(rest, partial(_step, crossing=crossing), with_crossing=_with_crossing)


DOUBLE_THRESHOLD_HARD = _with_crossing(HARD)
"""Two thresholds, hard reset."""
