"""Activations of the ANNs: a family with two parameters, and StepReLU.

`theta` bounds the output and `alpha` is the slope below zero:

| activation    | alpha  | theta  |
| ------------- | ------ | ------ |
| sthLeakyReLU  | (0, 1] | finite |
| LeakyReLU     | (0, 1] | inf    |
| thReLU        | 0      | finite |
| ReLU          | 0      | inf    |
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

__all__ = ["leaky_relu", "quantised_sth_leaky_relu", "step_relu", "sth_leaky_relu"]

STEPS = 20


def leaky_relu(z: ArrayLike, *, alpha: ArrayLike) -> jax.Array:
    """z above zero and alpha * z below; alpha = 0 is the ReLU.

    Source: He et al. 2024, section 2 (the activation of TerMapping and AugMapping).

    Args:
      z: pre-activation, any shape.
      alpha: slope below zero, dimensionless, broadcastable to `z`.

    Raises:
      Nothing.
    """
    return jnp.where(jnp.asarray(z) >= 0, z, jnp.asarray(alpha) * z)


def sth_leaky_relu(z: ArrayLike, *, theta: ArrayLike, alpha: ArrayLike) -> jax.Array:
    """The symmetric-threshold LeakyReLU: leaky_relu clipped to [-theta, theta].

    Source: He et al. 2024, eq. 13.
    Choice: the paper uses one theta for all layers; here every layer may have its own, and an
    array `[C]` sets one for each channel.

    Args:
      z: pre-activation, `[..., C]`.
      theta: bound of the output, in the units of `z`, above 0; may be inf.
      alpha: slope below zero, in [0, 1].

    Raises:
      Nothing: `theta` and `alpha` may be traced; `architecture.Activation` checks them.
    """
    # One `where` over both sides: two clips double the time of a training step on a CPU.
    z, theta = jnp.asarray(z), jnp.asarray(theta)
    above, below = jnp.minimum(z, theta), jnp.maximum(jnp.asarray(alpha) * z, -theta)
    return jnp.where(z >= 0, above, below)


def quantised_sth_leaky_relu(
    z: ArrayLike, *, theta: ArrayLike, alpha: ArrayLike, levels: ArrayLike
) -> jax.Array:
    """sth_leaky_relu rounded to multiples of theta / levels, halves away from zero.

    At constant current, the result is the firing rate of the exact-charge neuron over `levels`
    timesteps and, above zero, of the double-threshold neuron with v(0) = v_p / 2.

    Source: the quantisation of QCFS (Bu et al. 2022) applied to He et al. 2024, eq. 13.
    Choice: a straight-through gradient of the rounding. Inside the bounds the gradient with
    respect to `z` equals the gradient of leaky_relu; theta learns from the rounding error.

    Args:
      z: pre-activation, `[..., C]`.
      theta: bound of the output, finite, in the units of `z`.
      alpha: slope below zero, in [0, 1].
      levels: number of steps between 0 and theta, at least 1; may be traced.

    Raises:
      Nothing.
    """
    steps = sth_leaky_relu(jnp.asarray(z) / theta, theta=1.0, alpha=alpha) * levels
    rounded = jnp.sign(steps) * jnp.floor(jnp.abs(steps) + 0.5)
    return jnp.asarray(theta) * (steps + jax.lax.stop_gradient(rounded - steps)) / levels


def step_relu(z: ArrayLike, *, step: ArrayLike) -> jax.Array:
    """Round z in [0, 20 step) down to a multiple of `step`; z itself above, 0 below.

    Source: StepReLU of Wang et al. 2023, with a straight-through gradient above zero and no
    rounding above the last step.
    Choice: a z equal to a multiple stays, because a neuron that reaches its threshold fires;
    the published code rounds it down to the multiple below.

    Args:
      z: pre-activation, any shape.
      step: height of a step, above 0, in the units of `z`.

    Raises:
      Nothing.
    """
    positive = jnp.maximum(jnp.asarray(z), 0.0)
    floored = jnp.where(
        positive < STEPS * jnp.asarray(step), jnp.floor(positive / step) * step, positive
    )
    return positive + jax.lax.stop_gradient(floored - positive)
