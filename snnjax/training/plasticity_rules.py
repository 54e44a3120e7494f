"""Learning rules of the leaky readout layer: two kinds of STDP, and a supervised rule.

Every rule receives the spikes of the network's last layer and changes the weights of the leaky
layer behind it once per batch. `competitive_stdp` is the rule to use. `literal_stdp` follows the
text of the paper, and `margin_perceptron` uses the labels; both are there for comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_value
from snnjax.snn.neurons import DOUBLE_THRESHOLD
from snnjax.snn.readout import leaky_neuron
from snnjax.training.stdp import STDP, init_traces, make_stdp, step_traces

__all__ = [
    "LEARNING_RULES",
    "LearnerState",
    "PlasticityParams",
    "competitive_stdp",
    "literal_stdp",
    "make_plasticity",
    "margin_perceptron",
]

Params = dict[str, Any]

LOWEST_OFFSET, HIGHEST_OFFSET = -0.9, 1.0
"""Bounds of the offset that homeostasis adds to a threshold, as a share of the threshold."""


class PlasticityParams(NamedTuple):
    """Parameters of the learning rules; `make_plasticity` checks them.

    stdp: amplitudes and time constants of STDP.
    homeostasis: by how much a batch raises the threshold of a neuron that fires at twice the mean
      rate, as a share of the threshold.
    target: spikes per timestep of all neurons together, below which all thresholds fall.
    teaching: learning rate of `margin_perceptron`.
    margin: by which the labelled class must win in `margin_perceptron`, in spikes per timestep.
    """

    stdp: STDP
    homeostasis: jax.Array
    target: jax.Array
    teaching: jax.Array
    margin: jax.Array


class LearnerState(NamedTuple):
    """State of a leaky layer while it learns.

    weights: `[K, M]`, from K classes to M neurons.
    offset: `[M]`, added to each neuron's threshold by homeostasis, as a share of the threshold.
    """

    weights: jax.Array
    offset: jax.Array


LearningRule = Callable[
    [LearnerState, Params, jax.Array, jax.Array, PlasticityParams], LearnerState
]
"""(state, layer, spikes `[T, B, K]`, labels `[B]`, parameters) -> state after the batch."""


def make_plasticity(
    *,
    a_plus: ArrayLike = 0.02,
    a_minus: ArrayLike = 0.002,
    tau_plus: ArrayLike = 5.0,
    tau_minus: ArrayLike = 5.0,
    homeostasis: ArrayLike = 0.05,
    target: ArrayLike = 0.3,
    teaching: ArrayLike = 0.05,
    margin: ArrayLike = 0.1,
) -> PlasticityParams:
    """Check the parameters of the learning rules and return them as arrays.

    Choice: the paper gives none. With depression at a tenth of potentiation, a winning neuron
    learns mainly its input, as in Diehl and Cook 2015, where the ratio is a hundredth.

    Args:
      a_plus: amplitude of potentiation, at least 0; see `stdp.make_stdp` for the first four.
      a_minus: amplitude of depression, at least 0.
      tau_plus: time constant of potentiation in timesteps, above 0.
      tau_minus: time constant of depression in timesteps, above 0.
      homeostasis: at least 0.
      target: in spikes per timestep, above 0.
      teaching: at least 0.
      margin: in spikes per timestep, at least 0.

    Raises:
      ValueError: naming the parameter that is out of its range.
    """
    stdp = make_stdp(a_plus=a_plus, a_minus=a_minus, tau_plus=tau_plus, tau_minus=tau_minus)
    for name, value in (("homeostasis", homeostasis), ("teaching", teaching), ("margin", margin)):
        check_value(name, value, lambda x: np.isfinite(x) & (x >= 0), "it finite and at least 0")
    check_value("target", target, lambda x: np.isfinite(x) & (x > 0), "it finite and above 0")
    return PlasticityParams(
        stdp, *(jnp.asarray(x, jnp.float32) for x in (homeostasis, target, teaching, margin))
    )


def competitive_stdp(
    state: LearnerState,
    layer: Params,
    spikes: jax.Array,
    labels: jax.Array,
    plasticity: PlasticityParams,
) -> LearnerState:
    """STDP with competition: at each timestep only the neuron furthest above its threshold fires.

    Of a tie the first one fires. Its spike resets the potentials of all neurons. The incoming
    weights of a neuron are projected onto the nearest non-negative weights with the sum they had
    before, which removes what all inputs gain alike and keeps the strongest; with a sum of 0 or
    less they become 0. Homeostasis raises the threshold of a neuron that wins more often than the
    mean and lowers that of one that wins less often, between 0.1 and 2 times the original. If all
    neurons together fire less than `target`, all thresholds fall.

    Source: He et al. 2024, section 4, for STDP; competition and homeostasis are those of Diehl
    and Cook 2015, who keep sums by division.
    Choice: division would let weak inputs that are always active grow at the cost of the strong
    one; without competition all neurons learn the same (see `literal_stdp`).

    Args:
      state: weights and offsets before the batch.
      layer: from `readout.leaky_layer`, for its leak and threshold.
      spikes: of the last layer, `[T, B, K]`.
      labels: not used.
      plasticity: parameters of the rule.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    del labels
    threshold = layer["threshold"] * (1 + state.offset)

    def fire_winner(m: jax.Array) -> tuple[jax.Array, jax.Array]:
        above = m - threshold
        winner = jax.nn.one_hot(jnp.argmax(above, -1), above.shape[-1], dtype=above.dtype)
        fired = winner * (above >= 0)
        return jnp.where(fired.any(-1, keepdims=True), 0.0, m), fired

    change, fired = _stdp_of_batch(
        state.weights, layer["leak"], spikes, plasticity.stdp, fire_winner
    )
    weights = _with_sums(state.weights + change, state.weights.sum(0))
    relative_rate = fired / jnp.maximum(fired.mean(), 1e-6)
    push = relative_rate - 1 - (fired.sum() < plasticity.target)
    offset = jnp.clip(state.offset + plasticity.homeostasis * push, LOWEST_OFFSET, HIGHEST_OFFSET)
    return LearnerState(weights, offset)


