"""Three ways in which the charge of a spiking function grows, from the same thetas and levels.

"mean": the package's own; the input lasts L timesteps, and a neuron's charge is min(t, L) times
its value on the mean activations so far. "at once": the whole charge counts from the first
timestep on. "sum": the input comes in L parts, and a neuron's charge is its value on the sum of
all spikes so far, as in SpikeZIP. A neuron sends one spike per timestep at most, and all three
settle to the same quantised function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from snnjax.conversion.spiking import Spiking
from snnjax.snn.engine import Simulation, spike_values
from snnjax.snn.neurons import EXACT_CHARGE
from snnjax.snn.simulation import simulate
from snnjax.snn.spike_counts import count_spikes

__all__ = ["FORMS"]


@partial(jax.jit, static_argnames="num_steps")
def simulate_sums(spiking: Spiking, images: jax.Array, *, num_steps: int, parts: int) -> Simulation:
    """Evaluate the function at every timestep on the sums of its input and of its spikes so far.

    Source: You et al. 2024 (SpikeZIP): ST-BIF neurons, and f(X(t)) - f(X(t - 1)) of the sums in
      place of every function f that is not linear. Choice: biases count whole from t = 1 on.

    Args:
      spiking: the function; its input does not last `input_steps` timesteps here.
      images: `[B, ...]`.
      num_steps: T.
      parts: number of equal parts, one per timestep, that the image comes in.
    """
    function = spiking.function._replace(input_steps=1)  # a spike is worth theta / levels
    neurons = function.neurons(spiking.arguments)
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, value: jax.Array) -> jax.Array:
        shapes[name] = value.shape
        return value

    jax.eval_shape(lambda: function.begin(spiking.arguments, images)(note))

    def step(sent, t):
        resume = function.begin(spiking.arguments, images * jnp.minimum(t / parts, 1.0))
        after = {}

        def at(name: str, value: jax.Array) -> jax.Array:
            after[name] = EXACT_CHARGE.next_count(neurons[name], sent[name], value)
            return spike_values(neurons[name], after[name])

        values = resume(at)
        spikes = {name: count_spikes(after[name] - sent[name]) for name in sent}
        return after, (values, spikes)

    rest = {name: jnp.zeros(shape, jnp.float32) for name, shape in shapes.items()}
    times = jnp.arange(1, num_steps + 1, dtype=jnp.float32)
    _, (values, spikes) = jax.lax.scan(step, rest, times)
    counts = {name: of.sum(0) for name, of in spikes.items()}
    sizes = {name: jnp.asarray(math.prod(of[1:])) for name, of in shapes.items()}
    return Simulation(values, jnp.cumsum(sum(spikes.values()), 0), counts, sizes, None)


def simulate_parts(spiking: Spiking, images: jax.Array, *, num_steps: int) -> Simulation:
    """Simulate with an image that comes in as many parts as there are levels."""
    return simulate_sums(spiking, images, num_steps=num_steps, parts=spiking.levels)


FORMS: dict[str, Callable[..., Simulation]] = {
    "mean": simulate,
    "at once": partial(simulate_sums, parts=1),
    "sum": simulate_parts,
}
"""simulation(spiking, images, num_steps=...) by form."""
