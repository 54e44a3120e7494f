"""Decomposition of the conversion error of every neuron into five parts, for a batch of images.

The error of a neuron is its firing rate (net spike count over T) minus the ANN's activation, both
in spikes per timestep. The parts add up to it:

| part | cause | from ... to |
| --- | --- | --- |
| inherited | errors of earlier layers change the mean current | f(z) to f(z') |
| clipping | a neuron sends at most one spike per timestep | f(z') to c = clip(f(z'), -1, 1) |
| quantisation | spike counts are integers | c to e, the rate if the current were constant |
| unevenness | the current varies over the timesteps | e to g(Q) / T |
| mixed signs | a positive and a negative spike leave charge behind | g(Q) / T to the rate |

z is the ANN's pre-activation, z' the mean current of the spiking neuron, both in units of v_p,
and f the ANN's activation. Q = v_p n_+ - v_n n_- is the charge removed by n_+ positive and n_-
negative spikes, and g(Q) is Q / v_p for Q >= 0 and Q / v_n below: the net count if all spikes
had one sign.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.snn import plain
from snnjax.snn.answers import classify
from snnjax.snn.encoding import Encoding
from snnjax.snn.engine import Task, neuron_params, neuron_shapes
from snnjax.snn.neurons import NeuronModel, NeuronParams
from snnjax.snn.rates import firing_rates
from snnjax.snn.readout import CURRENT
from snnjax.snn.stimulus import Stimulus

__all__ = [
    "ERROR_PARTS", "OWN_PARTS", "BatchSums", "LayerSums", "Moments", "SpikeTotals", "decompose",
    "steady_rate", "sum_batch",
]  # fmt: skip

Params = dict[str, Any]

OWN_PARTS = ("clipping", "quantisation", "unevenness", "mixed_signs")
"""The parts that a layer causes itself."""

ERROR_PARTS = ("inherited", *OWN_PARTS)
"""All parts, in the order of the table above."""


class SpikeTotals(NamedTuple):
    """Totals of every neuron over all timesteps, each `[B, ...]`.

    positive, negative: numbers of spikes of either sign; charge: sum of the input currents, in
    membrane units.
    """

    positive: jax.Array
    negative: jax.Array
    charge: jax.Array


class Moments(NamedTuple):
    """Sums over the neurons and images of a layer; activation and rate in spikes per timestep.

    activation: the ANN's activation; rate: firing rate.
    squared_activation, squared_rate: their squares; product: activation times rate.
    squared_error: square of rate minus activation.
    spikes: number of spikes of either sign over all timesteps.
    """

    activation: Any
    rate: Any
    squared_activation: Any
    squared_rate: Any
    product: Any
    squared_error: Any
    spikes: Any


class LayerSums(NamedTuple):
    """Sums over the neurons and images of a layer.

    samples: number of neurons times images.
    moments: sums of activations, firing rates, their squares and products.
    parts: sum of squares and sum of each part of the error, by name.
    saturated: number of neurons and images with a spike at every timestep.
    """

    samples: Any
    moments: Moments
    parts: dict[str, tuple[Any, Any]]
    saturated: Any


class BatchSums(NamedTuple):
    """Sums and maxima over a batch, those of layers by path.

    layers: sums of each layer.
    residue: largest difference between a neuron's error and the sum of its parts.
    most_spikes: largest number of spikes of each neuron for an image.
    agreeing: images for which ANN and SNN give the same class.
    """

    layers: dict[str, LayerSums]
    residue: dict[str, Any]
    most_spikes: dict[str, Any]
    agreeing: Any


@partial(jax.jit, static_argnames=("network", "num_steps", "neuron", "encoding"))
def sum_batch(
    params: Params,
    images: jax.Array,
    key: jax.Array | None,
    first: ArrayLike,
    *,
    network: arch.Network,
    num_steps: int,
    neuron: NeuronModel,
    encoding: Encoding,
) -> BatchSums:
    """Simulate a batch, decompose every neuron's error and sum over neurons and images.

    Args:
      params: what `conversion.convert` returned.
      images: floats `[B, H, W, C]`.
      key: for an encoding that draws.
      first: index of the first image among all that share `key`.
      network: the architecture; static.
      num_steps: T; static.
      neuron: the neuron model of every layer; static.
      encoding: of the images; static.

    Raises:
      TypeError: from JAX, if the images do not fit the parameters.
    """
    layers, counting = params["layers"], _with_totals(neuron)
    neuron_shapes(network, layers, images.shape[1:])  # refuses images that do not fit
    activations, logits = firing_rates(network, params, images)

    task = Task(network, counting, encoding, CURRENT)
    loop = plain.make_loop(params, Stimulus(images, key, first), task)
    carry, outputs = loop.body(loop.carry, jnp.arange(num_steps, dtype=jnp.int32), True)
    output = outputs.values.sum(0)
    specs = arch.activations(network)
    sums: dict[str, LayerSums] = {}
    residue: dict[str, Any] = {}
    most_spikes: dict[str, Any] = {}
    for path, activation in activations.items():
        totals = carry.neurons[path].totals
        parts = decompose(
            specs[path], arch.inside(layers, path), activation, totals, num_steps, neuron
        )
        sums[path], residue[path], most_spikes[path] = _sum_layer(
            activation, totals, parts, num_steps
        )
    agreeing = jnp.sum(classify(output) == classify(logits))
    return BatchSums(sums, residue, most_spikes, agreeing)


class _CountingState(NamedTuple):
    """State of a neuron, and its totals so far."""

    inner: Any
    totals: SpikeTotals


def _with_totals(model: NeuronModel) -> NeuronModel:
    """Return the same neuron with a state that also holds its `SpikeTotals`."""

    def init(params: NeuronParams, shape: tuple[int, ...]) -> _CountingState:
        zeros = jnp.zeros(shape, jnp.float32)
        return _CountingState(model.init(params, shape), SpikeTotals(zeros, zeros, zeros))

    def step(params: NeuronParams, state: _CountingState, current: jax.Array) -> Any:
        inner, spikes = model.step(params, state.inner, current)
        totals = SpikeTotals(
            state.totals.positive + (spikes > 0),
            state.totals.negative + (spikes < 0),
            state.totals.charge + current,
        )
        return _CountingState(inner, totals), spikes

    return NeuronModel(init, step)


def decompose(
    spec: arch.Activation,
    layer: Params,
    activation: jax.Array,
    totals: SpikeTotals,
    num_steps: int,
    neuron: NeuronModel,
) -> dict[str, jax.Array]:
    """Return the parts of every neuron's error by name, in spikes per timestep, `[B, ...]`.

    Args:
      spec: the ANN's activation function.
      layer: converted parameters of the layer of neurons.
      activation: the ANN's activations, in spikes per timestep, `[B, ...]`.
      totals: of a simulation of `num_steps` timesteps.
      num_steps: T.
      neuron: the neuron model of the layer.

    Raises:
      KeyError: if a parameter of the layer is missing.
    """
    constants = neuron_params(layer)
    rate, mean = (totals.positive - totals.negative) / num_steps, totals.charge / num_steps
    at_mean = spec.rate(layer, mean)
    clipped = jnp.clip(at_mean, -1.0, 1.0)
    steady = steady_rate(constants, mean, num_steps, neuron)
    assert neuron.charge_count is not None
    one_signed = neuron.charge_count(constants, totals.positive, totals.negative) / num_steps
    return {
        "inherited": at_mean - activation,
        "clipping": clipped - at_mean,
        "quantisation": steady - clipped,
        "unevenness": one_signed - steady,
        "mixed_signs": rate - one_signed,
    }


def steady_rate(
    constants: NeuronParams, mean: jax.Array, num_steps: int, neuron: NeuronModel
) -> jax.Array:
    """Return the firing rate under the mean current at every timestep, `[B, ...]`.

    Args:
      constants: parameters of the neurons.
      mean: current, `[B, ...]`.
      num_steps: T.
      neuron: the neuron model.

    Raises:
      Nothing.
    """

    def body(carry: Any, _: None) -> tuple[Any, None]:
        state, count = carry
        state, spikes = neuron.step(constants, state, mean)
        return (state, count + spikes), None

    start = (neuron.init(constants, mean.shape), jnp.zeros_like(mean))
    return jax.lax.scan(body, start, None, num_steps)[0][1] / num_steps


def _sum_layer(
    activation: jax.Array, totals: SpikeTotals, parts: dict[str, jax.Array], num_steps: int
) -> tuple[LayerSums, jax.Array, jax.Array]:
    """Return the sums of a layer, its largest residue, and the most spikes of each neuron."""
    rate = (totals.positive - totals.negative) / num_steps
    error = rate - activation
    residue = jnp.max(jnp.abs(error - jnp.stack(list(parts.values())).sum(0)))
    count = totals.positive + totals.negative
    moments = Moments(
        activation=activation,
        rate=rate,
        squared_activation=activation**2,
        squared_rate=rate**2,
        product=activation * rate,
        squared_error=error**2,
        spikes=count,
    )
    sums = LayerSums(
        samples=jnp.float32(rate.size),
        moments=Moments(*(jnp.sum(x) for x in moments)),
        parts={name: (jnp.sum(x**2), jnp.sum(x)) for name, x in parts.items()},
        saturated=jnp.sum(count >= num_steps),
    )
    return sums, residue, jnp.max(count, 0)
