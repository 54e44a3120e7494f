"""The interface between a simulation and the engines that compute it.

An engine makes a `Loop`: the carry before the first timestep, and a scan body for timesteps. It
simulates a `SpikingFunction`, such as `architecture.Network`: any function that calls `fire` at
each of its layers of neurons, even if the rest of it is not made of layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks.architecture import Network
from snnjax.networks.layers import DoesNotFit
from snnjax.networks.parameters import check_shapes
from snnjax.snn.encoding import Encoding
from snnjax.snn.layer_parameters import check_layers, check_neurons
from snnjax.snn.neurons import NeuronModel, NeuronParams
from snnjax.snn.readout import Readout

__all__ = [
    "Carry",
    "Loop",
    "MeanFunction",
    "Observer",
    "Outputs",
    "Simulation",
    "SpikingFunction",
    "Task",
    "float32_params",
    "neuron_params",
    "neuron_shapes",
    "spike_values",
    "with_leaks",
]

Params = dict[str, Any]
Spikes = dict[str, jax.Array]

Observer = jax.tree_util.Partial
"""observe(frame, spikes by path) -> pytree; bound arrays are traced, so that two observers with the
same function share a compilation."""


class SpikingFunction(Protocol):
    """A function with layers of neurons; hashable, and equal functions share a compilation."""

    @property
    def name(self) -> str:
        """Name of the function, for messages."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Paths of the layers of neurons, in the order of propagation."""

    def propagate(
        self,
        params: Params,
        x: jax.Array,
        fire: Callable[[str, Params, jax.Array], jax.Array],
        elapsed: ArrayLike = 1.0,
    ) -> jax.Array:
        """Send the input `x` `[B, ...]` through the function once; return the output `[B, K]`.

        At every layer of neurons it calls fire(path, numbers, current), which returns their
        output. Constant currents, such as biases, are added `elapsed` times.
        """


At = Callable[[str, jax.Array], jax.Array]
"""at(site, value [B, ...]) -> mean that the neurons of the site have sent."""

Resume = Callable[[At], Any]
"""resume(at) -> outputs of a function, any pytree of `[B, ...]`."""


class MeanFunction(Protocol):
    """A function that is evaluated on mean activations; hashable, and equal functions share a
    compilation.

    Unlike a `SpikingFunction` it need not be linear between its sites, so it takes the mean input
    so far and not the input of one timestep.
    """

    @property
    def name(self) -> str:
        """Name of the function, for messages."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the layers of neurons, in the order of computation."""

    @property
    def input_steps(self) -> int:
        """Number of timesteps with input."""

    def neurons(self, params: Params) -> dict[str, NeuronParams]:
        """Parameters of each site's neurons."""

    def begin(self, params: Params, x: jax.Array, *, gradient: bool = False) -> Resume:
        """Compute what no site feeds from the mean input `[B, ...]`; return the rest.

        `gradient` is True if reverse-mode gradients are taken.
        """


class Task(NamedTuple):
    """Static part of a simulation: network, neuron, encoding and readout.

    shown_steps: number of timesteps with input and constant currents; 0 for all.
    gradient: True if the spikes of the neuron have a surrogate gradient.
    kernel_parts: number of bfloat16 parts of kernels, as `fast.parts.choose_parts` returns it.
    """

    network: SpikingFunction
    neuron: NeuronModel
    encoding: Encoding
    readout: Readout
    shown_steps: int = 0
    gradient: bool = False
    kernel_parts: int | None = None


class Carry(NamedTuple):
    """Carry of a simulation's scan.

    neurons: state of all neurons, in the engine's own form.
    readout: state of the readout.
    counts: `[B]` spike count so far, both signs, by path.
    """

    neurons: Any
    readout: Any
    counts: dict[str, jax.Array]


class Outputs(NamedTuple):
    """Outputs of a simulation's scan body for `n` timesteps.

    values: `[n, B, K]` values of the readout.
    spikes: `[n, B]` spike count of all hidden layers, both signs, up to and including each
      timestep.
    observed: `[n, ...]` results of the observer, or None.
    """

    values: jax.Array
    spikes: jax.Array
    observed: Any


