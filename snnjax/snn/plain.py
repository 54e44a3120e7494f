"""The plain engine: the equations of a spiking network, one timestep after the other.

It is the definition of what a simulation computes. The fast engine is tested against it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from snnjax.snn.engine import (
    Carry,
    Loop,
    Observer,
    Outputs,
    Params,
    Task,
    neuron_params,
)
from snnjax.snn.spike_counts import count_spikes
from snnjax.snn.stimulus import Stimulus, frame
from snnjax.snn.whole_numbers import whole_input

__all__ = ["make_loop"]


def make_loop(
    params: Params, stimulus: Stimulus, task: Task, observe: Observer | None = None
) -> Loop:
    """Initial carry and scan body of a simulation, for every neuron on every platform.

    Source: He et al. 2024, eqs. 2-4 and figure 3: at each timestep the input passes all layers;
    each layer of neurons integrates its current and sends its spikes on at once.

    Args:
      params: what `conversion.convert` returned.
      stimulus: images, keys and noise.
      task: network, neuron, encoding and readout.
      observe: applied to the input and the spikes of every timestep; None for nothing.

    Raises:
      KeyError: if the parameters belong to another network.
      TypeError: from JAX, if shapes do not fit.
    """
    neurons, output = _initial_neurons(params, stimulus, task)
    carry = Carry(
        neurons={path: state for path, (state, _, _) in neurons.items()},
        readout=task.readout.init(params, output),
        counts={path: jnp.zeros(output[0], jnp.int32) for path in neurons},
    )
    one = partial(_timestep, params, stimulus, task, observe)

    def body(carry: Carry, times: jax.Array, shown: bool) -> tuple[Carry, Outputs]:
        return jax.lax.scan(lambda carry, t: one(carry, t, shown), carry, times)

    def revise(states: Any, after: Any, paths: tuple[str, ...]) -> Any:
        assert task.neuron.revise is not None
        return states | {p: task.neuron.revise(neurons[p][1], after[p]) for p in paths}

    return Loop(carry, body, revise, {path: shape for path, (_, _, shape) in neurons.items()})


def _initial_neurons(
    params: Params, stimulus: Stimulus, task: Task
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Initial state, parameters and shape of each layer of neurons, by path; and the shape `(B, K)`
    of the output.
    """
    neurons: dict[str, Any] = {}

    def fire(path: str, numbers: Params, current: jax.Array) -> jax.Array:
        own = neuron_params(numbers, task.shown_steps)
        neurons[path] = task.neuron.init(own, current.shape), own, current.shape[1:]
        return current

    x = jnp.zeros_like(stimulus.images)
    return neurons, task.network.propagate(params["layers"], x, fire).shape


def _timestep(
    params: Params,
    stimulus: Stimulus,
    task: Task,
    observe: Observer | None,
    carry: Carry,
    t: jax.Array,
    shown: bool,
) -> tuple[Carry, Outputs]:
    """Compute timestep t: input, all layers, readout."""
    elapsed = 1.0 if shown else 0.0  # after the input has ended, no constant current flows
    states, spikes = {}, {}

    def fire(path: str, numbers: Params, current: jax.Array) -> jax.Array:
        states[path], spikes[path] = task.neuron.step(
            neuron_params(numbers, task.shown_steps),
            carry.neurons[path],
            current + elapsed * numbers["shift"],
        )
        return spikes[path]

    x = elapsed * frame(stimulus, params["gain"], t, task.encoding)
    sent = whole_input(params, x)
    current = task.network.propagate(params["layers"], sent, fire, elapsed)
    readout, values = task.readout.step(params, carry.readout, current)
    counts = {path: carry.counts[path] + count_spikes(s) for path, s in spikes.items()}
    total = sum(counts.values(), jnp.zeros(len(x), jnp.int32))
    observed = None if observe is None else observe(x, spikes)
    return Carry(states, readout, counts), Outputs(values, total, observed)
