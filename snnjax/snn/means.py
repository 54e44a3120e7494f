"""The engine of functions that need not be linear between their neurons.

At every timestep the function is evaluated once. The charge that has reached a neuron is E times
the value that the function would have on the mean activations so far, where E counts the
timesteps with input. Each neuron sends spikes towards that charge, and the function goes on with
the mean of the spikes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.snn.engine import (
    Carry,
    MeanFunction,
    Observer,
    Outputs,
    Params,
    Resume,
    Spikes,
    Task,
    count_spikes,
    spike_values,
)
from snnjax.snn.neurons import NeuronModel, NeuronParams
from snnjax.snn.stimulus import Stimulus, frame

__all__ = ["GAIN", "FunctionLoop", "make_loop"]

GAIN = np.float32(1)
"""Gain of the encoding: the function reads images as they are."""


class Problem(NamedTuple):
    """Arguments of a simulation, and values that are computed once before its first timestep.

    params, stimulus, task, observe: arguments of the engine.
    numbers: parameters of the neurons, by site.
    resume: the function beyond what a constant input alone decides; None if the input varies.
    """

    params: Params
    stimulus: Stimulus
    task: Task
    observe: Observer | None
    numbers: dict[str, NeuronParams]
    resume: Resume | None

    def begin(self, x: jax.Array) -> Resume:
        """Compute what no site feeds, from the mean input."""
        return cast(MeanFunction, self.task.network).begin(self.params, x)


class Neurons(NamedTuple):
    """State of a site's neurons, `[B, ...]` each.

    sent: net spike count.
    charge: so far, and model: state of the neuron model; None for neurons whose next count
      follows from their count and charge.
    """

    sent: jax.Array
    charge: jax.Array | None = None
    model: Any = None


class State(NamedTuple):
    """State between two timesteps.

    sites: by name.
    frames: sum of the inputs so far; None if the input is constant.
    values: outputs of the last timestep.
    silent: True if the last timestep had no input and no spike, for all images.
    """

    sites: dict[str, Neurons]
    frames: jax.Array | None
    values: Any
    silent: jax.Array


class FunctionLoop(NamedTuple):
    """A simulation of a function.

    carry: before the first timestep; step: `step(carry, t) -> (carry, outputs)`, a scan body;
    shapes: of the neurons of one image, by site.
    """

    carry: Carry
    step: Callable[[Carry, jax.Array], tuple[Carry, Outputs]]
    shapes: dict[str, tuple[int, ...]]


def make_loop(
    params: Params, stimulus: Stimulus, task: Task, observe: Observer | None = None
) -> FunctionLoop:
    """Initial carry and scan body of a simulation.

    With the exact-charge neuron the outputs settle, after the input has ended, to those of the
    function with quantised values at its sites. A timestep after a silent one is not computed: it
    would equal it.

    Source: derived for this package; for linear functions it is the plain engine's simulation.

    Args:
      params: of the function.
      stimulus: images, keys and noise.
      task: `engine.MeanFunction`, neuron and encoding. The values are the function's outputs.
      observe: applied to the input and the spikes of every timestep; None for nothing.

    Raises:
      ValueError: if the function cannot be spiking for images of that shape.
    """
    numbers = cast(MeanFunction, task.network).neurons(params)
    problem = Problem(params, stimulus, task, observe, numbers, None)
    resume = problem.begin(frame(stimulus, GAIN, 0, task.encoding))
    varies = task.encoding.varies or stimulus.noise is not None
    if not varies:
        problem = problem._replace(resume=resume)
    sites, outputs = _initial(resume, numbers, task.neuron)
    batch = stimulus.images.shape[0]
    carry = Carry(
        State(
            sites, jnp.zeros_like(stimulus.images) if varies else None,
            jax.tree.map(lambda of: jnp.zeros(of.shape, of.dtype), outputs), jnp.asarray(False),
        ),
        None,
        {name: jnp.zeros(batch, jnp.int32) for name in sites},
    )  # fmt: skip

    shapes = {name: of.sent.shape[1:] for name, of in sites.items()}
    return FunctionLoop(carry, partial(_step, problem), shapes)


def _initial(
    resume: Resume, numbers: dict[str, NeuronParams], neuron: NeuronModel
) -> tuple[dict[str, Neurons], Any]:
    """State of all neurons before the first timestep, by site; and the outputs' shapes."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, value: jax.Array) -> jax.Array:
        shapes[name] = value.shape
        return value

    outputs = jax.eval_shape(lambda: resume(note))
    sites = {}
    for name, shape in shapes.items():
        sites[name] = Neurons(jnp.zeros(shape, jnp.float32))
        if neuron.next_count is None:
            charge, model = jnp.zeros(shape, jnp.float32), neuron.init(numbers[name], shape)
            sites[name] = sites[name]._replace(charge=charge, model=model)
    return sites, outputs