class Simulation(NamedTuple):
    """Result of a simulation.

    values: `[T, B, K]` values of the readout after every timestep; `answers.classify` gives the
      answer. Zeros in pre-steps, which give no answer.
    spikes: `[T, B]` spike count of all hidden layers, both signs, up to and including each
      timestep.
    layer_spikes: `[B]` spike count over all timesteps, both signs, by path of the layer.
    neurons: number of hidden neurons, by path of the layer.
    recording: `[T, B, ...]` all spikes by path, or the results of the observer at each timestep;
      None without a recording.
    """

    values: jax.Array
    spikes: jax.Array
    layer_spikes: dict[str, jax.Array]
    neurons: dict[str, jax.Array]
    recording: Any


class Loop(NamedTuple):
    """Initial carry and scan body of a simulation.

    carry: carry before the first timestep.
    body: `(carry, times [n], shown) -> (carry, Outputs)` for n consecutive timesteps; `shown` is
      False after the input has ended.
    revise: `(neurons, after, paths) -> neurons`: replace the states at `paths` by initial states
      revised from `after`, the states after pre-steps.
    shapes: shape of each layer of neurons for one image, by path.
    """

    carry: Carry
    body: Callable[[Carry, jax.Array, bool], tuple[Carry, Outputs]]
    revise: Callable[[Any, Any, tuple[str, ...]], Any]
    shapes: dict[str, tuple[int, ...]]


def neuron_params(numbers: Mapping[str, Any], shown_steps: int = 0) -> NeuronParams:
    """Parameters of a layer of neurons in the form that neuron models take.

    If the input is shown for some timesteps only, the net spike count of every neuron is bounded
    like the ANN's activation. While the input lasts, a neuron that fires at most once per timestep
    stays within that bound; afterwards it could exceed it, with charge that the activation clips.

    Args:
      numbers: parameters of the layer, as `conversion.convert` returns them.
      shown_steps: number of timesteps with input; 0 for all.

    Raises:
      ValueError: if a parameter is missing.
    """
    needed = ("positive", "negative", "leak", "initial", "shift", *["bound"] * (shown_steps > 0))
    if missing := [name for name in needed if name not in numbers]:
        raise ValueError(f"a layer of neurons has no {missing[0]}; convert the network again")
    most = jnp.floor(numbers["bound"] * shown_steps + 0.5) if shown_steps else jnp.inf
    positive, negative, leak, initial = (
        numbers[name] for name in ("positive", "negative", "leak", "initial")
    )
    return NeuronParams(positive, negative, leak, initial, most)


def spike_values(params: NeuronParams, count: jax.Array) -> jax.Array:
    """Value of net spike counts: a positive spike is worth v_p, a negative one v_n.

    Args:
      params: of the neurons.
      count: `[B, ...]` net spike count; not below 0 if v_n is infinite.
    """
    return jnp.where(count >= 0, params.positive, params.negative) * count


def with_leaks(layers: Params) -> Params:
    """Add `leak` None to all layers of neurons that have no leak.

    Args:
      layers: the "layers" of `conversion.convert`, read from a file, which cannot hold None.

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
    """Shape of each layer of neurons for one image, by path.

    Args:
      network: the architecture.
      layers: the "layers" of `conversion.convert`.
      image_shape: `(H, W, C)` or `(D,)`.

    Raises:
      ValueError: if images of that shape do not fit the parameters, or a parameter is missing,
        unknown or of another shape.
    """
    found: dict[str, tuple[int, ...]] = {}

    def note(path: str, numbers: Params, current: jax.Array) -> jax.Array:
        check_neurons(path, numbers, current.shape[1:])
        found[path] = current.shape[1:]
        return current

    if isinstance(network, Network):
        check_layers(network.layers, layers, f"network {network.name!r}")
        check_shapes(network.layers, layers)
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    try:
        jax.eval_shape(
            lambda params, x: network.propagate(float32_params(params), x, note), layers, image
        )
    except DoesNotFit as error:
        raise ValueError(
            f"images of shape {image_shape} do not fit the parameters of network"
            f" {network.name!r}: {error}"
        ) from error
    return found


def float32_params(params: Params) -> Params:
    """Parameters with every float in float32, the dtype of a simulation; whole numbers stay."""

    def cast(leaf: ArrayLike) -> jax.Array:
        array = jnp.asarray(leaf)
        return array.astype(jnp.float32) if jnp.issubdtype(array.dtype, jnp.floating) else array

    return jax.tree.map(cast, params)
