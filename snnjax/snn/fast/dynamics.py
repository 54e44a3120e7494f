"""A simulation with all that the fast engine computes before its first timestep."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from snnjax.networks.architecture import Network, propagate
from snnjax.networks.layers import Activation, Block, Layer
from snnjax.snn.engine import Params, Task, neuron_params
from snnjax.snn.neurons import NeuronParams
from snnjax.snn.stimulus import Stimulus, frame

__all__ = ["Problem", "image_major", "make_problem", "stem_length", "time_major"]


class Problem(NamedTuple):
    """A simulation with all that is computed once before its first timestep.

    params, stimulus, task: as the engine got them.
    numbers: of each layer of neurons, by path.
    shapes: of each layer of neurons for one image, by path.
    output: shape `(B, K)` of the current into the readout.
    start: the layer that timesteps begin with: layers before it are the stem, which a constant
      input passes once.
    stem_current: `[B, ...]` current of the stem in one timestep; None where the input varies.
    """

    params: Params
    stimulus: Stimulus
    task: Task
    numbers: dict[str, NeuronParams]
    shapes: dict[str, tuple[int, ...]]
    output: tuple[int, ...]
    start: int
    stem_current: jax.Array | None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the network."""
        return cast(Network, self.task.network).layers


def make_problem(params: Params, stimulus: Stimulus, task: Task) -> Problem:
    """Numbers and shapes of the neurons, and the current of the stem.

    Raises:
      KeyError: if the parameters are of another network.
    """
    numbers: dict[str, NeuronParams] = {}
    shapes: dict[str, tuple[int, ...]] = {}

    def note(path: str, own: Params, current: jax.Array) -> jax.Array:
        numbers[path] = neuron_params(own, task.shown_steps)
        shapes[path] = current.shape[1:]
        return current

    layers = cast(Network, task.network).layers
    output = propagate(layers, params["layers"], jnp.zeros_like(stimulus.images), note).shape
    start, current = 0, None
    if not task.encoding.varies and stimulus.noise is None:
        start = stem_length(layers)
        image = frame(stimulus, params["gain"], 0, task.encoding)
        current = propagate(layers[:start], params["layers"], image, note)
    return Problem(params, stimulus, task, numbers, shapes, output, start, current)


def stem_length(layers: tuple[Layer, ...]) -> int:
    """Number of layers before the first neurons; a constant input passes them once."""
    for place, layer in enumerate(layers):
        if isinstance(layer, Activation | Block):
            return place
    return len(layers)


def image_major(x: jax.Array) -> jax.Array:
    """`[T, B, ...]` as one batch `[B * T, ...]`: the timesteps of an image lie together, so that
    images shared among devices stay shared.
    """
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])


def time_major(x: jax.Array, num_steps: int) -> jax.Array:
    """The batch of `image_major` as `[T, B, ...]` again."""
    return jnp.swapaxes(x.reshape(-1, num_steps, *x.shape[1:]), 0, 1)


Spikes = dict[str, jax.Array]
Advanced = tuple[Any, jax.Array, Spikes]
