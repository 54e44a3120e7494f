"""Timesteps on cumulative spike counts, for neurons that need no other state.

All maps between two layers of neurons are linear, so they map the cumulative spike counts of one
layer to the cumulative charge of the next. A neuron whose count follows from its previous count and
its charge then reads and writes one number instead of three, and rounding errors do not add up over
time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnjax.networks.architecture import propagate
from snnjax.snn.engine import Params
from snnjax.snn.fast.dynamics import Problem, image_major, time_major
from snnjax.snn.gradients import unroll
from snnjax.snn.whole_numbers import whole_input

__all__ = ["CountState", "advance", "applies", "rest"]

Spikes = dict[str, jax.Array]


class CountState(NamedTuple):
    """State of all neurons.

    sent: `[B, ...]` net spike count of each layer, by path.
    reached: `[B, K]` sum so far of the currents into the readout.
    frames: `[B, H, W, C]` sum so far of the inputs; None if the stem's current is constant.
    """

    sent: Spikes
    reached: jax.Array
    frames: jax.Array | None


def applies(problem: Problem) -> bool:
    """True if the neuron has `next_count` and revises nothing, and no layer of neurons leaks."""
    neuron = problem.task.neuron
    without_leak = all(numbers.leak is None for numbers in problem.numbers.values())
    return neuron.next_count is not None and neuron.revise is None and without_leak


def rest(problem: Problem) -> CountState:
    """State before the first timestep."""
    batch, varies = problem.output[0], problem.stem_current is None
    return CountState(
        {path: jnp.zeros((batch, *shape), jnp.float32) for path, shape in problem.shapes.items()},
        jnp.zeros(problem.output, jnp.float32),
        jnp.zeros_like(problem.stimulus.images) if varies else None,
    )


def advance(
    problem: Problem, state: CountState, frames: jax.Array, times: jax.Array, shown: bool
) -> tuple[CountState, jax.Array, Spikes]:
    """Compute several timesteps layer by layer; arguments and results as in `by_spikes.advance`.

    Constant currents flow in the first `shown_steps` timesteps; `times` count from the start.
    """
    del shown
    next_count = problem.task.neuron.next_count
    assert next_count is not None
    count = len(times)
    elapsed = jnp.minimum(times + 1, problem.task.shown_steps or jnp.inf).astype(frames.dtype)
    if state.frames is not None:
        x = state.frames + jnp.cumsum(whole_input(problem.params, frames), 0)
    else:
        stem = problem.stem_current
        assert stem is not None
        x = elapsed.reshape(-1, *[1] * stem.ndim) * stem
    after, spikes = {}, {}

    def fire(path: str, numbers: Params, charge: jax.Array) -> jax.Array:
        def one(sent: jax.Array, at: tuple[jax.Array, jax.Array]) -> Any:
            charge, time = at
            sent = next_count(problem.numbers[path], sent, charge + time * numbers["shift"])
            return sent, sent

        before = state.sent[path]
        after[path], sent = jax.lax.scan(
            one, before, (time_major(charge, count), elapsed), unroll=unroll(problem.task, count)
        )
        spikes[path] = jnp.diff(sent, axis=0, prepend=before[None])
        return image_major(sent)

    reached = time_major(
        propagate(
            problem.layers, problem.params["layers"], image_major(x), fire,
            elapsed=jnp.tile(elapsed, problem.output[0]), start=problem.start,
        ),
        count,
    )  # fmt: skip
    currents = jnp.diff(reached, axis=0, prepend=state.reached[None])
    total = None if state.frames is None else x[-1]
    return CountState(after, reached[-1], total), currents, spikes
