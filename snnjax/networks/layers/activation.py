"""The activation, which is a layer of neurons in a spiking network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks.activations import quantised_sth_leaky_relu, step_relu, sth_leaky_relu
from snnjax.networks.layers.base import ForwardMode, Layer
from snnjax.networks.layers.fields import number, set_fields

__all__ = ["Activation"]

LEARNT = ("nothing", "layer", "channel", "rate")


@dataclass(frozen=True)
class Activation(Layer):
    """sthLeakyReLU (eq. 13); a layer of neurons in a spiking network.

    alpha: slope below zero, in [0, 1]; 0 has no negative side.
    theta: bound of the output, above 0, or its initial value if it is learnt; may be inf.
    learn: "nothing"; "layer" or "channel" for one learnt theta of the layer or of each channel; or
      "rate": theta is a learnt share of the largest pre-activation, and the output is divided by
      theta (RNL, Ding et al. 2021).
    step: height of a step of StepReLU (Wang et al. 2023), which needs alpha 0 and theta inf; 0 for
      no steps.

    Raises:
      ValueError: if a number is out of its range, or a theta of inf is learnt.
    """

    kind: ClassVar[str] = "activation"

    alpha: float = 0.1
    theta: float = 1.0
    learn: Literal["nothing", "layer", "channel", "rate"] = "nothing"
    step: float = 0.0

    def __post_init__(self) -> None:
        set_fields(self, alpha=number, theta=number, step=number)
        if not 0 <= self.alpha <= 1:
            raise ValueError(
                f"alpha is {self.alpha}; want a slope in (0, 1], or 0 for no negative side"
            )
        if not self.theta > 0:
            raise ValueError(f"theta is {self.theta}; want a bound above 0")
        if self.learn not in LEARNT:
            raise ValueError(
                f"learn is {self.learn!r}; want 'nothing', 'layer', 'channel' or 'rate'"
            )
        if self.learn != "nothing" and math.isinf(self.theta):
            raise ValueError("theta is inf and cannot be learnt; start from a finite bound")
        if self.step and (self.step < 0 or self.alpha or math.isfinite(self.theta)):
            raise ValueError(
                f"step is {self.step}; want it above 0, with alpha 0 and theta inf, or 0 for none"
            )

    def parameter_names(self) -> frozenset[str]:
        """Names of the layer's arrays."""
        names = {"layer": {"log_theta"}, "channel": {"log_theta"}, "rate": {"share"}}
        return frozenset(names.get(self.learn, ()))

    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the activation in the ANN."""
        return _Activation(self, name=name)(x, mode)

    def learnt_theta(self, params: Mapping[str, Any], statistics: Mapping[str, Any]) -> jax.Array:
        """Theta of the activation, a scalar or `[C]`: the learnt one, or `theta` if none is learnt.

        Args:
          params: the layer's arrays in the collection "params".
          statistics: the layer's arrays in the collection "batch_stats".
        """
        if "log_theta" in params:
            return jnp.exp(params["log_theta"])
        if "largest" in statistics:  # 1e-6 as in the source, so that theta is never 0
            return jax.nn.sigmoid(params["share"]) * statistics["largest"] + 1e-6
        return jnp.float32(self.theta)

    def rate(
        self, numbers: Mapping[str, Any], current: jax.Array, *, levels: ArrayLike | None = None
    ) -> jax.Array:
        """Firing rate that represents the ANN's activation, in spikes per timestep.

        Args:
          numbers: parameters of the layer of neurons, as `conversion.convert` returns them.
          current: the pre-activation, in membrane units.
          levels: number of steps to quantise the activation to; None leaves it smooth.

        Raises:
          KeyError: if a number is missing.
        """
        z, alpha = current / numbers["positive"], numbers["positive"] / numbers["negative"]
        if self.step:
            return step_relu(z, step=1.0)
        if levels is None:
            return sth_leaky_relu(z, theta=numbers["bound"], alpha=alpha)
        return quantised_sth_leaky_relu(z, theta=numbers["bound"], alpha=alpha, levels=levels)

    def remark(self, weights: str) -> str:
        """Describe for a report what conversion makes of the layer."""
        del weights
        return f"neurons, v_n = v_p / {self.alpha:g}" if self.alpha else "neurons, no -1"


class _Activation(nn.Module):
    spec: Activation

    @nn.compact
    def __call__(self, z: jax.Array, mode: ForwardMode) -> jax.Array:
        spec, levels = self.spec, mode.levels
        if levels is not None and math.isinf(spec.theta):
            raise ValueError(f"levels is {levels}, but {self.name} has no bound to divide")
        theta = self._theta(z, mode.train)
        if spec.step:
            y = step_relu(z, step=spec.step)
        elif levels is None:
            y = sth_leaky_relu(z, theta=theta, alpha=spec.alpha)
        else:
            y = quantised_sth_leaky_relu(z, theta=theta, alpha=spec.alpha, levels=levels)
        y = y.astype(z.dtype)
        self.sow("intermediates", "output", y)
        if spec.learn != "rate":
            return y
        self.sow("intermediates", "rate", y / theta)
        return y / theta

    def _theta(self, z: jax.Array, train: bool) -> jax.Array:
        """Theta from the layer's parameters; training also updates the running maximum of `z`."""
        spec = self.spec
        if spec.learn == "rate":
            largest = self.variable("batch_stats", "largest", lambda: jnp.float32(spec.theta))
            share = self.param("share", nn.initializers.constant(10.0), ())
            if train and not self.is_initializing():
                reached = jax.lax.stop_gradient(jnp.maximum(jnp.max(z), 0.0))
                largest.value += 0.1 * (reached - largest.value)
                share = jax.lax.stop_gradient(share)  # learnt afterwards, in `rate_norm`
            return spec.learnt_theta({"share": share}, {"largest": largest.value})
        if spec.learn == "nothing":
            return spec.learnt_theta({}, {})
        shape = (z.shape[-1],) if spec.learn == "channel" else ()
        start = nn.initializers.constant(jnp.log(jnp.float32(spec.theta)))
        return spec.learnt_theta({"log_theta": self.param("log_theta", start, shape)}, {})
