"""Initial carry and scan body of the fast engine."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from snnjax.snn.engine import Carry, Loop, Observer, Outputs, Params, Task
from snnjax.snn.fast import by_counts, by_spikes
from snnjax.snn.fast.dynamics import Problem, make_problem
from snnjax.snn.spike_counts import count_spikes
from snnjax.snn.stimulus import Stimulus, frame

__all__ = ["make_loop"]


def make_loop(
    params: Params, stimulus: Stimulus, task: Task, observe: Observer | None = None
) -> Loop:
    """Initial carry and scan body of a simulation; arguments as in `plain.make_loop`.

    The spikes equal those of the plain engine, except where rounding decides: several timesteps at
    once sum currents in another order.

    Args:
      params: what `conversion.convert` returned; kernels may be prepared.
      stimulus: images, keys and noise.
      task: network of layers, neuron, encoding and readout.
      observe: applied to the input and the spikes of every timestep; None for nothing.

    Raises:
      KeyError: if the parameters belong to another network.
      ValueError: if the images do not fit the parameters.
    """
    problem = make_problem(params, stimulus, task)
    way = by_counts if by_counts.applies(problem) else by_spikes
    carry = Carry(
        neurons=way.rest(problem),
        readout=task.readout.init(params, problem.output),
        counts={path: jnp.zeros(problem.output[0], jnp.int32) for path in problem.shapes},
    )

    def body(carry: Carry, times: jax.Array, shown: bool) -> tuple[Carry, Outputs]:
        frames = _frames(problem, times, shown)
        neurons, currents, spikes = way.advance(problem, carry.neurons, frames, times, shown)
        readout, values = jax.lax.scan(partial(task.readout.step, params), carry.readout, currents)
        sent = {path: jax.vmap(count_spikes)(of) for path, of in spikes.items()}
        nothing = jnp.zeros((len(times), problem.output[0]), jnp.int32)
        so_far = (carry.counts[path] + jnp.cumsum(n, 0, jnp.int32) for path, n in sent.items())
        total = sum(so_far, nothing)
        counts = {path: carry.counts[path] + n.sum(0, dtype=jnp.int32) for path, n in sent.items()}
        observed = None
        if observe is not None:
            observed = jax.lax.map(lambda of: observe(*of), (frames, spikes))
        return Carry(neurons, readout, counts), Outputs(values, total, observed)

    def revise(states: Any, after: Any, paths: tuple[str, ...]) -> Any:
        assert task.neuron.revise is not None
        return states | {p: task.neuron.revise(problem.numbers[p], after[p]) for p in paths}

    return Loop(carry, body, revise, problem.shapes)


def _frames(problem: Problem, times: jax.Array, shown: bool) -> jax.Array:
    """Input at each of n timesteps, `[n, B, H, W, C]`; zeros after it has ended."""
    images = problem.stimulus.images
    if not shown:
        return jnp.zeros((len(times), *images.shape), images.dtype)
    gain, encoding = problem.params["gain"], problem.task.encoding
    return jax.vmap(lambda t: frame(problem.stimulus, gain, t, encoding))(times)
