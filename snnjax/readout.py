"""From the last layer's current to one value per class at every timestep.

A `Readout` is a pair of pure functions, like a neuron: the largest value is the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnjax.neuron import DOUBLE_THRESHOLD, MembraneState, NeuronParams, make_params

__all__ = ["ACCUMULATE", "COUNT", "READOUTS", "Readout"]

State = Any
Params = dict[str, Any]


class Readout(NamedTuple):
    """init(params, shape) -> state; step(params, state, current) -> (state, values)."""

    init: Callable[[Params, tuple[int, int]], State]
    step: Callable[[Params, State, jax.Array], tuple[State, jax.Array]]


class MeanState(NamedTuple):
    """total: `[B, K]` leaking sum of the current; weight: what it would be of a current of 1."""

    total: jax.Array
    weight: jax.Array


class CountState(NamedTuple):
    """neurons: the spiking output layer; sent: `[B, K]` net spikes so far."""

    neurons: MembraneState
    sent: jax.Array


def _start_mean(params: Params, shape: tuple[int, int]) -> MeanState:
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


def _start_count(params: Params, shape: tuple[int, int]) -> CountState:
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
    rest = neurons.membrane / neuron.positive
    return CountState(neurons, sent), sent + 0.499 * rest / (1 + jnp.abs(rest))


def _output_neuron(params: Params) -> NeuronParams:
    if "output_scale" not in params:
        raise ValueError(
            "this conversion has no output_scale, which counting spikes needs; pass"
            " convert(..., output_scale=measure_output_scale(network, variables, images))"
        )
    return make_params(params["output_scale"], alpha=1.0, initial=0.0)


ACCUMULATE = Readout(_start_mean, _mean)
"""Mean current of the last layer."""

COUNT = Readout(_start_count, _count)
"""Spike counts of the last layer (the paper's)."""

READOUTS = {"membrane": ACCUMULATE, "count": COUNT}
