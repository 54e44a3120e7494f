"""One timestep of a two-sided neuron: integrate, fire in {-1, 0, 1}, take the charge away.

A neuron is a `NeuronModel`, a pair of pure functions, and its numbers are `NeuronParams`,
a pytree, so `jax.vmap` runs over thresholds, leaks and initial potentials.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.checks import check_value

__all__ = [
    "AUGMENTED",
    "DOUBLE_THRESHOLD",
    "DOUBLE_THRESHOLD_HARD",
    "EXACT_CHARGE",
    "NEURONS",
    "SIGNED_MEMORY",
    "LedgerState",
    "MembraneState",
    "MemoryState",
    "NeuronModel",
    "NeuronParams",
    "make_params",
]


class NeuronParams(NamedTuple):
    """The numbers of a layer of neurons, each a scalar or broadcastable to `[B, ...]`.

    positive: v_p, the charge that one positive spike stands for, in membrane units.
    negative: v_n = v_p / alpha, a magnitude; inf where there is no negative side.
    leak: fraction of the potential kept per timestep, gamma of eq. 18; 1 keeps all.
    initial: v(0) as a fraction of v_p, dimensionless; in EXACT_CHARGE the rounding offset
      of both sides, below 1.
    """

    positive: jax.Array
    negative: jax.Array
    leak: jax.Array
    initial: jax.Array


class MembraneState(NamedTuple):
    """membrane: `[B, ...]` potential after reset, v(t)."""

    membrane: jax.Array


class MemoryState(NamedTuple):
    """membrane: `[B, ...]` v(t); sent: `[B, ...]` net count of spikes."""

    membrane: jax.Array
    sent: jax.Array


class LedgerState(NamedTuple):
    """charge: `[B, ...]` all that came in; sent: `[B, ...]` net count of spikes."""

    charge: jax.Array
    sent: jax.Array


State = Any


class NeuronModel(NamedTuple):
    """init(params, shape) -> state; step(params, state, current) -> (state, spikes)."""

    init: Callable[[NeuronParams, tuple[int, ...]], State]
    step: Callable[[NeuronParams, State, jax.Array], tuple[State, jax.Array]]


def make_params(
    positive: ArrayLike,
    *,
    alpha: ArrayLike,
    leak: ArrayLike = 1.0,
    initial: ArrayLike = 0.5,
) -> NeuronParams:
    """The numbers of a layer from its positive threshold and the ANN's negative slope.

    Source: He et al. 2024, eq. 16: v_p : v_n = alpha, so v_n = v_p / alpha is the larger.
    Choice: v(0) = v_p / 2. The paper's formulas have 0, which floors every rate and
    biases each layer towards 0; half a threshold rounds instead. Pass 0 for the paper's.

    Args:
      positive: v_p, above 0, in membrane units.
      alpha: slope below zero, in [0, 1]; 0 gives v_n = inf, a neuron with positive
        spikes only.
      leak: gamma, in (0, 1].
      initial: v(0) / v_p.

    Raises:
      ValueError: if a number that is not traced is out of its range.
    """
    check_value("threshold", positive, lambda x: x > 0, "it above 0")
    check_value(
        "alpha", alpha, lambda x: (x >= 0) & (x <= 1), "it in (0, 1], or 0 for no negative side"
    )
    check_value("leak", leak, lambda x: (x > 0) & (x <= 1), "it in (0, 1]")
    check_value("initial potential", initial, np.isfinite, "it finite, a fraction of the threshold")
    positive, alpha = jnp.asarray(positive, jnp.float32), jnp.asarray(alpha, jnp.float32)
    negative = jnp.where(alpha > 0, positive / jnp.where(alpha > 0, alpha, 1.0), jnp.inf)
    return NeuronParams(
        positive, negative, jnp.asarray(leak, jnp.float32), jnp.asarray(initial, jnp.float32)
    )


def _rest(params: NeuronParams, shape: tuple[int, ...]) -> MembraneState:
    v = params.initial * params.positive
    return MembraneState(membrane=jnp.broadcast_to(v, shape))


def _fire(
    params: NeuronParams, state: MembraneState, current: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The potential before reset, and where it fires up and down (eqs. 2, 3, 12, 18)."""
    chex.assert_equal_shape([state.membrane, current])
    m = params.leak * state.membrane + current
    return m, m >= params.positive, m <= -params.negative


