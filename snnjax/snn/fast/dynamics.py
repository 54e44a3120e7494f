"""Values that the fast engine computes before the first timestep."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from snnjax.networks.architecture import Network, map_params, named, propagate
from snnjax.networks.layers import Activation, Block, Layer, Weights
from snnjax.snn.engine import Params, Task, neuron_params
from snnjax.snn.neurons import NeuronParams
from snnjax.snn.stimulus import Stimulus, frame
from snnjax.snn.whole_numbers import whole_input

__all__ = [
    "Problem",
    "image_major",
    "make_problem",
    "skip_silent_inputs",
    "stem_length",
    "time_major",
]


class Problem(NamedTuple):
    """Arguments of a simulation, and values that are computed once before its first timestep.

    params, stimulus, task: arguments of the engine; in `params`, kernels behind the stem may skip
      inputs without a spike.
    numbers: parameters of each layer of neurons, by path.
    shapes: shape of each layer of neurons for one image, by path.
    output: shape `(B, K)` of the current into the readout.
    start: index of the first layer that is computed at every timestep; the layers before it, the
      stem, are computed once if the input is constant.
    stem_current: `[B, ...]` current of the stem in one timestep; None if the input varies.
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
    """Compute parameters and shapes of the neurons, and the current of the stem.

    Raises:
      KeyError: if the parameters belong to another network.
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
        image = whole_input(params, frame(stimulus, params["gain"], 0, task.encoding))
        current = propagate(layers[:start], params["layers"], image, note)
    if not task.gradient:
        params = skip_silent_inputs(layers, params, start, output[0])
    return Problem(params, stimulus, task, numbers, shapes, output, start, current)


def skip_silent_inputs(
    layers: tuple[Layer, ...], params: Params, start: int, batch_size: Any
) -> Params:
    """Parameters whose kernels skip inputs without a spike where that is faster.

    Args:
      layers: of the network.
      params: of the network.
      start: index of the first layer that may do so.
      batch_size: B; one that is not known yet skips nothing.
    """
    if not isinstance(batch_size, int):
        return params

    def skipping(layer: Layer, own: Params) -> Params:
        return layer.skip_silent_inputs(own, batch_size) if isinstance(layer, Weights) else own

    found = map_params(layers, params["layers"], skipping)
    stem = {name: params["layers"][name] for name, _ in named(layers)[:start] if name in found}
    return {**params, "layers": {**found, **stem}}


def stem_length(layers: tuple[Layer, ...]) -> int:
    """Number of layers before the first neurons or block."""
    for place, layer in enumerate(layers):
        if isinstance(layer, Activation | Block):
            return place
    return len(layers)


def image_major(x: jax.Array) -> jax.Array:
    """Merge `[T, B, ...]` into one batch `[B * T, ...]`, with the timesteps of an image together,
    so that images distributed over devices stay where they are.
    """
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])


def time_major(x: jax.Array, num_steps: int) -> jax.Array:
    """Split a batch of `image_major` into `[T, B, ...]`."""
    return jnp.swapaxes(x.reshape(-1, num_steps, *x.shape[1:]), 0, 1)
