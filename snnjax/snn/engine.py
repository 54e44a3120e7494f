"""The interface between a simulation and the engines that compute it.

An engine makes a `Loop`: the carry before the first timestep and a scan body for timesteps. What it
simulates is a `SpikingFunction`, which calls a function at every site of neurons, and which need
not be made of layers: `architecture.Network` is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.snn.encoding import Encoding
from snnjax.snn.neurons import NeuronModel, NeuronParams
from snnjax.snn.readout import Readout

__all__ = [
    "Carry",
    "Loop",
    "Observer",
    "Outputs",
    "SpikingFunction",
    "Task",
    "count_spikes",
    "neuron_params",
    "neuron_shapes",
    "output_shape",
    "with_leaks",
]

Params = dict[str, Any]
Spikes = dict[str, jax.Array]

Observer = jax.tree_util.Partial
"""observe(frame, spikes by path) -> pytree; its bound arrays are traced, so that two observers of
one function share a compilation."""


class SpikingFunction(Protocol):
    """A function with sites of neurons; hashable, and equal ones share a compilation."""

    @property
    def name(self) -> str:
        """Name of the function, for messages."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Paths of the layers of neurons, in the order in which a spike passes them."""

    def propagate(
        self,
        params: Params,
        x: jax.Array,
        fire: Callable[[str, Params, jax.Array], jax.Array],
        elapsed: ArrayLike = 1.0,
    ) -> jax.Array:
        """Send the input `x` `[B, ...]` through the function once; return the output `[B, K]`.

        At every site it calls fire(path, numbers, current), which returns what the neurons send;
        `elapsed` is the number of timesteps in which constant currents, such as biases, flow.
        """


class Task(NamedTuple):
    """Rules of a simulation; static.

    shown_steps: timesteps for which the input and all constant currents flow; 0 for all.
    """

    network: SpikingFunction
    neuron: NeuronModel
    encoding: Encoding
    readout: Readout
    shown_steps: int = 0


class Carry(NamedTuple):
    """Carry of a simulation's scan.

    neurons: state of all neurons, in the form that the engine keeps it.
    readout: state of the readout.
    counts: `[B]` spikes of either sign so far, by path.
    """

    neurons: Any
    readout: Any
    counts: dict[str, jax.Array]


class Outputs(NamedTuple):
    """Outputs of a simulation's scan body for `n` timesteps.

    values: `[n, B, K]` of the readout.
    spikes: `[n, B]` hidden spikes of either sign up to and with each timestep.
    observed: `[n, ...]` what the observer returned, or None.
    """

    values: jax.Array
    spikes: jax.Array
    observed: Any


class Loop(NamedTuple):
    """Initial carry and scan body of a simulation.

    carry: before the first timestep.
    body: `(carry, times [n], shown) -> (carry, Outputs)` for timesteps in a row; `shown` is False
      after the input has ended.
    revise: `(neurons, after, paths) -> neurons`: the state of all neurons with those at `paths`
      revised by their state after pre-steps.
    shapes: of each layer of neurons for one image, by path.
    """

    carry: Carry
    body: Callable[[Carry, jax.Array, bool], tuple[Carry, Outputs]]
    revise: Callable[[Any, Any, tuple[str, ...]], Any]
    shapes: dict[str, tuple[int, ...]]


def neuron_params(numbers: Mapping[str, Any], shown_steps: int = 0) -> NeuronParams:
    """Numbers of a layer of neurons in the form that neuron models take.

    Where the input is shown for some timesteps only, the net count of every neuron is bounded as
    its ANN's activation is. A neuron that fires at most once a timestep keeps to that bound while
    the input lasts, and could pass it afterwards, out of charge that its activation clips.

    Args:
      numbers: of the layer, as `conversion.convert` returns them.
      shown_steps: timesteps for which the input is shown; 0 for all.

    Raises:
      KeyError: if a number is missing.
    """
    most = jnp.floor(numbers["bound"] * shown_steps + 0.5) if shown_steps else jnp.inf
    positive, negative, leak, initial = (
        numbers[name] for name in ("positive", "negative", "leak", "initial")
    )
    return NeuronParams(positive, negative, leak, initial, most)


def with_leaks(layers: Params) -> Params:
    """Layers as a file holds them with `leak` None at all neurons that have none there.

    Args:
      layers: the "layers" of `conversion.convert`, read from a file, which has no place for None.

    Raises:
      Nothing.
    """
    inner = {
        name: with_leaks(value) if isinstance(value, dict) else value
        for name, value in layers.items()
    }
    return {"leak": None, **inner} if "positive" in inner else inner


def neuron_shapes(
    network: SpikingFunction, layers: Params, image_shape: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """Shape of each layer of neurons for one image of shape `(H, W, C)`, by path.

    Args:
      network: the architecture.
      layers: the "layers" of `conversion.convert`.
      image_shape: `(H, W, C)`.

    Raises:
      ValueError: if images of that shape do not fit the parameters.
    """
    found: dict[str, tuple[int, ...]] = {}

    def note(path: str, numbers: Params, current: jax.Array) -> jax.Array:
        del numbers
        found[path] = current.shape[1:]
        return current

    try:
        output_shape(network, layers, (1, *image_shape), note)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"images of shape {image_shape} do not fit the parameters of network"
            f" {network.name!r}: {str(error).splitlines()[0]}"
        ) from error
    return found


def output_shape(
    network: SpikingFunction,
    layers: Params,
    input_shape: tuple[int, ...],
    fire: Callable[[str, Params, jax.Array], jax.Array] = lambda path, numbers, current: current,
) -> tuple[int, ...]:
    """Shape `(B, K)` of the output for an input of shape `(B, H, W, C)`; nothing is computed.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    x = jax.ShapeDtypeStruct(input_shape, jnp.float32)
    return jax.eval_shape(lambda p, x: network.propagate(p, x, fire), layers, x).shape


def count_spikes(spikes: jax.Array) -> jax.Array:
    """Spikes of either sign of each image, `[..., B, ...]` to int32 `[B]` along the last axes.

    Args:
      spikes: `[B, ...]` of one timestep.
    """
    return jnp.sum(jnp.abs(spikes), axis=tuple(range(1, spikes.ndim))).astype(jnp.int32)
