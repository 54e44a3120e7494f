"""Timesteps on spikes, for every neuron."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from snnjax.networks.architecture import propagate
from snnjax.snn.engine import Params
from snnjax.snn.fast.dynamics import Problem, image_major, time_major
from snnjax.snn.gradients import unroll
from snnjax.snn.whole_numbers import whole_input

__all__ = ["advance", "rest"]

Spikes = dict[str, jax.Array]


def rest(problem: Problem) -> dict[str, Any]:
    """States of the neurons before the first timestep, by path."""
    neuron, batch = _neuron(problem), problem.output[0]
    return {
        path: neuron.init(problem.numbers[path], (batch, *shape))
        for path, shape in problem.shapes.items()
    }


def advance(
    problem: Problem, state: dict[str, Any], frames: jax.Array, times: jax.Array, shown: bool
) -> tuple[dict[str, Any], jax.Array, Spikes]:
    """Compute several timesteps layer by layer: all timesteps of a layer, then the next layer.

    The spikes equal those of one timestep after the other, because no layer feeds back. The linear
    map of a layer takes all timesteps as one batch; only its neurons take them one by one.

    Args:
      problem: the simulation.
      state: states of the neurons, by path.
      frames: input at each timestep, `[n, B, H, W, C]`.
      times: the timesteps, `[n]`.
      shown: False after the input has ended.

    Returns:
      The states after these timesteps, the current into the readout `[n, B, K]`, and spikes
      `[n, B, ...]` by path.
    """
    count, elapsed = len(times), 1.0 if shown else 0.0
    after, spikes = {}, {}
    x = whole_input(problem.params, frames)
    if problem.stem_current is not None:
        x = elapsed * jnp.broadcast_to(problem.stem_current, (count, *problem.stem_current.shape))

    def fire(path: str, numbers: Params, current: jax.Array) -> jax.Array:
        after[path], spikes[path] = jax.lax.scan(
            partial(_neuron(problem).step, problem.numbers[path]),
            state[path],
            time_major(current + elapsed * numbers["shift"], count),
            unroll=unroll(problem.task, count),
        )
        return image_major(spikes[path])

    current = propagate(
        problem.layers, problem.params["layers"], image_major(x), fire, elapsed=elapsed,
        start=problem.start,
    )  # fmt: skip
    return after, time_major(current, count), spikes


def _neuron(problem: Problem) -> Any:
    """The neuron with deferred reset, if it has one: that needs fewer copies of the state."""
    return problem.task.neuron.deferred_reset or problem.task.neuron
