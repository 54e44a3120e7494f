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
from jax.typing import DTypeLike

from snnjax.snn.engine import (
    Carry,
    MeanFunction,
    Observer,
    Outputs,
    Params,
    Resume,
    Task,
    spike_values,
)
from snnjax.snn.neurons import NeuronModel, NeuronParams
from snnjax.snn.spike_counts import count_spikes
from snnjax.snn.stimulus import Stimulus, frame

__all__ = ["GAIN", "FunctionLoop", "make_loop"]

PARTS = 8
"""Parts of an axis that are added before their spikes are counted."""

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
        function = cast(MeanFunction, self.task.network)
        return function.begin(self.params, x, gradient=self.task.gradient)


class Neurons(NamedTuple):
    """State of a site's neurons, `[B, ...]` each.

    sent: net spike count; whole numbers as small as they can be, which costs the least memory.
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
    params: Params,
    stimulus: Stimulus,
    task: Task,
    observe: Observer | None = None,
    *,
    num_steps: int,
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
      num_steps: T, the largest number of timesteps.

    Raises:
      ValueError: if the function cannot be spiking for images of that shape.
    """
    numbers = cast(MeanFunction, task.network).neurons(params)
    problem = Problem(params, stimulus, task, observe, numbers, None)
    resume = problem.begin(frame(stimulus, GAIN, 0, task.encoding))
    varies = task.encoding.varies or stimulus.noise is not None
    if not varies:
        problem = problem._replace(resume=resume)
    sites, outputs = _initial(resume, numbers, task.neuron, _count_dtype(task, num_steps))
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
    resume: Resume, numbers: dict[str, NeuronParams], neuron: NeuronModel, dtype: DTypeLike
) -> tuple[dict[str, Neurons], Any]:
    """State of all neurons before the first timestep, by site; and the outputs' shapes.

    Args:
      resume: the function; numbers: parameters of the neurons, by site; neuron: their model.
      dtype: of their net counts.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, value: jax.Array) -> jax.Array:
        shapes[name] = value.shape
        return value

    outputs = jax.eval_shape(lambda: resume(note))
    sites = {}
    for name, shape in shapes.items():
        sites[name] = Neurons(jnp.zeros(shape, dtype))
        if neuron.next_count is None:
            charge, model = jnp.zeros(shape, jnp.float32), neuron.init(numbers[name], shape)
            sites[name] = sites[name]._replace(charge=charge, model=model)
    return sites, outputs


def _count_dtype(task: Task, num_steps: int) -> DTypeLike:
    """Type of net counts after T timesteps.

    It is the smallest that holds one whole spike in each, if the neuron model counts them. Spikes
    of other models are added as they are. Whole numbers have no gradient.
    """
    if task.gradient or not task.neuron.whole or task.neuron.next_count is None:
        return jnp.float32
    return next(of for of in (jnp.int8, jnp.int16, jnp.int32) if num_steps <= jnp.iinfo(of).max)


def _step(problem: Problem, carry: Carry, t: jax.Array) -> tuple[Carry, Outputs]:
    """Timestep t; a silent network stays as it is."""
    task, before = problem.task, carry.neurons
    shown = t < task.shown_steps
    x = jnp.where(shown, frame(problem.stimulus, GAIN, t, task.encoding), 0)
    elapsed = jnp.minimum(t + 1, task.shown_steps).astype(jnp.float32)
    compute = partial(_timestep, problem, x, elapsed)
    if task.gradient:  # in a branch XLA computes the gradients of convolutions slowly
        after = compute(before)
    else:
        after = jax.lax.cond(before.silent, lambda state: state, compute, before)
    # Behind the branch the net counts lie in memory; in it XLA would compute them once more.
    spikes = {name: of.sent - before.sites[name].sent for name, of in after.sites.items()}
    sent = {name: _count(of) for name, of in spikes.items()}
    counts = {name: carry.counts[name] + of for name, of in sent.items()}
    silent = jnp.logical_not(shown) & (sum(of.sum() for of in sent.values()) == 0)
    carry = Carry(after._replace(silent=silent), None, counts)
    total = sum(counts.values(), jnp.zeros(x.shape[0], jnp.int32))
    observed = None
    if problem.observe is not None:
        spikes = {name: of.astype(jnp.float32) for name, of in spikes.items()}
        observed = problem.observe(x, spikes)
    return carry, Outputs(after.values, total, observed)


def _count(spikes: jax.Array) -> jax.Array:
    """Spike count of each image, both signs, int32 `[B]`.

    XLA adds whole arrays faster than it reduces one, so the first axis that is long enough is
    folded into one of its PARTS before.

    Args:
      spikes: `[B, ...]`, magnitudes up to 1.
    """
    sent = jnp.abs(spikes)
    place = next((i for i, size in enumerate(sent.shape) if i and size >= PARTS), None)
    if place is None or not jnp.issubdtype(sent.dtype, jnp.integer):
        return count_spikes(sent)
    length = sent.shape[place] // PARTS
    first, *parts, rest = jnp.split(sent, [length * (i + 1) for i in range(PARTS)], place)
    return count_spikes(sum(parts, first)) + count_spikes(rest)


def _timestep(problem: Problem, x: jax.Array, elapsed: jax.Array, state: State) -> State:
    """Evaluate the function once; x: input of this timestep; elapsed: timesteps with input."""
    frames, resume = state.frames, problem.resume
    if frames is not None:
        frames = frames + x
        resume = problem.begin(frames / elapsed)
    assert resume is not None
    sites = {}

    def at(name: str, value: jax.Array) -> jax.Array:
        own = problem.numbers[name]
        charge = elapsed * value.astype(jnp.float32)
        sites[name] = _fire(problem.task.neuron, own, state.sites[name], charge)
        mean = spike_values(own, sites[name].sent.astype(jnp.float32)) / elapsed
        # NaN sends no spike; it must not become a 0 without a word.
        return jnp.where(jnp.isnan(value), value, mean.astype(value.dtype))

    return State(sites, frames, resume(at), state.silent)


def _fire(neuron: NeuronModel, params: NeuronParams, state: Neurons, charge: jax.Array) -> Neurons:
    """Send at most one spike per neuron, given the charge so far."""
    if neuron.next_count is None:
        assert state.charge is not None
        model, spikes = neuron.step(params, state.model, charge - state.charge)
        return Neurons(state.sent + spikes.astype(jnp.float32), charge, model)
    before, dtype = state.sent.astype(jnp.float32), state.sent.dtype
    count = neuron.next_count(params, before, charge)
    if not jnp.issubdtype(dtype, jnp.integer):
        return Neurons(count.astype(dtype))
    # XLA compares floats much faster than it rounds them to 8 bits.
    return Neurons(state.sent + (count > before).astype(dtype) - (count < before).astype(dtype))
