"""Neuron models: pairs of pure functions, their parameters, and functions that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_value
from snnjax.snn.neurons.crossing import HARD, Crossing

__all__ = [
    "MembraneState",
    "NeuronModel",
    "NeuronParams",
    "State",
    "charge_of_spikes",
    "crossings",
    "fire",
    "integrate",
    "make_params",
    "rest",
]

State = Any


class NeuronParams(NamedTuple):
    """Parameters of a layer of neurons, each a scalar or broadcastable to `[B, ...]`.

    positive: v_p, positive threshold and charge of one positive spike, in membrane units.
    negative: v_n = v_p / alpha, magnitude of the negative threshold; inf for no negative spikes.
    leak: fraction of the membrane potential kept per timestep, gamma of eq. 18; None keeps all.
    initial: v(0) as a fraction of v_p, dimensionless; in EXACT_CHARGE the rounding offset
      of both sides, below 1.
    most: bound on the magnitude of the net spike count, for neurons that settle; inf for none.
    """

    positive: jax.Array
    negative: jax.Array
    leak: jax.Array | None
    initial: jax.Array
    most: ArrayLike = np.inf


class MembraneState(NamedTuple):
    """membrane: `[B, ...]` membrane potential after reset, v(t)."""

    membrane: jax.Array


class NeuronModel(NamedTuple):
    """A neuron: init(params, shape) -> state; step(params, state, current) -> (state, spikes).

    The other fields are optional abilities; a neuron without one leaves its default.

    revise: `(params, state) -> state`: new initial state, from the state after pre-steps; None for
      a neuron without pre-steps.
    in_turn: True if each layer has its own pre-steps, after the layers before it were revised.
    next_count: `(params, sent, charge) -> sent`: net spike count after a timestep, from the count
      before it and all charge so far; for a neuron that needs no other state if it has no leak. If
      `whole`, a spiking function moves the count by at most one towards the result.
    deferred_reset: the same neuron with the membrane potential before its reset as its only state:
      the next timestep resets it, and no copy of the old potential is needed.
    settles: True if net spike counts stay within `most`, so that the network reaches the counts of
      its quantised ANN some timesteps after the input has ended.
    whole: True if whole thresholds and currents keep all states whole, or halves where v(0) is
      half a threshold, and spikes are -1, 0 or 1.
    charge_count: `(params, up, down) -> count`: net spike count with the same charge as `up`
      positive and `down` negative spikes; for a neuron that conserves charge.
    with_crossing: `crossing -> neuron`: the same neuron with other comparisons, such as those with
      a surrogate gradient; None for a neuron without one.
    """

    init: Callable[[NeuronParams, tuple[int, ...]], State]
    step: Callable[[NeuronParams, State, jax.Array], tuple[State, jax.Array]]
    revise: Callable[[NeuronParams, State], State] | None = None
    in_turn: bool = False
    next_count: Callable[[NeuronParams, jax.Array, jax.Array], jax.Array] | None = None
    deferred_reset: NeuronModel | None = None
    settles: bool = False
    whole: bool = False
    charge_count: Callable[[NeuronParams, jax.Array, jax.Array], jax.Array] | None = None
    with_crossing: Callable[[Crossing], NeuronModel] | None = None


def make_params(
    positive: ArrayLike,
    *,
    alpha: ArrayLike,
    leak: ArrayLike | None = None,
    initial: ArrayLike = 0.5,
) -> NeuronParams:
    """Parameters of a layer, from its positive threshold and the ANN's negative slope.

    Source: He et al. 2024, eq. 16: v_p : v_n = alpha, so v_n = v_p / alpha is the larger.
    Choice: v(0) = v_p / 2, which rounds every rate to the nearest. The paper's formulas have 0,
    which rounds down and biases each layer towards 0; pass `initial=0` for that.

    Args:
      positive: v_p, above 0, in membrane units.
      alpha: slope below zero, in [0, 1]; 0 gives v_n = inf, a neuron with positive
        spikes only.
      leak: gamma, in (0, 1]; None for a neuron that keeps all its charge.
      initial: v(0) / v_p.

    Raises:
      ValueError: if a number that is not traced is out of its range.
    """
    check_value("threshold", positive, lambda x: x > 0, "it above 0")
    check_value(
        "alpha", alpha, lambda x: (x >= 0) & (x <= 1), "it in (0, 1], or 0 for no negative side"
    )
    if leak is not None:
        check_value("leak", leak, lambda x: (x > 0) & (x <= 1), "it in (0, 1]")
        leak = jnp.asarray(leak, jnp.float32)
    check_value("initial potential", initial, np.isfinite, "it finite, a fraction of the threshold")
    positive, alpha = jnp.asarray(positive, jnp.float32), jnp.asarray(alpha, jnp.float32)
    negative = jnp.where(alpha > 0, positive / jnp.where(alpha > 0, alpha, 1.0), jnp.inf)
    return NeuronParams(positive, negative, leak, jnp.asarray(initial, jnp.float32))


def rest(params: NeuronParams, shape: tuple[int, ...]) -> MembraneState:
    """Membrane potentials before the first timestep, v(0)."""
    v = params.initial * params.positive
    return MembraneState(membrane=jnp.broadcast_to(v, shape))


def integrate(params: NeuronParams, membrane: jax.Array, current: jax.Array) -> jax.Array:
    """Membrane potential before reset, m(t) (eqs. 2 and 18).

    Raises:
      AssertionError: while tracing, if `current` and `membrane` differ in shape.
    """
    chex.assert_equal_shape([membrane, current])
    return membrane + current if params.leak is None else params.leak * membrane + current


def crossings(
    params: NeuronParams, m: jax.Array, crossing: Crossing = HARD
) -> tuple[jax.Array, jax.Array]:
    """1 where neurons reach v_p, and 1 where they reach -v_n, else 0 (eqs. 3, 12)."""
    return crossing.reaches(m, 1.0, params.positive), crossing.reaches(-m, 1.0, params.negative)


def fire(params: NeuronParams, m: jax.Array, crossing: Crossing = HARD) -> jax.Array:
    """Ternary spikes {-1, 0, 1} at a membrane potential before reset (eqs. 3, 12)."""
    up, down = crossings(params, m, crossing)
    return up - down


def charge_of_spikes(params: NeuronParams, m: jax.Array, crossing: Crossing = HARD) -> jax.Array:
    """Charge that the soft reset subtracts from a membrane potential (eq. 4)."""
    up, down = crossings(params, m, crossing)
    negative = jnp.where(jnp.isfinite(params.negative), params.negative, 0.0)
    return up * params.positive - down * negative
