"""Two thresholds, graded spikes (AugMapping)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from snnjax.snn.neurons.base import MembraneState, NeuronModel, NeuronParams, integrate, rest

__all__ = ["AUGMENTED"]


def _step(
    params: NeuronParams, state: MembraneState, current: jax.Array
) -> tuple[MembraneState, jax.Array]:
    """Send as many thresholds as the membrane holds, as one graded spike.

    Source: the augmented spike of Yu et al. 2022: its coefficient is the number of spikes
    that one timestep carries. A coefficient c is |c| spikes in every count.
    Choice: the coefficient has no upper bound.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m = integrate(params, state.membrane, current)
    up = jnp.maximum(jnp.floor(m / params.positive), 0.0)
    down = jnp.maximum(jnp.floor(-m / params.negative), 0.0)
    v = m - up * params.positive + jnp.where(down > 0, down * params.negative, 0.0)
    return MembraneState(v), up - down


AUGMENTED = NeuronModel(rest, _step)
"""Two thresholds, graded spikes (AugMapping)."""
