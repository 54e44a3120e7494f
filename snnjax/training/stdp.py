"""Spike-timing-dependent plasticity (STDP) of all pairs of spikes, with exponential traces.

Every presynaptic spike is paired with every postsynaptic one. Two traces summarise all earlier
spikes exactly, so the cost of a timestep does not grow with the length of the spike trains.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_value

__all__ = ["STDP", "Traces", "init_traces", "make_stdp", "step_traces", "weight_change", "window"]


class STDP(NamedTuple):
    """Parameters of the rule; `make_stdp` checks them.

    a_plus, a_minus: amplitudes of potentiation and of depression.
    tau_plus, tau_minus: their time constants, in timesteps.
    """

    a_plus: jax.Array
    a_minus: jax.Array
    tau_plus: jax.Array
    tau_minus: jax.Array


class Traces(NamedTuple):
    """Decaying sums of earlier spikes: presynaptic `[..., N]`, and postsynaptic `[..., M]`."""

    pre: jax.Array
    post: jax.Array


def make_stdp(
    *,
    a_plus: ArrayLike = 0.01,
    a_minus: ArrayLike = 0.01,
    tau_plus: ArrayLike = 5.0,
    tau_minus: ArrayLike = 5.0,
) -> STDP:
    """Check the parameters of the rule and return them as arrays.

    Choice: the paper gives none of them.

    Args:
      a_plus: amplitude of potentiation, by pairs whose presynaptic spike is first; at least 0.
      a_minus: amplitude of depression, by pairs whose postsynaptic spike is first; at least 0.
      tau_plus: time constant of potentiation in timesteps, above 0.
      tau_minus: time constant of depression in timesteps, above 0.

    Raises:
      ValueError: naming the parameter that is out of its range.
    """
    for name, value in (("a_plus", a_plus), ("a_minus", a_minus)):
        check_value(name, value, lambda x: np.isfinite(x) & (x >= 0), "it finite and at least 0")
    for name, value in (("tau_plus", tau_plus), ("tau_minus", tau_minus)):
        check_value(
            name, value, lambda x: np.isfinite(x) & (x > 0), "a number of timesteps above 0"
        )
    return STDP(*(jnp.asarray(x, jnp.float32) for x in (a_plus, a_minus, tau_plus, tau_minus)))


def window(rule: STDP, delay: ArrayLike) -> jax.Array:
    """Weight change by one pair whose postsynaptic spike is `delay` timesteps after the other.

    W(x) = A+ exp(-x / tau+) for x >= 0 and -A- exp(x / tau-) for x < 0.

    Source: He et al. 2024, eq. 20, with the signs of Sjöström and Gerstner: as printed, the change
    for x < 0 grows without bound and is no depression.
    Choice: spikes of one timestep are causal, W(0) = A+; eq. 20 leaves W(0) open.

    Args:
      rule: parameters.
      delay: in timesteps, any shape.

    Raises:
      Nothing.
    """
    delay = jnp.asarray(delay)
    potentiation = rule.a_plus * jnp.exp(-jnp.abs(delay) / rule.tau_plus)
    depression = rule.a_minus * jnp.exp(-jnp.abs(delay) / rule.tau_minus)
    return jnp.where(delay >= 0, potentiation, -depression)


def init_traces(pre: tuple[int, ...], post: tuple[int, ...]) -> Traces:
    """Return traces of shapes `pre` and `post` before the first spike: zeros."""
    return Traces(jnp.zeros(pre, jnp.float32), jnp.zeros(post, jnp.float32))


def step_traces(
    rule: STDP, traces: Traces, pre: jax.Array, post: jax.Array
) -> tuple[Traces, jax.Array]:
    """Advance the traces by one timestep; return them and the weight change `[..., N, M]`.

    Both traces decay by exp(-1 / tau). A presynaptic spike is then added to its trace. A
    postsynaptic spike changes the weight by A+ times the presynaptic trace, and a presynaptic
    spike by -A- times the postsynaptic trace. Last, the postsynaptic spike is added to its trace.

    Source: He et al. 2024, eq. 19, as the sum over all pairs of a synapse, in the form of
    Morrison et al. 2008; as printed it also sums over neurons, and pairs only the n-th spikes.
    Choice: two spikes of the same timestep count as one causal pair. A spike of -1 counts with
    its sign, so a pair of opposite signs changes the weight in the opposite direction.

    Args:
      rule: parameters.
      traces: after the timestep before.
      pre: presynaptic spikes -1, 0 or 1, `[..., N]`.
      post: postsynaptic spikes, `[..., M]`.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    pre_trace = traces.pre * jnp.exp(-1 / rule.tau_plus) + pre
    post_trace = traces.post * jnp.exp(-1 / rule.tau_minus)
    potentiation = rule.a_plus * pre_trace[..., :, None] * post[..., None, :]
    depression = rule.a_minus * pre[..., :, None] * post_trace[..., None, :]
    return Traces(pre_trace, post_trace + post), potentiation - depression


def weight_change(rule: STDP, pre: jax.Array, post: jax.Array) -> jax.Array:
    """Weight change `[..., N, M]` by whole spike trains, the double sum of eq. 19.

    Args:
      rule: parameters.
      pre: presynaptic spikes -1, 0 or 1, `[T, ..., N]`.
      post: postsynaptic spikes, `[T, ..., M]`.

    Raises:
      ValueError: from JAX, if the trains differ in length.
    """

    def body(
        carry: tuple[Traces, jax.Array], spikes: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[Traces, jax.Array], None]:
        traces, total = carry
        traces, change = step_traces(rule, traces, *spikes)
        return (traces, total + change), None

    pre, post = pre.astype(jnp.float32), post.astype(jnp.float32)
    start = init_traces(pre.shape[1:], post.shape[1:])
    zero = jnp.zeros((*pre.shape[1:], post.shape[-1]), jnp.float32)
    return jax.lax.scan(body, (start, zero), (pre, post))[0][1]
