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

from snnjax.runtime.checks import check_value

__all__ = [
    "AUGMENTED",
    "DOUBLE_THRESHOLD",
    "DOUBLE_THRESHOLD_HARD",
    "EXACT_CHARGE",
    "FLOORED_HARD",
    "INTEGRATE_AND_FIRE",
    "NEURONS",
    "OFFSET",
    "RESIDUAL_MASK",
    "SIGNED_MEMORY",
    "LedgerState",
    "MaskState",
    "MembraneState",
    "MemoryState",
    "NeuronModel",
    "NeuronParams",
    "OffsetState",
    "PotentialState",
    "make_params",
]


class NeuronParams(NamedTuple):
    """The numbers of a layer of neurons, each a scalar or broadcastable to `[B, ...]`.

    positive: v_p, the charge that one positive spike stands for, in membrane units.
    negative: v_n = v_p / alpha, a magnitude; inf where there is no negative side.
    leak: fraction of the potential kept per timestep, gamma of eq. 18; 1 keeps all.
    initial: v(0) as a fraction of v_p, dimensionless; in EXACT_CHARGE the rounding offset
      of both sides, below 1.
    most: largest net count of spikes of either sign, which only EXACT_CHARGE heeds; inf for none.
    """

    positive: jax.Array
    negative: jax.Array
    leak: jax.Array
    initial: jax.Array
    most: ArrayLike = np.inf


class MembraneState(NamedTuple):
    """membrane: `[B, ...]` potential after reset, v(t)."""

    membrane: jax.Array


class PotentialState(NamedTuple):
    """potential: `[B, ...]` m(t), before the reset."""

    potential: jax.Array


class MemoryState(NamedTuple):
    """membrane: `[B, ...]` v(t); sent: `[B, ...]` net count of spikes."""

    membrane: jax.Array
    sent: jax.Array


class MaskState(NamedTuple):
    """membrane: `[B, ...]` v(t); mask: `[B, ...]` 1 where spikes are let through, else 0."""

    membrane: jax.Array
    mask: jax.Array


class OffsetState(NamedTuple):
    """What the offset neuron saw since it last started, each `[B, ...]`.

    membrane: v(t); sent: net count of spikes.
    least_fired: smallest potential that fired, before reset; most_silent: largest that did not.
    """

    membrane: jax.Array
    sent: jax.Array
    least_fired: jax.Array
    most_silent: jax.Array


class LedgerState(NamedTuple):
    """charge: `[B, ...]` all that came in; sent: `[B, ...]` net count of spikes."""

    charge: jax.Array
    sent: jax.Array


State = Any


class NeuronModel(NamedTuple):
    """init(params, shape) -> state; step(params, state, current) -> (state, spikes).

    revise(params, state) -> state: for a neuron that first runs for some pre-steps, the state
      to start again from, by what it saw in them; None for one that does not.
    next_count(params, sent, charge) -> sent: for a neuron that, without a leak, goes by nothing
      but the net count of its spikes and all charge that came in; None for one that does not.
    in_turn: each layer has pre-steps of its own, after the layers before it were revised.
    late: the same neuron with another state, which a simulation keeps in its place: one array from
      which both spikes and reset follow, so that nothing of the timestep before is read for either.
    """

    init: Callable[[NeuronParams, tuple[int, ...]], State]
    step: Callable[[NeuronParams, State, jax.Array], tuple[State, jax.Array]]
    revise: Callable[[NeuronParams, State], State] | None = None
    next_count: Callable[[NeuronParams, jax.Array, jax.Array], jax.Array] | None = None
    in_turn: bool = False
    late: NeuronModel | None = None


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
    return m, *_fires(params, m)


