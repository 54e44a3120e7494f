"""Readouts: one value per class at every timestep, from the current of the last layer.

A `Readout` is a pair of pure functions, like a neuron. `answers.classify` chooses a class.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_value
from snnjax.snn.answers import NO_CLASS
from snnjax.snn.neurons import DOUBLE_THRESHOLD, MembraneState, NeuronParams, make_params

__all__ = [
    "ACCUMULATE",
    "COUNT",
    "CURRENT",
    "LEAKY",
    "READOUTS",
    "Readout",
    "leaky_layer",
    "leaky_neuron",
    "output_spikes",
    "read",
    "responses",
]

State = Any
Params = dict[str, Any]


class Readout(NamedTuple):
    """init(params, shape) -> state; step(params, state, current) -> (state, values)."""

    init: Callable[[Params, tuple[int, ...]], State]
    step: Callable[[Params, State, jax.Array], tuple[State, jax.Array]]


class MeanState(NamedTuple):
    """total: `[B, K]` leaky sum of the currents; weight: the same sum for a current of 1."""

    total: jax.Array
    weight: jax.Array


class CountState(NamedTuple):
    """neurons: state of the spiking output layer; sent: `[B, K]` net spike count."""

    neurons: MembraneState
    sent: jax.Array


class LeakyState(NamedTuple):
    """outputs: state of the last layer, `[B, K]`; leaky: state of the leaky layer, `[B, M]`;
    sent: `[B, M]` spike count of the leaky layer.
    """

    outputs: MembraneState
    leaky: MembraneState
    sent: jax.Array


def _current(params: Params, state: None, current: jax.Array) -> tuple[None, jax.Array]:
    del params
    return state, current


def _start_mean(params: Params, shape: tuple[int, ...]) -> MeanState:
    del params
    return MeanState(jnp.zeros(shape, jnp.float32), jnp.zeros((), jnp.float32))


def _mean(params: Params, state: MeanState, current: jax.Array) -> tuple[MeanState, jax.Array]:
    """Mean current so far, which approximates the logits; a leak weights recent currents more.

    Source: the non-spiking output layer of Rueckauer et al. 2017; its leak, Wang et al. 2023.
    Choice: the paper counts spikes; a membrane without a threshold has no quantisation error.
    """
    leak = params["output_leak"]
    state = MeanState(leak * state.total + current, leak * state.weight + 1)
    if "integer" not in params:
        return state, state.total / state.weight
    return state, params["integer"]["logit"] * _divide(state.total, state.weight)


def _divide(values: jax.Array, divisor: ArrayLike) -> jax.Array:
    """`values / divisor`, rounded once: XLA multiplies by the inverse of a broadcast divisor."""
    return values / jnp.where(jnp.isnan(values), values, divisor)


def _start_count(params: Params, shape: tuple[int, ...]) -> CountState:
    start = DOUBLE_THRESHOLD.init(_output_neuron(params), shape)
    return CountState(start, jnp.zeros(shape, jnp.float32))


def _count(params: Params, state: CountState, current: jax.Array) -> tuple[CountState, jax.Array]:
    """Net spike counts of an output layer with ternary spikes; its membrane breaks ties.

    Source: He et al. 2024, section 3, the counter behind the last layer.
    Choice: one spike represents the largest logit, and alpha = 1, so that negative logits are
    not compressed. The membrane potential adds less than half a spike, so it only decides
    between equal counts.
    """
    neuron = _output_neuron(params)
    neurons, spikes = DOUBLE_THRESHOLD.step(neuron, state.neurons, current)
    sent = state.sent + spikes
    return CountState(neurons, sent), sent + _tie_break(neuron, neurons)


def _output_neuron(params: Params, *, alpha: float = 1.0, initial: float = 0.0) -> NeuronParams:
    if "output_scale" not in params:
        raise ValueError(
            "this conversion has no output_scale, which counting spikes needs; pass"
            " convert(..., output_scale=measure_output_scale(network, variables, images))"
        )
    return make_params(params["output_scale"], alpha=alpha, initial=initial)


def _tie_break(neuron: NeuronParams, state: MembraneState) -> jax.Array:
    """Less than half a spike, growing with the potential: it only decides between equal counts."""
    rest = _divide(state.membrane, neuron.positive)
    return 0.499 * rest / (1 + jnp.abs(rest))


def leaky_layer(
    weights: ArrayLike,
    *,
    leak: ArrayLike = 0.95,
    threshold: ArrayLike = 1.5,
    labels: ArrayLike | None = None,
) -> Params:
    """Return the parameters of a leaky layer, for `params["readout"]`.

    Source: He et al. 2024, section 4, a layer of leaky neurons behind the last one.
    Choice: the paper gives neither weights nor leak nor threshold. At a threshold of 1 and
    identity weights every input spike would cause a spike at once, whatever the leak.

    Args:
      weights: `[K, M]`, from the K classes of the network to M neurons; `jnp.eye(K)` does
        not mix classes.
      leak: gamma of eq. 18, in (0, 1].
      threshold: threshold in input spikes, above 0.
      labels: int `[M]`, the class of each neuron, or NO_CLASS; None if neuron k has class k.

    Raises:
      ValueError: if a number that is not traced is out of its range, or a class has no neuron.
    """
    check_value("weights", weights, np.isfinite, "them finite")
    check_value("leak", leak, lambda x: (x > 0) & (x <= 1), "it in (0, 1]")
    check_value("threshold", threshold, lambda x: np.isfinite(x) & (x > 0), "it above 0")
    classes, neurons = np.shape(weights)
    if labels is None:
        if neurons != classes:
            raise ValueError(f"there are {neurons} neurons for {classes} classes; pass the labels")
        labels = jnp.arange(classes)
    if np.shape(labels) != (neurons,):
        raise ValueError(f"labels have shape {np.shape(labels)}; want [{neurons}]")
    wanted = f"classes 0 to {classes - 1}, or {NO_CLASS} for none"
    check_value("labels", labels, lambda x: (x >= NO_CLASS) & (x < classes), wanted)
    if not isinstance(labels, jax.core.Tracer):
        missing = sorted(set(range(classes)) - set(np.asarray(labels).tolist()))
        if missing:
            raise ValueError(
                f"class {', '.join(map(str, missing))} has no neuron; want at least one for each"
                " class: learn with more neurons or longer"
            )
    return {
        "weights": jnp.asarray(weights, jnp.float32),
        "leak": jnp.asarray(leak, jnp.float32),
        "threshold": jnp.asarray(threshold, jnp.float32),
        "labels": jnp.asarray(labels, jnp.int32),
    }


def _start_leaky(params: Params, shape: tuple[int, ...]) -> LeakyState:
    if "readout" not in params:
        raise ValueError(
            "these parameters have no leaky layer; put one from leaky_layer, or one that was"
            ' learnt, into params["readout"]'
        )
    layer = params["readout"]
    classes, neurons = layer["weights"].shape
    if shape[-1] != classes:
        raise ValueError(f"the leaky layer is for {classes} classes; want {shape[-1]}")
    wide = (*shape[:-1], neurons)
    return LeakyState(
        DOUBLE_THRESHOLD.init(_positive_output_neuron(params), shape),
        DOUBLE_THRESHOLD.init(leaky_neuron(layer), wide),
        jnp.zeros(wide, jnp.float32),
    )


def _leaky(params: Params, state: LeakyState, current: jax.Array) -> tuple[LeakyState, jax.Array]:
    """Spike counts of a leaky layer behind the last one, averaged over the neurons of a class.

    Source: He et al. 2024, eq. 18; the average over a class's neurons is Diehl and Cook 2015.
    Choice: both layers have positive spikes only, because weights learnt by STDP are positive.
    The mean over the classes is subtracted from the last layer's current, which changes no
    softmax, so that the answer is positive; v(0) of its neurons is half their threshold. The
    membrane potentials of both layers break ties: with few timesteps most images have ties, and
    without the potentials of the last layer this readout would be less accurate than COUNT.

    Raises:
      ValueError: if there is no output_scale.
    """
    layer, last = params["readout"], _positive_output_neuron(params)
    outputs, sent_on = DOUBLE_THRESHOLD.step(last, state.outputs, centred(current))
    neuron, dot = leaky_neuron(layer), partial(jnp.dot, precision=jax.lax.Precision.HIGHEST)
    leaky, spikes = DOUBLE_THRESHOLD.step(neuron, state.leaky, dot(sent_on, layer["weights"]))
    sent = state.sent + spikes
    to_come = dot(outputs.membrane / last.positive, layer["weights"])
    ties = _tie_break(neuron, MembraneState(leaky.membrane + to_come))
    of_class = jax.nn.one_hot(layer["labels"], current.shape[-1], dtype=jnp.float32)
    values = dot(sent + ties, of_class / jnp.maximum(of_class.sum(0), 1))
    return LeakyState(outputs, leaky, sent), values


def leaky_neuron(layer: Params) -> NeuronParams:
    """Neuron parameters of a leaky layer, for positive spikes only (eq. 18).

    Raises:
      ValueError: if a number that is not traced is out of its range.
    """
    return make_params(layer["threshold"], alpha=0.0, leak=layer["leak"], initial=0.0)


def centred(current: jax.Array) -> jax.Array:
    """Subtract the mean over the classes, `[..., K]`."""
    return current - current.mean(-1, keepdims=True)


def _positive_output_neuron(params: Params) -> NeuronParams:
    return _output_neuron(params, alpha=0.0, initial=0.5)


def output_spikes(params: Params, currents: jax.Array) -> jax.Array:
    """Spikes of the last layer that the leaky layer receives, 0 or 1, `[T, B, K]`.

    Args:
      params: what `conversion.convert` returned, with an output_scale.
      currents: `[T, B, K]`, the values of a simulation with the readout CURRENT.

    Raises:
      ValueError: if there is no output_scale.
    """
    neuron = _positive_output_neuron(params)
    start = DOUBLE_THRESHOLD.init(neuron, currents.shape[1:])
    shifted = centred(currents.astype(jnp.float32))
    return jax.lax.scan(partial(DOUBLE_THRESHOLD.step, neuron), start, shifted)[1]


def read(readout: Readout, params: Params, currents: jax.Array) -> jax.Array:
    """Values `[T, B, K]` of a readout after every timestep, from stored currents.

    Args:
      readout: any but CURRENT, whose values are the currents.
      params: what the readout needs; all of it is traced.
      currents: `[T, B, K]`, the values of a simulation with the readout CURRENT.

    Raises:
      ValueError: if the readout lacks something in `params`.
    """
    start = readout.init(params, currents.shape[1:])
    return jax.lax.scan(partial(readout.step, params), start, currents.astype(jnp.float32))[1]


def responses(params: Params, currents: jax.Array) -> jax.Array:
    """Spike count of every neuron of the leaky layer over all timesteps, `[B, M]`.

    Args:
      params: converted parameters with a leaky layer under "readout".
      currents: `[T, B, K]`, the values of a simulation with the readout CURRENT.

    Raises:
      ValueError: if there is no leaky layer or no output_scale.
    """
    start = _start_leaky(params, currents.shape[1:])
    return jax.lax.scan(partial(_leaky, params), start, currents.astype(jnp.float32))[0].sent


ACCUMULATE = Readout(_start_mean, _mean)
"""Mean current of the last layer."""

COUNT = Readout(_start_count, _count)
"""Spike counts of the last layer, the readout of the paper."""

LEAKY = Readout(_start_leaky, _leaky)
"""Spike counts of a leaky layer behind the last one, for example with weights from STDP."""

CURRENT = Readout(lambda params, shape: None, _current)
"""Current of the last layer, no answer; `read` applies another readout to it later."""

READOUTS = {"membrane": ACCUMULATE, "count": COUNT, "leaky": LEAKY, "stdp": LEAKY}