def _step(problem: Problem, carry: Carry, t: jax.Array) -> tuple[Carry, Outputs]:
    """Timestep t; it repeats the last one if the network is silent."""
    task = problem.task
    shown = t < task.shown_steps
    x = jnp.where(shown, frame(problem.stimulus, GAIN, t, task.encoding), 0)
    elapsed = jnp.minimum(t + 1, task.shown_steps).astype(jnp.float32)

    def compute(carry: Carry) -> tuple[Carry, Outputs]:
        after, outputs = _timestep(problem, carry, x, elapsed)
        sent = sum((after.counts[name] - carry.counts[name]).sum() for name in after.counts)
        silent = jnp.logical_not(shown) & (sent == 0)
        return after._replace(neurons=after.neurons._replace(silent=silent)), outputs

    def repeat(carry: Carry) -> tuple[Carry, Outputs]:
        spikes = {name: jnp.zeros_like(of.sent) for name, of in carry.neurons.sites.items()}
        return carry, _outputs(problem, carry, x, spikes)

    return jax.lax.cond(carry.neurons.silent, repeat, compute, carry)


def _timestep(
    problem: Problem, carry: Carry, x: jax.Array, elapsed: jax.Array
) -> tuple[Carry, Outputs]:
    """Evaluate the function once; x: input of this timestep; elapsed: timesteps with input."""
    state: State = carry.neurons
    frames, resume = state.frames, problem.resume
    if frames is not None:
        frames = frames + x
        resume = problem.begin(frames / elapsed)
    assert resume is not None
    after, spikes = {}, {}

    def at(name: str, value: jax.Array) -> jax.Array:
        own, before = problem.numbers[name], state.sites[name]
        after[name] = _fire(problem.task.neuron, own, before, elapsed * value.astype(jnp.float32))
        spikes[name] = after[name].sent - before.sent
        mean = spike_values(own, after[name].sent) / elapsed
        # NaN sends no spike; it must not become a 0 without a word.
        return jnp.where(jnp.isnan(value), value, mean.astype(value.dtype))

    values = resume(at)
    counts = {name: carry.counts[name] + count_spikes(spikes[name]) for name in carry.counts}
    carry = Carry(State(after, frames, values, state.silent), None, counts)
    return carry, _outputs(problem, carry, x, spikes)


def _outputs(problem: Problem, carry: Carry, x: jax.Array, spikes: Spikes) -> Outputs:
    """Results of a timestep, given the carry after it."""
    total = sum(carry.counts.values(), jnp.zeros(x.shape[0], jnp.int32))
    observed = None if problem.observe is None else problem.observe(x, spikes)
    return Outputs(carry.neurons.values, total, observed)


def _fire(neuron: NeuronModel, params: NeuronParams, state: Neurons, charge: jax.Array) -> Neurons:
    """Send at most one spike per neuron, given the charge so far."""
    if neuron.next_count is not None:
        return Neurons(neuron.next_count(params, state.sent, charge))
    assert state.charge is not None
    model, spikes = neuron.step(params, state.model, charge - state.charge)
    return Neurons(state.sent + spikes, charge, model)
