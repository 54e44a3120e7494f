"""An architecture read as a Flax module."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.networks import synapse
from snnjax.networks.activations import quantised_sth_leaky_relu, step_relu, sth_leaky_relu
from snnjax.runtime.convolution import conv_general_dilated

__all__ = ["ANN", "theta_of"]

Variables = dict[str, Any]


class ANN(nn.Module):
    """The layers of a network, applied in order.

    Parameters are named after the layers: "kernel" and "bias" of a Dense or Conv, "scale"
    and "bias" of a BatchNorm (its statistics in the collection "batch_stats") or a Scale, and
    "log_theta" of an Activation that learns its theta, so that theta stays positive; one of
    rates has "share", of which the sigmoid is the share p of the running "largest".
    """

    layers: tuple[arch.Layer, ...]
    dropout: float = 0.0
    dtype: Any = jnp.float32
    """of what passes from layer to layer while training; parameters are float32"""

    @nn.compact
    def __call__(
        self, x: jax.Array, *, levels: ArrayLike | None = None, train: bool = False
    ) -> jax.Array:
        """Logits `[B, K]` of images `[B, H, W, C]` in [0, 1].

        Args:
          x: the images.
          levels: quantise every activation to so many steps; None leaves them smooth.
          train: use the batch's own statistics, and drop the inputs of each Dense layer
            behind the first weights with probability `dropout` (rng "dropout").

        Raises:
          ScopeParamShapeError: from Flax, if the images do not fit the parameters.
          ValueError: if `levels` are asked of an activation without a bound.
        """
        first = True
        for name, layer in arch.named(self.layers):
            if isinstance(layer, arch.Dense) and not first:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
            first = first and not isinstance(layer, arch.Dense | arch.Conv)
            x = self._apply(name, layer, x, levels=levels, train=train)
        return x

    def _apply(
        self, name: str, layer: arch.Layer, x: jax.Array, *, levels: ArrayLike | None, train: bool
    ) -> jax.Array:
        dtype = self.dtype if train else jnp.float32
        match layer:
            case arch.Dense(features, use_bias):
                return nn.Dense(features, use_bias=use_bias, dtype=dtype, name=name)(x)
            case arch.Conv():
                return nn.Conv(
                    layer.features,
                    layer.kernel_size,
                    layer.strides,
                    layer.padding,
                    kernel_dilation=layer.dilation,
                    feature_group_count=layer.groups,
                    use_bias=layer.use_bias,
                    dtype=dtype,
                    conv_general_dilated=partial(conv_general_dilated, gradient=train),
                    name=name,
                )(x)
            case arch.AvgPool() | arch.Flatten():
                return synapse.apply(layer, {}, x)
            case arch.Normalise(mean, std):
                if x.shape[-1] != len(mean):
                    raise ValueError(
                        f"images have {x.shape[-1]} channels; want {len(mean)}, as the network"
                        " normalises"
                    )
                return (x - jnp.array(mean)) / jnp.array(std)
            case arch.BatchNorm(momentum, epsilon):
                return nn.BatchNorm(
                    not train, momentum=momentum, epsilon=epsilon, dtype=dtype, name=name
                )(x)
            case arch.Activation():
                return _Activation(layer, name=name)(x, levels=levels, train=train)
            case arch.Scale():
                return _Scale(layer, name=name)(x)
            case arch.Residual() | arch.Concat():
                return _Block(layer, self.dropout, self.dtype, name=name)(
                    x, levels=levels, train=train
                )
        raise ValueError(f"layer {name} is {layer!r}; want a layer of snnjax.networks.architecture")


class _Activation(nn.Module):
    spec: arch.Activation

    @nn.compact
    def __call__(self, z: jax.Array, *, levels: ArrayLike | None, train: bool) -> jax.Array:
        spec = self.spec
        if levels is not None and spec.theta == float("inf"):
            raise ValueError(f"levels is {levels}, but {self.name} has no bound to divide")
        params: Variables = {}
        statistics: Variables = {}
        if spec.learn == "rate":
            largest = self.variable("batch_stats", "largest", lambda: jnp.float32(spec.theta))
            share = self.param("share", nn.initializers.constant(10.0), ())
            if train and not self.is_initializing():
                reached = jax.lax.stop_gradient(jnp.maximum(jnp.max(z), 0.0))
                largest.value += 0.1 * (reached - largest.value)
                share = jax.lax.stop_gradient(share)  # learnt afterwards, in `rate_norm`
            params, statistics = {"share": share}, {"largest": largest.value}
        elif spec.learn != "nothing":
            shape = (z.shape[-1],) if spec.learn == "channel" else ()
            start = nn.initializers.constant(jnp.log(spec.theta))
            params = {"log_theta": self.param("log_theta", start, shape)}
        theta = theta_of(spec, params, statistics)
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


class _Scale(nn.Module):
    spec: arch.Scale

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.spec.features,)
        params = {
            "scale": self.param("scale", nn.initializers.ones, shape),
            "bias": self.param("bias", nn.initializers.zeros, shape),
        }
        return synapse.apply(self.spec, params, x)


class _Block(nn.Module):
    spec: arch.Block
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, **mode: Any) -> jax.Array:
        parts = [
            ANN(layers, self.dropout, self.dtype, name=branch)(x, **mode)
            for branch, layers in self.spec.branches.items()
        ]
        return synapse.join(self.spec, parts)


def theta_of(spec: arch.Activation, params: Variables, statistics: Variables) -> jax.Array:
    """The theta of an activation: learnt, scalar or `[C]`, or the one of its spec."""
    if "log_theta" in params:
        return jnp.exp(params["log_theta"])
    if "largest" in statistics:  # the source adds 1e-6 too, so that no theta is 0
        return jax.nn.sigmoid(params["share"]) * statistics["largest"] + 1e-6
    return jnp.asarray(spec.theta)
