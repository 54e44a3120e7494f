"""Models of NNX and Equinox, and a plain function of arrays."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

__all__ = ["equinox_model", "nnx_model", "plain_mlp"]


class NNXConvNet(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Conv(3, 6, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.second = nnx.Conv(6, 8, (3, 3), rngs=rngs)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)
        self.last = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.norm(self.first(x))), (2, 2), (2, 2))
        x = nnx.max_pool(nnx.gelu(self.second(x)), (2, 2), (2, 2))
        return self.last(self.dropout(x.reshape(len(x), -1)))


def nnx_model() -> tuple[Any, Any]:
    """Return apply and params of a model in evaluation mode."""
    model = NNXConvNet(nnx.Rngs(0))
    model.eval()
    graph, state = nnx.split(model)

    def apply(state: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, state)(x)

    return apply, state


class EquinoxConvNet(eqx.Module):
    """Channels first, for one image."""

    layers: list[Any]
    norm: eqx.nn.LayerNorm
    head: eqx.nn.MLP

    def __init__(self, key: jax.Array):
        keys = jax.random.split(key, 3)
        self.layers = [
            eqx.nn.Conv2d(3, 4, 3, padding=1, key=keys[0]), jax.nn.silu, eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Conv2d(4, 6, 3, stride=2, key=keys[1]), jax.nn.relu,
        ]  # fmt: skip
        self.norm = eqx.nn.LayerNorm(54)
        self.head = eqx.nn.MLP(54, 10, 16, 2, activation=jax.nn.gelu, key=keys[2])

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x.ravel()))


def equinox_model() -> tuple[Any, Any]:
    """Return apply and params of a model that `jax.vmap` maps over images."""
    params, static = eqx.partition(EquinoxConvNet(jax.random.key(0)), eqx.is_inexact_array)

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return jax.vmap(eqx.combine(params, static))(x)

    return apply, params


def plain_mlp(params: Any, x: jax.Array) -> jax.Array:
    """Layers in a list of dicts, as in JAX's first tutorial."""
    *hidden, last = params
    x = x.reshape(len(x), -1)
    for layer in hidden:
        x = jnp.maximum(jnp.dot(x, layer["w"]) + layer["b"], 0)
    return jax.nn.log_softmax(x @ last["w"] + last["b"])
