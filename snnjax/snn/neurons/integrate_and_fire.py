"""One threshold, soft reset: the usual neuron of ANN-SNN conversion."""

from __future__ import annotations

from functools import partial

import jax

from snnjax.snn.neurons.base import (
    MembraneState,
    NeuronModel,
    NeuronParams,
    integrate,
    rest,
)
from snnjax.snn.neurons.crossing import HARD, Crossing

__all__ = ["INTEGRATE_AND_FIRE"]


def _step(
    params: NeuronParams, state: MembraneState, current: jax.Array, crossing: Crossing = HARD
) -> tuple[MembraneState, jax.Array]:
    """Fire +1 at m >= v_p; reset by subtraction; no negative spikes.

    Source: the usual neuron of conversion, such as Rueckauer et al. 2017; the double-threshold
    neuron with v_n = inf.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m = integrate(params, state.membrane, current)
    up = crossing.reaches(m, 1.0, params.positive)
    return MembraneState(m - up * params.positive), up


def _next_count(
    params: NeuronParams, sent: jax.Array, charge: jax.Array, crossing: Crossing = HARD
) -> jax.Array:
    """Count, one higher where the membrane potential before reset reaches the threshold."""
    m = charge + (params.initial - sent) * params.positive
    return sent + crossing.reaches(m, 1.0, params.positive)


def _with_crossing(crossing: Crossing) -> NeuronModel:
    return NeuronModel(
        rest, partial(_step, crossing=crossing), whole=True,
        next_count=partial(_next_count, crossing=crossing), with_crossing=_with_crossing,
    )  # fmt: skip


INTEGRATE_AND_FIRE = _with_crossing(HARD)
"""One threshold, soft reset, as most other packages have it."""