def _fires(params: NeuronParams, m: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where a potential before its reset fires up and down (eqs. 3, 12)."""
    return m >= params.positive, m <= -params.negative


def _taken(params: NeuronParams, m: jax.Array) -> jax.Array:
    """What the reset by subtraction takes from a potential (eq. 4)."""
    up, down = _fires(params, m)
    return jnp.where(up, params.positive, 0.0) - jnp.where(down, params.negative, 0.0)


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
    return MembraneState(m - _taken(params, m)), up.astype(m.dtype) - down.astype(m.dtype)


def _rest_before_reset(params: NeuronParams, shape: tuple[int, ...]) -> PotentialState:
    v = _rest(params, shape).membrane
    return PotentialState(v + _taken(params, v))


def _late_double_threshold(
    params: NeuronParams, state: PotentialState, current: jax.Array
) -> tuple[PotentialState, jax.Array]:
    """`_double_threshold`, which leaves the reset to the next timestep.

    Choice: XLA keeps a copy of a potential that it updates while spikes are yet to be computed
    from it; here they are computed from the one that is kept.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    membrane = state.potential - _taken(params, state.potential)
    m, up, down = _fire(params, MembraneState(membrane), current)
    return PotentialState(m), up.astype(m.dtype) - down.astype(m.dtype)


def _integrate_and_fire(
    params: NeuronParams, state: MembraneState, current: jax.Array
) -> tuple[MembraneState, jax.Array]:
    """Fire +1 at m >= v_p; reset by subtraction; nothing below zero.

    Source: the usual neuron of conversion, such as Rueckauer et al. 2017; the double threshold
    with v_n = inf.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m, up, _ = _fire(params, state, current)
    return MembraneState(m - jnp.where(up, params.positive, 0.0)), up.astype(m.dtype)


def _next_positive_count(params: NeuronParams, sent: jax.Array, charge: jax.Array) -> jax.Array:
    """A count, one higher where what it leaves of the charge reaches the threshold."""
    left = charge + (params.initial - sent) * params.positive
    return sent + (left >= params.positive)


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
    neuron and at alpha = 0 the unsigned one (You et al. 2024), up to ties. `most` is their bound
    on the count, which matters once the input has ended.
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
    sent = _next_count(params, state.sent, charge)
    return LedgerState(charge, sent), sent - state.sent


def _next_count(params: NeuronParams, sent: jax.Array, charge: jax.Array) -> jax.Array:
    """A net count, one nearer to what the charge calls for; see `_exact_charge`."""
    # Comparisons with the charge of whole counts, since a division costs more than all the rest.
    side = jnp.where((sent > 0) | ((sent == 0) & (charge >= 0)), 1.0, -1.0)
    quantum = jnp.where(side > 0, params.positive, params.negative)
    count, held = jnp.abs(sent), side * charge
    more = (held >= (count + 1 - params.initial) * quantum) & (count < params.most)
    fewer = held < (count - params.initial) * quantum
    return sent + jnp.where(more, side, jnp.where(fewer, -side, 0.0))


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


def _floored_hard(
    params: NeuronParams, state: MembraneState, current: jax.Array
) -> tuple[MembraneState, jax.Array]:
    """One threshold, reset to 0, and a potential that never falls below 0.

    Source: Cao et al. 2015, whose potential has a floor V_min.
    Choice: V_min = 0, the potential at rest; their constant leak is left out.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m, up, _ = _fire(params, state, current)
    v = jnp.where(up, 0.0, jnp.maximum(m, 0.0))
    return MembraneState(v), up.astype(m.dtype)


def _start_mask(params: NeuronParams, shape: tuple[int, ...]) -> MaskState:
    return MaskState(_rest(params, shape).membrane, jnp.ones(shape))


def _residual_mask(
    params: NeuronParams, state: MaskState, current: jax.Array
) -> tuple[MaskState, jax.Array]:
    """The double threshold, with silence where `revise` found no charge left over.

    Source: SRP, Hao et al. 2023a. A neuron with v <= 0 after the pre-steps sent more than
    its input was worth, or had none, and is muted in the steps that count.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    after, spikes = _double_threshold(params, MembraneState(state.membrane), current)
    return MaskState(after.membrane, state.mask), spikes * state.mask


def _mask_by_residual(params: NeuronParams, state: MaskState) -> MaskState:
    left = state.membrane > 1e-3 * params.positive
    return MaskState(_rest(params, left.shape).membrane, left.astype(state.mask.dtype))


def _start_offset(params: NeuronParams, shape: tuple[int, ...]) -> OffsetState:
    return _watch(_rest(params, shape).membrane)


def _watch(membrane: jax.Array) -> OffsetState:
    nothing = jnp.zeros_like(membrane)
    return OffsetState(membrane, nothing, nothing + jnp.inf, nothing - jnp.inf)


def _offset(
    params: NeuronParams, state: OffsetState, current: jax.Array
) -> tuple[OffsetState, jax.Array]:
    """The double threshold, which keeps what `revise` needs to move its start.

    Source: COS, Hao et al. 2023b.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    m, up, _ = _fire(params, MembraneState(state.membrane), current)
    after, spikes = _double_threshold(params, MembraneState(state.membrane), current)
    return OffsetState(
        after.membrane,
        state.sent + spikes,
        jnp.where(up, jnp.minimum(state.least_fired, m), state.least_fired),
        jnp.where(up, state.most_silent, jnp.maximum(state.most_silent, m)),
    ), spikes


def _move_start(params: NeuronParams, state: OffsetState) -> OffsetState:
    """Start lower by just enough to lose a spike where v < 0, higher to win one where v >= v_p.

    Source: COS; the moves are at least v_p and pass the threshold by v_p / 1000, as in the
    published code.
    """
    theta, rest = params.positive, _rest(params, state.membrane.shape).membrane
    lower = jnp.maximum(state.least_fired - 0.999 * theta, theta)
    higher = jnp.maximum(1.001 * theta - state.most_silent, theta)
    too_many = (state.membrane < 0) & (state.sent > 0)
    too_few = state.membrane >= theta
    return _watch(jnp.where(too_few, rest + higher, jnp.where(too_many, rest - lower, rest)))


DOUBLE_THRESHOLD = NeuronModel(
    _rest, _double_threshold, late=NeuronModel(_rest_before_reset, _late_double_threshold)
)
"""The paper's neuron: two thresholds, reset by subtraction."""

DOUBLE_THRESHOLD_HARD = NeuronModel(_rest, _double_threshold_hard)
"""Two thresholds, reset to zero."""

INTEGRATE_AND_FIRE = NeuronModel(_rest, _integrate_and_fire, next_count=_next_positive_count)
"""One threshold, reset by subtraction, as most other packages have it."""

EXACT_CHARGE = NeuronModel(_empty_ledger, _exact_charge, next_count=_next_count)
"""The neuron whose net spike count follows its net charge."""

AUGMENTED = NeuronModel(_rest, _augmented)
"""Two thresholds, graded spikes (AugMapping)."""

SIGNED_MEMORY = NeuronModel(_start_signed_memory, _signed_memory)
"""One threshold, negative spikes only to take back positive ones (SNM)."""

FLOORED_HARD = NeuronModel(_rest, _floored_hard)
"""One threshold, reset to zero, never below zero (Cao et al. 2015)."""

RESIDUAL_MASK = NeuronModel(_start_mask, _residual_mask, _mask_by_residual)
"""Mutes after its pre-steps what had nothing left over (SRP); without them double-threshold."""

OFFSET = NeuronModel(_start_offset, _offset, _move_start, in_turn=True)
"""Moves v(0) after its pre-steps by what it sent wrongly (COS); without them double-threshold."""

NEURONS = {
    "double-threshold": DOUBLE_THRESHOLD,
    "double-threshold-hard": DOUBLE_THRESHOLD_HARD,
    "exact-charge": EXACT_CHARGE,
    "integrate-and-fire": INTEGRATE_AND_FIRE,
    "augmented": AUGMENTED,
    "signed-memory": SIGNED_MEMORY,
    "floored-hard": FLOORED_HARD,
    "residual-mask": RESIDUAL_MASK,
    "offset": OFFSET,
}
