"""Two thresholds, graded spikes (AugMapping)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from snnjax.snn.neurons.base import MembraneState, NeuronModel, NeuronParams, integrate, rest

__all__ = ["AUGMENTED"]


def _step(
    params: NeuronParams, state: MembraneState, current: jax.Array
) -> tuple[MembraneState, jax.Array]:
    """Send one graded spike: the number of thresholds in the membrane potential.

    Source: the augmented spike of Yu et al. 2022, whose coefficient is the number of spikes
    in one timestep. A coefficient c counts as |c| spikes.
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
