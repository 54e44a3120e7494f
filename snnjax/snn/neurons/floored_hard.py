"""One threshold, hard reset, a membrane potential that is never below zero."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from snnjax.snn.neurons.base import MembraneState, NeuronModel, NeuronParams, integrate, rest
from snnjax.snn.neurons.crossing import HARD, Crossing

__all__ = ["FLOORED_HARD"]


def _step(
    params: NeuronParams, state: MembraneState, current: jax.Array, crossing: Crossing = HARD
) -> tuple[MembraneState, jax.Array]:
    """Fire +1 at m >= v_p; reset to 0, with a floor of 0 under the membrane potential.

    Source: Cao et al. 2015, whose potential has a floor V_min.
    Choice: V_min = 0, the potential at rest; their constant leak is left out.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m = integrate(params, state.membrane, current)
    up = crossing.reaches(m, 1.0, params.positive)
    return MembraneState((1 - up) * jnp.maximum(m, 0.0)), up


def _with_crossing(crossing: Crossing) -> NeuronModel:
    return NeuronModel(rest, partial(_step, crossing=crossing), with_crossing=_with_crossing)


FLOORED_HARD = _with_crossing(HARD)
"""One threshold, hard reset, never below zero (Cao et al. 2015)."""
