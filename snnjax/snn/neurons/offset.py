"""The double-threshold neuron that moves its initial potential after pre-steps (COS)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax.snn.neurons import double_threshold
from snnjax.snn.neurons.base import MembraneState, NeuronModel, NeuronParams, integrate, rest

__all__ = ["OFFSET", "OffsetState"]


class OffsetState(NamedTuple):
    """State of the offset neuron since it last started, each `[B, ...]`.

    membrane: v(t).
    sent: net spike count.
    least_fired: smallest potential before reset that fired +1.
    most_silent: largest potential before reset that did not fire +1.
    """

    membrane: jax.Array
    sent: jax.Array
    least_fired: jax.Array
    most_silent: jax.Array


def _init(params: NeuronParams, shape: tuple[int, ...]) -> OffsetState:
    return _start_from(rest(params, shape).membrane)


def _start_from(membrane: jax.Array) -> OffsetState:
    nothing = jnp.zeros_like(membrane)
    return OffsetState(membrane, nothing, nothing + jnp.inf, nothing - jnp.inf)


def _step(
    params: NeuronParams, state: OffsetState, current: jax.Array
) -> tuple[OffsetState, jax.Array]:
    """Step like the double-threshold neuron, and record the potentials that `_revise` needs.

    Source: COS, Hao et al. 2023b.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m = integrate(params, state.membrane, current)
    up = m >= params.positive
    after, spikes = double_threshold.step(params, MembraneState(state.membrane), current)
    return OffsetState(
        after.membrane,
        state.sent + spikes,
        jnp.where(up, jnp.minimum(state.least_fired, m), state.least_fired),
        jnp.where(up, state.most_silent, jnp.maximum(state.most_silent, m)),
    ), spikes


def _revise(params: NeuronParams, state: OffsetState) -> OffsetState:
    """Lower v(0) to send one spike less where v < 0; raise it to send one more where v >= v_p.

    Source: COS; the moves are at least v_p and pass the threshold by v_p / 1000, as in the
    published code.
    """
    theta, start = params.positive, rest(params, state.membrane.shape).membrane
    lower = jnp.maximum(state.least_fired - 0.999 * theta, theta)
    higher = jnp.maximum(1.001 * theta - state.most_silent, theta)
    too_many = (state.membrane < 0) & (state.sent > 0)
    too_few = state.membrane >= theta
    moved = jnp.where(too_few, start + higher, jnp.where(too_many, start - lower, start))
    return _start_from(moved)


OFFSET = NeuronModel(_init, _step, revise=_revise, in_turn=True)
"""Double-threshold neuron that corrects v(0) after its pre-steps (COS)."""
