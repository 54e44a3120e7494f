"""The double threshold that mutes neurons without residual charge (SRP)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax.snn.neurons import double_threshold
from snnjax.snn.neurons.base import MembraneState, NeuronModel, NeuronParams, rest

__all__ = ["RESIDUAL_MASK", "MaskState"]


class MaskState(NamedTuple):
    """membrane: `[B, ...]` v(t); mask: `[B, ...]` 1 where spikes are let through, else 0."""

    membrane: jax.Array
    mask: jax.Array


def _init(params: NeuronParams, shape: tuple[int, ...]) -> MaskState:
    return MaskState(rest(params, shape).membrane, jnp.ones(shape))


def _step(
    params: NeuronParams, state: MaskState, current: jax.Array
) -> tuple[MaskState, jax.Array]:
    """Step as the double threshold, and send nothing where `_revise` found no charge left over.

    Source: SRP, Hao et al. 2023a. A neuron with v <= 0 after the pre-steps sent more than
    its input was worth, or had none, and is muted in the steps that count.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    after, spikes = double_threshold.step(params, MembraneState(state.membrane), current)
    return MaskState(after.membrane, state.mask), spikes * state.mask


def _revise(params: NeuronParams, state: MaskState) -> MaskState:
    left = state.membrane > 1e-3 * params.positive
    return MaskState(rest(params, left.shape).membrane, left.astype(state.mask.dtype))


RESIDUAL_MASK = NeuronModel(_init, _step, revise=_revise)
"""Mutes after its pre-steps what had nothing left over (SRP); without them double-threshold."""
