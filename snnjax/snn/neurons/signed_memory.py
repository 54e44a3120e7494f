"""One threshold; negative spikes only cancel earlier positive spikes (SNM)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax.snn.neurons.base import NeuronModel, NeuronParams, integrate, rest
from snnjax.snn.neurons.crossing import HARD, Crossing

__all__ = ["SIGNED_MEMORY", "MemoryState"]


class MemoryState(NamedTuple):
    """membrane: `[B, ...]` v(t); sent: `[B, ...]` net spike count."""

    membrane: jax.Array
    sent: jax.Array


def _init(params: NeuronParams, shape: tuple[int, ...]) -> MemoryState:
    return MemoryState(rest(params, shape).membrane, jnp.zeros(shape, jnp.float32))


def _step(
    params: NeuronParams, state: MemoryState, current: jax.Array, crossing: Crossing = HARD
) -> tuple[MemoryState, jax.Array]:
    """Fire +1 at m >= v_p, and -1 at m <= -v_p if the net spike count is positive.

    Source: the signed neuron with memory (SNM) of Wang et al. 2022.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m = integrate(params, state.membrane, current)
    up = crossing.reaches(m, 1.0, params.positive)
    down = crossing.reaches(-m, 1.0, params.positive) * (state.sent > 0)
    spikes = up - down
    return MemoryState(m - spikes * params.positive, state.sent + spikes), spikes


def _with_crossing(crossing: Crossing) -> NeuronModel:
    return NeuronModel(_init, partial(_step, crossing=crossing), with_crossing=_with_crossing)


SIGNED_MEMORY = _with_crossing(HARD)
"""One threshold; negative spikes only cancel earlier positive spikes (SNM)."""
