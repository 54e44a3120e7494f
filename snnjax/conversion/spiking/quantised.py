"""The ANN that a spiking function settles to: each site's value quantised to a number of levels."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from snnjax.snn.engine import spike_values
from snnjax.snn.neurons import EXACT_CHARGE, NeuronParams

__all__ = ["settled"]


def settled(value: jax.Array, neurons: NeuronParams, input_steps: int) -> jax.Array:
    """Mean that the neurons of a site have settled to if their value no longer changes.

    Source: derived for this package; the count at which the exact-charge neuron sends no spike.

    Args:
      value: `[B, ...]` what the neurons represent.
      neurons: their parameters.
      input_steps: number of timesteps with input.
    """
    next_count = EXACT_CHARGE.next_count
    assert next_count is not None
    charge = value.astype(jnp.float32) * input_steps
    threshold = jnp.where(charge >= 0, neurons.positive, neurons.negative)
    near = jnp.sign(charge) * jnp.floor(jnp.abs(charge) / threshold + neurons.initial)
    count = jnp.clip(near, -jnp.asarray(neurons.most), neurons.most)
    for _ in range(2):  # the division may round to the neighbour, the neuron's comparisons do not
        count = next_count(neurons, count, charge)
    return (spike_values(neurons, count) / input_steps).astype(value.dtype)
