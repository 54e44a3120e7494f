"""The double-threshold neuron that is muted if pre-steps leave no residual charge (SRP)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax.snn.neurons import double_threshold
from snnjax.snn.neurons.base import MembraneState, NeuronModel, NeuronParams, rest

__all__ = ["RESIDUAL_MASK", "MaskState"]


class MaskState(NamedTuple):
    """membrane: `[B, ...]` v(t); mask: `[B, ...]` 1 where the neuron may fire, else 0."""

    membrane: jax.Array
    mask: jax.Array


def _init(params: NeuronParams, shape: tuple[int, ...]) -> MaskState:
    return MaskState(rest(params, shape).membrane, jnp.ones(shape, jnp.float32))


def _step(
    params: NeuronParams, state: MaskState, current: jax.Array
) -> tuple[MaskState, jax.Array]:
    """Step like the double-threshold neuron; send nothing where `_revise` found no charge left.

    Source: SRP, Hao et al. 2023a. A neuron with v <= 0 after the pre-steps sent more charge than
    it received, or received none, and is muted afterwards.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    after, spikes = double_threshold.step(params, MembraneState(state.membrane), current)
    return MaskState(after.membrane, state.mask), spikes * state.mask


def _revise(params: NeuronParams, state: MaskState) -> MaskState:
    left = state.membrane > 1e-3 * params.positive
    return MaskState(rest(params, left.shape).membrane, left.astype(state.mask.dtype))


RESIDUAL_MASK = NeuronModel(_init, _step, revise=_revise)
"""Double-threshold neuron, muted if its pre-steps leave no residual charge (SRP)."""
