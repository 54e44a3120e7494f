"""The simulation of a function with neurons at its sites, to the end or with early exit."""

from __future__ import annotations

import math
from functools import partial
from typing import Protocol, cast

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_count
from snnjax.runtime.images import FUNCTION_RANKS
from snnjax.runtime.ranges import STEPS
from snnjax.snn.encoding import Encoding
from snnjax.snn.engine import MeanFunction, Observer, Params, Simulation, Task
from snnjax.snn.exit_loop import Answer, check_margin, run_until
from snnjax.snn.gradients import choose_recomputed, scan_recomputed
from snnjax.snn.means import GAIN, make_loop
from snnjax.snn.neurons import NeuronModel
from snnjax.snn.readout import ACCUMULATE
from snnjax.snn.simulation_arguments import check_models, check_stimulus
from snnjax.snn.stimulus import Stimulus

__all__ = [
    "ParametrisedFunction",
    "function_task",
    "simulate_function",
    "simulate_function_until",
]


class ParametrisedFunction(Protocol):
    """A function with neurons and its parameters, such as `snnjax.spike` returns."""

    @property
    def function(self) -> MeanFunction:
        """The static part."""

    @property
    def arguments(self) -> Params:
        """The traced part.

        Raises:
          ValueError: if the parameters are not those of the function.
        """


def function_task(
    spiking: ParametrisedFunction, neuron: NeuronModel, encoding: Encoding, options: dict[str, bool]
) -> Task:
    """Return the static part of a function's simulation.

    Args:
      spiking: what `snnjax.spike` returned.
      neuron: of all sites.
      encoding: of the images.
      options: by name, for each option of a network's simulation, True if it is given.

    Raises:
      ValueError: if `spiking` is something else, or an option is given that has no effect.
    """
    function = getattr(spiking, "function", None)
    if not callable(getattr(function, "begin", None)):
        raise ValueError(
            f"a {type(spiking).__name__} needs params and images: pass network, params, images"
            "; only what snnjax.spike returned goes without params"
        )
    check_models(neuron, encoding)
    for name, given in options.items():
        if given:
            raise ValueError(f"{name} has no effect on a function; leave it out")
    function = cast(MeanFunction, function)
    return Task(function, neuron, encoding, ACCUMULATE, function.input_steps)  # type: ignore[arg-type]


def simulate_function(
    params: Params,
    stimulus: Stimulus,
    observe: Observer | None,
    *,
    task: Task,
    num_steps: int,
    chunk_steps: int | None = None,
) -> Simulation:
    """Simulate a function; see `simulation.simulate`.

    Args:
      params: `arguments` of the function, which are checked.
      stimulus: images, keys and noise.
      observe: applied at every timestep, or None.
      task: from `function_task`.
      num_steps: T.

    Raises:
      ValueError: if `num_steps` is below 1, the images are no finite floats, a key is missing, or
        the function cannot be spiking for images of that shape.
    """
    stimulus, num_steps = _checked(stimulus, task, num_steps)
    if chunk_steps is None:
        chunk_steps = choose_recomputed(num_steps)
    chunk_steps = check_count("chunk_steps", chunk_steps)
    return _simulate(
        params, stimulus, observe, task=task, num_steps=num_steps, chunk_steps=chunk_steps
    )


def simulate_function_until(
    params: Params, stimulus: Stimulus, margin: ArrayLike, *, task: Task, num_steps: int
) -> Answer:
    """Simulate a function with early exit; see `early_exit.simulate_until`.

    Args:
      params: `arguments` of the function, which are checked.
      stimulus: images, keys and noise.
      margin: exit threshold, or `[B]`.
      task: from `function_task`.
      num_steps: T.

    Raises:
      ValueError: if the function returns something else than one array of logits `[B, K]`, as
        `check_margin`, or as in `simulate_function`.
    """
    stimulus, num_steps = _checked(stimulus, task, num_steps)
    margin = check_margin(margin, stimulus.images.shape[0])
    return _simulate_until(params, stimulus, margin, task=task, num_steps=num_steps)


def _checked(stimulus: Stimulus, task: Task, num_steps: int) -> tuple[Stimulus, int]:
    """Check the arguments of a function's simulation; return those that have many forms in one."""
    stimulus = check_stimulus(stimulus, GAIN, task.encoding, FUNCTION_RANKS)
    return stimulus, check_count("num_steps", num_steps, most=STEPS.highest)


@partial(jax.jit, static_argnames=("task", "num_steps", "chunk_steps"))
def _simulate(
    params: Params,
    stimulus: Stimulus,
    observe: Observer | None,
    *,
    task: Task,
    num_steps: int,
    chunk_steps: int,
) -> Simulation:
    loop = make_loop(params, stimulus, task, observe, num_steps=num_steps)
    times = jnp.arange(num_steps, dtype=jnp.int32)
    if task.gradient:
        chunk = partial(jax.lax.scan, loop.step, unroll=True)
        carry, parts = scan_recomputed(chunk, loop.carry, times, chunk_steps)
        outputs = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    else:
        carry, outputs = jax.lax.scan(loop.step, loop.carry, times)
    sizes = {name: jnp.asarray(math.prod(of), jnp.int32) for name, of in loop.shapes.items()}
    return Simulation(outputs.values, outputs.spikes, carry.counts, sizes, outputs.observed)


@partial(jax.jit, static_argnames=("task", "num_steps"))
def _simulate_until(
    params: Params, stimulus: Stimulus, margin: jax.Array, *, task: Task, num_steps: int
) -> Answer:
    loop = make_loop(params, stimulus, task, num_steps=num_steps)
    outputs = loop.carry.neurons.values
    if not isinstance(outputs, jax.Array) or outputs.ndim != 2 or not outputs.shape[1]:
        shapes = jax.tree.map(lambda of: of.shape, outputs)
        raise ValueError(
            f"{task.network.name} returns {shapes}; want one array of logits [B, K], whose margin"
            " stops an image: return that output alone from apply"
        )
    return run_until(loop.step, loop.carry, margin, num_steps=num_steps)