def _double_threshold(
    params: NeuronParams, state: MembraneState, current: jax.Array
) -> tuple[MembraneState, jax.Array]:
    """Fire +1 at m >= v_p and -1 at m <= -v_n; reset by subtraction.

    Source: He et al. 2024, eqs. 2-4 with the thresholds of eqs. 12 and 16; leak of eq. 18.
    Choice: the paper leaves equality open; reaching a threshold fires. Its eq. 12 does not
    give the sign of v_n; as its eq. 16 implies, it is a magnitude.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m, up, down = _fire(params, state, current)
    v = m - jnp.where(up, params.positive, 0.0) + jnp.where(down, params.negative, 0.0)
    return MembraneState(v), up.astype(m.dtype) - down.astype(m.dtype)


def _double_threshold_hard(
    params: NeuronParams, state: MembraneState, current: jax.Array
) -> tuple[MembraneState, jax.Array]:
    """The same thresholds; any spike resets the potential to 0.

    Source: Cao et al. 2015 and Diehl et al. 2015 for the reset.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m, up, down = _fire(params, state, current)
    v = jnp.where(up | down, 0.0, m)
    return MembraneState(v), up.astype(m.dtype) - down.astype(m.dtype)


def _empty_ledger(params: NeuronParams, shape: tuple[int, ...]) -> LedgerState:
    del params
    return LedgerState(charge=jnp.zeros(shape), sent=jnp.zeros(shape))


def _exact_charge(
    params: NeuronParams, state: LedgerState, current: jax.Array
) -> tuple[LedgerState, jax.Array]:
    """Send the one spike that moves the net count towards what the charge so far calls for.

    With v_n != v_p a pair of opposite spikes does not cancel on a membrane: it leaves
    v_n - v_p behind. This neuron keeps the charge and the count apart, so its rate is a
    function of the net charge alone.

    Source: derived for this package. At alpha = 1 it is SpikeZIP's symmetric ST-BIF
    neuron and at alpha = 0 the unsigned one (You et al. 2024), up to ties and without
    their bound on the count.
    Choice: `initial` = 1/2 rounds the charge to whole spikes, on both sides; 0 floors it.
    The leak acts on the charge that no spike stands for, as on a membrane; what was sent
    stays sent.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    chex.assert_equal_shape([state.charge, current])
    stood_for = state.sent * jnp.where(state.sent >= 0, params.positive, params.negative)
    unsent = state.charge - jnp.where(state.sent == 0, 0.0, stood_for)
    charge = state.charge - (1 - params.leak) * unsent + current
    quantum = jnp.where(charge >= 0, params.positive, params.negative)
    wanted = jnp.sign(charge) * jnp.floor(jnp.abs(charge) / quantum + params.initial)
    spikes = jnp.sign(wanted - state.sent)
    return LedgerState(charge, state.sent + spikes), spikes


def _augmented(
    params: NeuronParams, state: MembraneState, current: jax.Array
) -> tuple[MembraneState, jax.Array]:
    """Send as many quanta as the membrane holds, as one graded spike.

    Source: the augmented spike of Yu et al. 2022: its coefficient is the number of spikes
    that one timestep carries. A coefficient c is |c| spikes in every count.
    Choice: the coefficient has no upper bound.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m, _, _ = _fire(params, state, current)
    up = jnp.maximum(jnp.floor(m / params.positive), 0.0)
    down = jnp.maximum(jnp.floor(-m / params.negative), 0.0)
    v = m - up * params.positive + jnp.where(down > 0, down * params.negative, 0.0)
    return MembraneState(v), up - down


def _start_signed_memory(params: NeuronParams, shape: tuple[int, ...]) -> MemoryState:
    return MemoryState(_rest(params, shape).membrane, jnp.zeros(shape))


def _signed_memory(
    params: NeuronParams, state: MemoryState, current: jax.Array
) -> tuple[MemoryState, jax.Array]:
    """A one-sided neuron that may take back spikes that it sent.

    Source: the signed neuron with memory (SNM) of Wang et al. 2022: -1 fires at
    m <= -v_p, and only while more +1 than -1 were sent.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    chex.assert_equal_shape([state.membrane, current])
    m = params.leak * state.membrane + current
    up = (m >= params.positive).astype(m.dtype)
    down = ((m <= -params.positive) & (state.sent > 0)).astype(m.dtype)
    spikes = up - down
    return MemoryState(m - spikes * params.positive, state.sent + spikes), spikes


DOUBLE_THRESHOLD = NeuronModel(_rest, _double_threshold)
"""The paper's neuron: two thresholds, reset by subtraction."""

DOUBLE_THRESHOLD_HARD = NeuronModel(_rest, _double_threshold_hard)
"""Two thresholds, reset to zero."""

EXACT_CHARGE = NeuronModel(_empty_ledger, _exact_charge)
"""The neuron whose net spike count follows its net charge."""

AUGMENTED = NeuronModel(_rest, _augmented)
"""Two thresholds, graded spikes (AugMapping)."""

SIGNED_MEMORY = NeuronModel(_start_signed_memory, _signed_memory)
"""One threshold, negative spikes only to take back positive ones (SNM)."""

NEURONS = {
    "double-threshold": DOUBLE_THRESHOLD,
    "double-threshold-hard": DOUBLE_THRESHOLD_HARD,
    "exact-charge": EXACT_CHARGE,
    "augmented": AUGMENTED,
    "signed-memory": SIGNED_MEMORY,
}
