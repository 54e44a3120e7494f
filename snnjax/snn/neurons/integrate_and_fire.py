"""One threshold, soft reset: the usual neuron of ANN-SNN conversion."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from snnjax.snn.neurons.base import (
    MembraneState,
    NeuronModel,
    NeuronParams,
    integrate,
    rest,
)

__all__ = ["INTEGRATE_AND_FIRE"]


def _step(
    params: NeuronParams, state: MembraneState, current: jax.Array
) -> tuple[MembraneState, jax.Array]:
    """Fire +1 at m >= v_p; reset by subtraction; no negative spikes.

    Source: the usual neuron of conversion, such as Rueckauer et al. 2017; the double-threshold
    neuron with v_n = inf.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m = integrate(params, state.membrane, current)
    up = m >= params.positive
    return MembraneState(m - jnp.where(up, params.positive, 0.0)), up.astype(m.dtype)


def _next_count(params: NeuronParams, sent: jax.Array, charge: jax.Array) -> jax.Array:
    """Count, one higher where the membrane potential before reset reaches the threshold."""
    m = charge + (params.initial - sent) * params.positive
    return sent + (m >= params.positive)


INTEGRATE_AND_FIRE = NeuronModel(rest, _step, next_count=_next_count, whole=True)
"""One threshold, soft reset, as most other packages have it."""
