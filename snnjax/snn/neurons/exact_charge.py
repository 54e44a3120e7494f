"""The neuron whose net spike count follows its net charge."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from snnjax.snn.neurons.base import NeuronModel, NeuronParams
from snnjax.snn.neurons.crossing import HARD, Crossing

__all__ = ["EXACT_CHARGE", "ChargeState"]


class ChargeState(NamedTuple):
    """charge: `[B, ...]` sum of the currents so far; sent: `[B, ...]` net spike count."""

    charge: jax.Array
    sent: jax.Array


def _init(params: NeuronParams, shape: tuple[int, ...]) -> ChargeState:
    del params
    return ChargeState(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32))


def _step(
    params: NeuronParams, state: ChargeState, current: jax.Array, crossing: Crossing = HARD
) -> tuple[ChargeState, jax.Array]:
    """Send at most one spike, towards the net spike count that the charge so far is worth.

    With v_n != v_p a pair of opposite spikes does not cancel on a membrane: it leaves
    v_n - v_p behind. This neuron keeps the charge and the count apart, so its firing
    rate is a function of the net charge alone.

    Source: derived for this package. At alpha = 1 it is SpikeZIP's symmetric ST-BIF
    neuron and at alpha = 0 the unsigned one (You et al. 2024), up to ties. `most` is their bound
    on the count, which matters once the input has ended.
    Choice: `initial` = 1/2 rounds the charge to whole spikes, on both sides; 0 floors it.
    The leak acts on the charge not sent as spikes, as on a membrane potential; spikes are not
    taken back.

    Raises:
      AssertionError: while tracing, if `current` and the state differ in shape.
    """
    chex.assert_equal_shape([state.charge, current])
    charge = state.charge
    if params.leak is not None:
        negative = jnp.where(jnp.isfinite(params.negative), params.negative, 0.0)
        unsent = state.charge - state.sent * jnp.where(state.sent >= 0, params.positive, negative)
        charge = charge - (1 - params.leak) * unsent
    charge = charge + current
    sent = _next_count(params, state.sent, charge, crossing)
    return ChargeState(charge, sent), sent - state.sent


def _next_count(
    params: NeuronParams, sent: jax.Array, charge: jax.Array, crossing: Crossing = HARD
) -> jax.Array:
    """Net count, moved by at most one towards the count that the charge is worth; see `_step`."""
    # Compare with the charge of whole counts: a division costs more than all the rest.
    is_up = (sent > 0) | ((sent == 0) & (charge >= 0))
    threshold = jnp.where(is_up, params.positive, params.negative)
    count, held = jnp.where(is_up, sent, -sent), jnp.where(is_up, charge, -charge)
    more = crossing.reaches(held, count + 1 - params.initial, threshold) * (count < params.most)
    fewer = crossing.is_below(held, count - params.initial, threshold)
    away = more - fewer
    return sent + jnp.where(is_up, away, -away)


def _charge_count(params: NeuronParams, up: jax.Array, down: jax.Array) -> jax.Array:
    """The net count itself: opposite spikes cancel."""
    del params
    return up - down


def _with_crossing(crossing: Crossing) -> NeuronModel:
    return NeuronModel(
        _init, partial(_step, crossing=crossing), settles=True, whole=True,
        next_count=partial(_next_count, crossing=crossing), charge_count=_charge_count,
        with_crossing=_with_crossing,
    )  # fmt: skip


EXACT_CHARGE = _with_crossing(HARD)
"""The neuron whose net spike count follows its net charge."""
