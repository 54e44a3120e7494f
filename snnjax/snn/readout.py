"""From the last layer's current to one value per class at every timestep.

A `Readout` is a pair of pure functions, like a neuron: the largest value is the answer.
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
    """total: `[B, K]` leaking sum of the current; weight: what it would be of a current of 1."""

    total: jax.Array
    weight: jax.Array


class CountState(NamedTuple):
    """neurons: the spiking output layer; sent: `[B, K]` net spikes so far."""

    neurons: MembraneState
    sent: jax.Array


class LeakyState(NamedTuple):
    """outputs: the neurons of the last layer; leaky: those of the layer behind it, `[B, M]`;
    sent: `[B, M]` spikes of these so far.
    """

    outputs: MembraneState
    leaky: MembraneState
    sent: jax.Array


def _start_current(params: Params, shape: tuple[int, ...]) -> None:
    del params, shape


def _current(params: Params, state: None, current: jax.Array) -> tuple[None, jax.Array]:
    del params
    return state, current


def _start_mean(params: Params, shape: tuple[int, ...]) -> MeanState:
    del params
    return MeanState(jnp.zeros(shape), jnp.zeros(()))


def _mean(params: Params, state: MeanState, current: jax.Array) -> tuple[MeanState, jax.Array]:
    """The mean current so far, which stands for the logits; with a leak, recent ones count more.

    Source: the non-spiking output layer of Rueckauer et al. 2017; Wang et al. 2023 have a
    leak in the output layer.
    Choice: the paper counts spikes; a membrane without a threshold loses nothing.
    """
    leak = params["output_leak"]
    state = MeanState(leak * state.total + current, leak * state.weight + 1)
    return state, state.total / state.weight


def _start_count(params: Params, shape: tuple[int, ...]) -> CountState:
    return CountState(DOUBLE_THRESHOLD.init(_output_neuron(params), shape), jnp.zeros(shape))


def _count(params: Params, state: CountState, current: jax.Array) -> tuple[CountState, jax.Array]:
    """Net spikes of a two-sided output layer, ties broken by its membrane.

    Source: He et al. 2024, section 3, the counter behind the last layer.
    Choice: one spike stands for the largest logit, and alpha = 1 there, since logits below
    zero must not be compressed. The membrane adds less than half a spike, so it only
    decides between equal counts.
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
    """Less than half a spike, growing with the membrane: it decides between equal counts only."""
    rest = state.membrane / neuron.positive
    return 0.499 * rest / (1 + jnp.abs(rest))