def literal_stdp(
    state: LearnerState,
    layer: Params,
    spikes: jax.Array,
    labels: jax.Array,
    plasticity: PlasticityParams,
) -> LearnerState:
    """STDP of all pairs of spikes, without competition, bounds or normalisation of the weights.

    Source: He et al. 2024, eqs. 19 and 20 with their signs corrected, taken literally.

    Args:
      state: weights before the batch; offsets stay as they are.
      layer: from `readout.leaky_layer`, for its leak and threshold.
      spikes: of the last layer, `[T, B, K]`.
      labels: not used.
      plasticity: parameters of the rule.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    del labels

    def fire_each(m: jax.Array) -> tuple[jax.Array, jax.Array]:
        fired = (m >= layer["threshold"]).astype(m.dtype)
        return m - fired * layer["threshold"], fired

    change, _ = _stdp_of_batch(state.weights, layer["leak"], spikes, plasticity.stdp, fire_each)
    return LearnerState(state.weights + change, state.offset)


def margin_perceptron(
    state: LearnerState,
    layer: Params,
    spikes: jax.Array,
    labels: jax.Array,
    plasticity: PlasticityParams,
) -> LearnerState:
    """Supervised rule: change weights for images whose class does not win by the margin.

    For such an image the mean input is added to the weights of the class's neuron, and
    subtracted in equal parts from those of the neurons that are within the margin.

    Source: a perceptron with a margin on firing rates; an upper bound for learning without
    labels, not a method of the paper.

    Args:
      state: weights before the batch, from K classes to one neuron each.
      layer: from `readout.leaky_layer`, for its leak and threshold.
      spikes: of the last layer, `[T, B, K]`.
      labels: int `[B]`.
      plasticity: parameters of the rule.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    neuron = leaky_neuron(layer)
    start = DOUBLE_THRESHOLD.init(neuron, (spikes.shape[1], state.weights.shape[1]))
    step = partial(DOUBLE_THRESHOLD.step, neuron)
    rate = jax.lax.scan(step, start, _currents(state.weights, spikes))[1].mean(0)
    target = jax.nn.one_hot(labels, rate.shape[-1])
    lead = jnp.sum(rate * target, -1, keepdims=True) - rate
    rivals = (lead < plasticity.margin) * (1 - target)
    count = rivals.sum(-1, keepdims=True)
    error = jnp.where(count > 0, target - rivals / jnp.maximum(count, 1), 0.0)
    change = jnp.einsum("bk,bm->km", spikes.mean(0), error) / len(labels)
    return LearnerState(state.weights + plasticity.teaching * change, state.offset)


LEARNING_RULES: dict[str, LearningRule] = {
    "stdp": competitive_stdp,
    "literal": literal_stdp,
    "teacher": margin_perceptron,
}
"""The learning rules by the names that the command line has for them."""


def _with_sums(weights: jax.Array, sums: jax.Array) -> jax.Array:
    """Return the nearest non-negative weights `[K, M]` with the given sums into each neuron."""
    positive = sums > 0
    project = jax.vmap(optax.projections.projection_simplex)
    projected = project(weights.T, jnp.where(positive, sums, 1.0)).T
    return jnp.where(positive, projected, 0.0)


def _currents(weights: jax.Array, spikes: jax.Array) -> jax.Array:
    return jnp.dot(spikes, weights, precision=jax.lax.Precision.HIGHEST)


def _stdp_of_batch(
    weights: jax.Array,
    leak: ArrayLike,
    spikes: jax.Array,
    stdp: STDP,
    fire: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
) -> tuple[jax.Array, jax.Array]:
    """Return the STDP of a batch and the firing rates of the neurons.

    Args:
      weights: `[K, M]`, constant during the batch.
      leak: of the neurons.
      spikes: of the last layer, `[T, B, K]`.
      stdp: amplitudes and time constants.
      fire: from potentials `[B, M]` to those after the reset, and the spikes.

    Returns:
      The change of the weights, `[K, M]`, and spikes per timestep, `[M]`; means over the batch.
    """

    weights, leak, spikes = (jnp.asarray(x, jnp.float32) for x in (weights, leak, spikes))

    def body(carry: Any, inputs: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        v, traces, change = carry
        x, current = inputs
        v, fired = (after.astype(jnp.float32) for after in fire(leak * v + current))
        traces, by_pairs = step_traces(stdp, traces, x, fired)
        return (v, traces, change + by_pairs.mean(0)), fired.mean(0)

    _, images, classes = spikes.shape
    start = init_traces((images, classes), (images, weights.shape[1]))
    carry = (start.post, start, jnp.zeros_like(weights))
    (_, _, change), fired = jax.lax.scan(body, carry, (spikes, _currents(weights, spikes)))
    return change, fired.mean(0)
