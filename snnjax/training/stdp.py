"""Spike-timing-dependent plasticity (STDP) of pairs of spikes, by exponential traces.

Every spike of one side meets every spike of the other. Two traces stand for all earlier
spikes, so a timestep costs the same however long the trains are, and the sum is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_value

__all__ = ["STDP", "Traces", "change", "init_traces", "make_stdp", "step_traces", "window"]


class STDP(NamedTuple):
    """The numbers of the rule; times are in timesteps. `make_stdp` checks them."""

    a_plus: jax.Array
    a_minus: jax.Array
    tau_plus: jax.Array
    tau_minus: jax.Array


class Traces(NamedTuple):
    """What is left of earlier spikes. pre: `[..., N]`; post: `[..., M]`."""

    pre: jax.Array
    post: jax.Array


def make_stdp(
    *,
    a_plus: ArrayLike = 0.01,
    a_minus: ArrayLike = 0.01,
    tau_plus: ArrayLike = 5.0,
    tau_minus: ArrayLike = 5.0,
) -> STDP:
    """The numbers of the rule as arrays.

    Choice: the paper gives none of them.

    Args:
      a_plus: gain of a pair with the presynaptic spike first, at least 0.
      a_minus: loss of a pair with the postsynaptic spike first, at least 0.
      tau_plus: time constant of the gain in timesteps, above 0.
      tau_minus: time constant of the loss in timesteps, above 0.

    Raises:
      ValueError: naming the number that is out of its range.
    """
    for name, value in (("a_plus", a_plus), ("a_minus", a_minus)):
        check_value(name, value, lambda x: np.isfinite(x) & (x >= 0), "it finite and at least 0")
    for name, value in (("tau_plus", tau_plus), ("tau_minus", tau_minus)):
        check_value(
            name, value, lambda x: np.isfinite(x) & (x > 0), "a number of timesteps above 0"
        )
    return STDP(*(jnp.asarray(x, jnp.float32) for x in (a_plus, a_minus, tau_plus, tau_minus)))


def window(rule: STDP, delay: ArrayLike) -> jax.Array:
    """Change of a weight by one pair whose postsynaptic spike comes `delay` timesteps later.

    W(x) = A+ exp(-x / tau+) for x >= 0 and -A- exp(x / tau-) for x < 0.

    Source: He et al. 2024, eq. 20, with the signs of Sjöström and Gerstner: as printed it grows
    without bound where x < 0, and does not weaken.
    Choice: spikes of one timestep are causal, W(0) = A+; eq. 20 leaves W(0) open.

    Args:
      rule: the numbers.
      delay: in timesteps, any shape.

    Raises:
      Nothing.
    """
    delay = jnp.asarray(delay)
    gain = rule.a_plus * jnp.exp(-jnp.abs(delay) / rule.tau_plus)
    loss = rule.a_minus * jnp.exp(-jnp.abs(delay) / rule.tau_minus)
    return jnp.where(delay >= 0, gain, -loss)


def init_traces(pre: tuple[int, ...], post: tuple[int, ...]) -> Traces:
    """Traces before the first spike, of shapes `pre` and `post`."""
    return Traces(jnp.zeros(pre), jnp.zeros(post))


def step_traces(
    rule: STDP, traces: Traces, pre: jax.Array, post: jax.Array
) -> tuple[Traces, jax.Array]:
    """One timestep: the change of the weights `[..., N, M]` by its spikes.

    The traces decay by exp(-1 / tau) a timestep. A presynaptic spike then joins its trace,
    a postsynaptic spike strengthens by A+ times that trace, a presynaptic one weakens by A-
    times the postsynaptic trace, and at last the postsynaptic spike joins its own.

    Source: He et al. 2024, eq. 19, as the sum over all pairs of a synapse, in the form of
    Morrison et al. 2008; as printed it also sums over neurons, and pairs equal places only.
    Choice: spikes of a timestep meet once, as causal. A spike of -1 counts with its sign, in
    its trace and as an event, so a pair of opposite signs changes the weight the other way.

    Args:
      rule: the numbers.
      traces: what is left of earlier spikes.
      pre: spikes -1, 0 or 1, `[..., N]`.
      post: spikes, `[..., M]`.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    before = traces.pre * jnp.exp(-1 / rule.tau_plus) + pre
    after = traces.post * jnp.exp(-1 / rule.tau_minus)
    gain = rule.a_plus * before[..., :, None] * post[..., None, :]
    loss = rule.a_minus * pre[..., :, None] * after[..., None, :]
    return Traces(before, after + post), gain - loss


def change(rule: STDP, pre: jax.Array, post: jax.Array) -> jax.Array:
    """Change of the weights `[..., N, M]` by whole trains, the double sum of eq. 19.

    Args:
      rule: the numbers.
      pre: spikes -1, 0 or 1, `[T, ..., N]`.
      post: spikes, `[T, ..., M]`.

    Raises:
      ValueError: from JAX, if the trains differ in length.
    """

    def body(
        carry: tuple[Traces, jax.Array], spikes: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[Traces, jax.Array], None]:
        traces, total = carry
        traces, changed = step_traces(rule, traces, *spikes)
        return (traces, total + changed), None

    start = init_traces(pre.shape[1:], post.shape[1:])
    zero = jnp.zeros((*pre.shape[1:], post.shape[-1]))
    return jax.lax.scan(body, (start, zero), (pre, post))[0][1]
