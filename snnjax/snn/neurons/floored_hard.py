"""One threshold, hard reset, a membrane potential that is never below zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from snnjax.snn.neurons.base import MembraneState, NeuronModel, NeuronParams, integrate, rest

__all__ = ["FLOORED_HARD"]


def _step(
    params: NeuronParams, state: MembraneState, current: jax.Array
) -> tuple[MembraneState, jax.Array]:
    """Fire +1 at m >= v_p; reset to 0, with a floor of 0 under the membrane potential.

    Source: Cao et al. 2015, whose potential has a floor V_min.
    Choice: V_min = 0, the potential at rest; their constant leak is left out.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m = integrate(params, state.membrane, current)
    up = m >= params.positive
    return MembraneState(jnp.where(up, 0.0, jnp.maximum(m, 0.0))), up.astype(m.dtype)


FLOORED_HARD = NeuronModel(rest, _step)
"""One threshold, hard reset, never below zero (Cao et al. 2015)."""
