"""Sums of the spikes of one timestep, for each image."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

__all__ = ["count_spikes", "weigh_spikes"]


def count_spikes(spikes: jax.Array) -> jax.Array:
    """Spike count of each image, both signs, int32 `[B]`.

    Args:
      spikes: `[B, ...]` of one timestep.
    """
    sent = jnp.abs(spikes)
    # A sum of floats is a fast reduction of XLA's; a sum of small integers would overflow.
    dtype = jnp.int32 if jnp.issubdtype(sent.dtype, jnp.integer) else sent.dtype
    return jnp.sum(sent, axis=tuple(range(1, sent.ndim)), dtype=dtype).astype(jnp.int32)


def weigh_spikes(
    spikes: Mapping[str, jax.Array], weights: Mapping[str, jax.Array], batch: int
) -> jax.Array:
    """Sum the spikes of each image, both signs, each times the weight of its neuron, `[B]`.

    Args:
      spikes: `[B, ...]` of one timestep, by path.
      weights: `[...]` by path, all of the dtype of the sum.
      batch: B.
    """
    total = jnp.zeros(batch, next((of.dtype for of in weights.values()), jnp.float32))
    for path, sent in spikes.items():
        used = jnp.abs(sent).astype(total.dtype) * weights[path]
        total += jnp.sum(used, axis=tuple(range(1, used.ndim)))
    return total
