"""Two thresholds, hard reset."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from snnjax.snn.neurons.base import (
    MembraneState,
    NeuronModel,
    NeuronParams,
    crossings,
    fire,
    integrate,
    rest,
)

__all__ = ["DOUBLE_THRESHOLD_HARD"]


def _step(
    params: NeuronParams, state: MembraneState, current: jax.Array
) -> tuple[MembraneState, jax.Array]:
    """Fire at the thresholds of the double-threshold neuron; any spike resets the potential to 0.

    Source: Cao et al. 2015 and Diehl et al. 2015 for the reset.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m = integrate(params, state.membrane, current)
    up, down = crossings(params, m)
    return MembraneState(jnp.where(up | down, 0.0, m)), fire(params, m)


DOUBLE_THRESHOLD_HARD = NeuronModel(rest, _step)
"""Two thresholds, hard reset."""