def leaky_layer(
    weights: ArrayLike,
    *,
    leak: ArrayLike = 0.95,
    threshold: ArrayLike = 1.5,
    labels: ArrayLike | None = None,
) -> Params:
    """The numbers of a leaky layer, to be put into `params["readout"]`.

    Source: He et al. 2024, section 4, a layer of leaky neurons behind the last one.
    Choice: the paper gives neither weights nor leak nor threshold. At a threshold of 1 and
    identity weights every input spike would be sent on at once, whatever the leak.

    Args:
      weights: `[K, M]`, from the K classes of the network to M neurons; `jnp.eye(K)` is no
        mixing at all.
      leak: gamma of eq. 18, in (0, 1].
      threshold: in input spikes, above 0.
      labels: int `[M]`, the class that each neuron stands for; None for K neurons in order.

    Raises:
      ValueError: if a number that is not traced is out of its range, or a class has no neuron.
    """
    check_value("weights", weights, np.isfinite, "them finite")
    check_value("leak", leak, lambda x: (x > 0) & (x <= 1), "it in (0, 1]")
    check_value("threshold", threshold, lambda x: np.isfinite(x) & (x > 0), "it above 0")
    classes, neurons = np.shape(weights)
    if labels is None:
        if neurons != classes:
            raise ValueError(
                f"{neurons} neurons stand for {classes} classes in no order; pass labels"
            )
        labels = jnp.arange(classes)
    if np.shape(labels) != (neurons,):
        raise ValueError(f"labels have shape {np.shape(labels)}; want one for each of {neurons}")
    if not isinstance(labels, jax.core.Tracer):
        missing = sorted(set(range(classes)) - set(np.asarray(labels).tolist()))
        if missing:
            raise ValueError(
                f"no neuron stands for class {', '.join(map(str, missing))}; want at least one for"
                " each class: learn with more neurons or longer"
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
    if shape[-1] != layer["weights"].shape[0]:
        raise ValueError(
            f"the leaky layer is for {layer['weights'].shape[0]} classes; want {shape[-1]}"
        )
    wide = (*shape[:-1], layer["weights"].shape[1])
    return LeakyState(
        DOUBLE_THRESHOLD.init(_one_sided(params), shape),
        DOUBLE_THRESHOLD.init(leaky_neuron(layer), wide),
        jnp.zeros(wide),
    )


def _leaky(params: Params, state: LeakyState, current: jax.Array) -> tuple[LeakyState, jax.Array]:
    """Spikes of a leaky layer behind the last one, averaged over the neurons of each class.

    Source: He et al. 2024, eq. 18; the average over a class's neurons is Diehl and Cook 2015.
    Choice: both layers have positive spikes only, since weights that STDP learnt are positive.
    The last layer's current is taken relative to its mean over the classes, which no
    softmax sees, so that the answer is positive; its neurons start at half their threshold.
    Equal counts are told apart by what both layers still hold: with few timesteps most images
    have some, and without the last layer's potentials a leaky layer would be behind counting.

    Raises:
      ValueError: if there is no output_scale.
    """
    layer, last = params["readout"], _one_sided(params)
    outputs, sent_on = DOUBLE_THRESHOLD.step(last, state.outputs, centred(current))
    neuron, dot = leaky_neuron(layer), partial(jnp.dot, precision=jax.lax.Precision.HIGHEST)
    leaky, spikes = DOUBLE_THRESHOLD.step(neuron, state.leaky, dot(sent_on, layer["weights"]))
    sent = state.sent + spikes
    to_come = dot(outputs.membrane / last.positive, layer["weights"])
    ties = _tie_break(neuron, MembraneState(leaky.membrane + to_come))
    of_class = jax.nn.one_hot(layer["labels"], current.shape[-1])
    values = dot(sent + ties, of_class / of_class.sum(0))
    return LeakyState(outputs, leaky, sent), values


def leaky_neuron(layer: Params) -> NeuronParams:
    """The neuron of a leaky layer, positive spikes only (eq. 18).

    Raises:
      ValueError: if a number that is not traced is out of its range.
    """
    return make_params(layer["threshold"], alpha=0.0, leak=layer["leak"], initial=0.0)


def centred(current: jax.Array) -> jax.Array:
    """The current of each class relative to their mean, `[..., K]`."""
    return current - current.mean(-1, keepdims=True)


def _one_sided(params: Params) -> NeuronParams:
    return _output_neuron(params, alpha=0.0, initial=0.5)


def output_spikes(params: Params, currents: jax.Array) -> jax.Array:
    """Spikes of the last layer that the leaky layer receives, 0 or 1, `[T, B, K]`.

    Args:
      params: what `conversion.convert` returned, with an output_scale.
      currents: `[T, B, K]`, as `simulate` returns them with the readout CURRENT.

    Raises:
      ValueError: if there is no output_scale.
    """
    neuron = _one_sided(params)
    start = DOUBLE_THRESHOLD.init(neuron, currents.shape[1:])
    return jax.lax.scan(partial(DOUBLE_THRESHOLD.step, neuron), start, centred(currents))[1]


def read(readout: Readout, params: Params, currents: jax.Array) -> jax.Array:
    """The values `[T, B, K]` of a readout after every timestep, from stored currents.

    Args:
      readout: any but CURRENT, whose values are the currents.
      params: what the readout needs; all of it is traced.
      currents: `[T, B, K]`, as `simulate` returns them with the readout CURRENT.

    Raises:
      ValueError: if the readout lacks something in `params`.
    """
    start = readout.init(params, currents.shape[1:])
    return jax.lax.scan(partial(readout.step, params), start, currents)[1]


def responses(params: Params, currents: jax.Array) -> jax.Array:
    """Spikes of every neuron of the leaky layer over all timesteps, `[B, M]`.

    Args:
      params: converted parameters with a leaky layer under "readout".
      currents: `[T, B, K]`, as `simulate` returns them with the readout CURRENT.

    Raises:
      ValueError: if there is no leaky layer or no output_scale.
    """
    start = _start_leaky(params, currents.shape[1:])
    return jax.lax.scan(partial(_leaky, params), start, currents)[0].sent


ACCUMULATE = Readout(_start_mean, _mean)
"""Mean current of the last layer."""

COUNT = Readout(_start_count, _count)
"""Spike counts of the last layer (the paper's)."""

LEAKY = Readout(_start_leaky, _leaky)
"""Spike counts of a leaky layer behind the last one, whose weights STDP may have learnt."""

CURRENT = Readout(_start_current, _current)
"""The last layer's current itself: no answer, but what `read` makes one from."""

READOUTS = {"membrane": ACCUMULATE, "count": COUNT, "leaky": LEAKY, "stdp": LEAKY}
