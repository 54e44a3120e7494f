"""The paper's neuron: two thresholds, soft reset."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax.snn.neurons.base import (
    MembraneState,
    NeuronModel,
    NeuronParams,
    charge_of_spikes,
    fire,
    integrate,
    rest,
)
from snnjax.snn.neurons.crossing import HARD, Crossing

__all__ = ["DOUBLE_THRESHOLD", "PotentialState", "step"]


class PotentialState(NamedTuple):
    """potential: `[B, ...]` membrane potential before reset, m(t)."""

    potential: jax.Array


def step(
    params: NeuronParams, state: MembraneState, current: jax.Array, crossing: Crossing = HARD
) -> tuple[MembraneState, jax.Array]:
    """Fire +1 at m >= v_p and -1 at m <= -v_n; reset by subtraction.

    Source: He et al. 2024, eqs. 2-4 with the thresholds of eqs. 12 and 16; leak of eq. 18.
    Choice: the paper leaves equality open; reaching a threshold fires. Its eq. 12 does not
    give the sign of v_n; as its eq. 16 implies, it is a magnitude.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m = integrate(params, state.membrane, current)
    return MembraneState(m - charge_of_spikes(params, m, crossing)), fire(params, m, crossing)


def _rest_before_reset(
    params: NeuronParams, shape: tuple[int, ...], crossing: Crossing = HARD
) -> PotentialState:
    v = rest(params, shape).membrane
    return PotentialState(v + charge_of_spikes(params, v, crossing))


def _step_before_reset(
    params: NeuronParams, state: PotentialState, current: jax.Array, crossing: Crossing = HARD
) -> tuple[PotentialState, jax.Array]:
    """`step`, with the reset left to the next timestep.

    Choice: the spikes are computed from the potential that is kept. If it were reset first, XLA
    would copy it for the computation of the spikes.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    membrane = state.potential - charge_of_spikes(params, state.potential, crossing)
    m = integrate(params, membrane, current)
    return PotentialState(m), fire(params, m, crossing)


def _charge_count(params: NeuronParams, up: jax.Array, down: jax.Array) -> jax.Array:
    """Net count with the charge v_p n_+ - v_n n_-; two opposite spikes have v_p - v_n together."""
    taken = jnp.where(down > 0, params.negative, 0.0) * down  # avoids inf * 0
    charge = params.positive * up - taken
    return jnp.where(charge >= 0, charge / params.positive, charge / params.negative)


def _with_crossing(crossing: Crossing) -> NeuronModel:
    deferred_reset = NeuronModel(
        partial(_rest_before_reset, crossing=crossing),
        partial(_step_before_reset, crossing=crossing),
    )
    return NeuronModel(
        rest, partial(step, crossing=crossing), deferred_reset=deferred_reset, whole=True,
        charge_count=_charge_count, with_crossing=_with_crossing,
    )  # fmt: skip


DOUBLE_THRESHOLD = _with_crossing(HARD)
"""The paper's neuron: two thresholds, soft reset."""
