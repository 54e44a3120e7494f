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
    """total: `[B, K]` current so far; steps: how many."""

    total: jax.Array
    steps: jax.Array


class CountState(NamedTuple):
    """neurons: the spiking output layer; sent: `[B, K]` net spikes so far."""

    neurons: MembraneState
    sent: jax.Array


def _start_mean(params: Params, shape: tuple[int, int]) -> MeanState:
    del params
    return MeanState(jnp.zeros(shape), jnp.zeros(()))


def _mean(params: Params, state: MeanState, current: jax.Array) -> tuple[MeanState, jax.Array]:
    """The mean current so far, which stands for the logits.

    Source: the non-spiking output layer of Rueckauer et al. 2017.
    Choice: the paper counts spikes; a membrane without a threshold loses nothing.
    """
    del params
    state = MeanState(state.total + current, state.steps + 1)
    return state, state.total / state.steps


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
