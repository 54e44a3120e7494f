"""Small functions of many kinds, as users write them, with images that they take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import snnjax

MAP = (8, 8, 3)


class Case(NamedTuple):
    """apply and params of a function, and the shape of one image."""

    apply: Callable[[Any, jax.Array], Any]
    params: Any
    shape: tuple[int, ...]


class LeNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.max_pool(nn.relu(nn.Conv(4, (3, 3))(x)), (2, 2), (2, 2))
        x = nn.max_pool(nn.gelu(nn.Conv(6, (3, 3))(x)), (2, 2), (2, 2))
        return nn.Dense(5)(nn.relu(nn.Dense(8)(x.reshape(len(x), -1))))


class SqueezeMobileNet(nn.Module):
    """Inverted residual with squeeze-and-excite and hard-swish."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.hard_swish(nn.Conv(4, (3, 3), strides=2)(x))
        y = nn.hard_swish(nn.Conv(8, (1, 1))(x))
        y = nn.hard_swish(nn.Conv(8, (3, 3), feature_group_count=8)(y))
        gate = nn.relu(nn.Dense(4)(y.mean((1, 2))))
        y = y * nn.hard_sigmoid(nn.Dense(8)(gate))[:, None, None]
        x = x + nn.Conv(4, (1, 1))(y)
        return nn.Dense(5)(x.mean((1, 2)))


class ConvNeXt(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.LayerNorm()(nn.Conv(4, (2, 2), (2, 2))(x))
        y = nn.Conv(4, (3, 3), feature_group_count=4)(x)
        y = nn.Dense(4)(nn.gelu(nn.Dense(8)(nn.LayerNorm()(y))))
        x = x + self.param("scale", nn.initializers.constant(0.5), (4,)) * y
        return nn.Dense(5)(nn.LayerNorm()(x.mean((1, 2))))


class Block(nn.Module):
    """Transformer block."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x))
        y = nn.gelu(nn.Dense(16)(nn.LayerNorm()(x)))
        return x + nn.Dense(x.shape[-1])(y)


class ViT(nn.Module):
    """Vision transformer with a class token."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(8, (4, 4), (4, 4))(x).reshape(len(x), -1, 8)
        token = self.param("token", nn.initializers.normal(1.0), (1, 1, 8))
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, 8)), x], 1)
        x = x + self.param("position", nn.initializers.normal(0.1), (1, x.shape[1], 8))
        for _ in range(2):
            x = Block()(x)
        return nn.Dense(5)(nn.LayerNorm()(x)[:, 0])


class Mixer(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(8, (4, 4), (4, 4))(x).reshape(len(x), -1, 8)
        y = jnp.swapaxes(nn.LayerNorm()(x), 1, 2)
        x = x + jnp.swapaxes(nn.Dense(4)(nn.gelu(nn.Dense(6)(y))), 1, 2)
        x = x + nn.Dense(8)(nn.gelu(nn.Dense(12)(nn.LayerNorm()(x))))
        return nn.Dense(5)(x.mean(1))


class GroupNormResNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.GroupNorm(2)(nn.Conv(4, (3, 3), strides=2)(x)))
        y = nn.relu(nn.GroupNorm(2)(nn.Conv(4, (3, 3))(x)))
        x = nn.relu(x + nn.GroupNorm(2)(nn.Conv(4, (3, 3))(y)))
        return nn.Dense(5)(x.mean((1, 2)))


class GatedMLP(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(12)(x)
        x = x + nn.Dense(12)(nn.silu(nn.Dense(8)(x)) * nn.Dense(8)(x))
        return nn.Dense(5)(x)


class UNet(nn.Module):
    """Answers with a map, through a bilinear resize."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        a = nn.relu(nn.Conv(4, (3, 3))(x))
        b = nn.relu(nn.Conv(6, (3, 3))(nn.max_pool(a, (2, 2), (2, 2))))
        up = jax.image.resize(b, (*a.shape[:3], 6), "bilinear")
        return nn.Conv(2, (1, 1))(nn.relu(nn.Conv(4, (3, 3))(jnp.concatenate([a, up], -1))))


class ScannedBlocks(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        class Layer(nn.Module):
            @nn.compact
            def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
                return x + nn.Dense(8)(nn.relu(nn.Dense(12)(x))), None

        x = nn.relu(nn.Dense(8)(x.reshape(len(x), -1)))
        scan = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        return nn.Dense(5)(scan()(x, None)[0])


class RowLSTM(nn.Module):
    """LSTM over the rows of an image, unrolled, with two heads."""

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        cell = nn.OptimizedLSTMCell(6)
        carry = jnp.zeros((len(x), 6)), jnp.zeros((len(x), 6))
        for row in range(4):
            carry, y = cell(carry, x[:, row].reshape(len(x), -1))
        return {"class": nn.Dense(5)(y), "size": nn.Dense(1)(y)[:, 0]}


FLAX = {
    "lenet": (LeNet(), MAP),
    "squeeze-mobilenet": (SqueezeMobileNet(), MAP),
    "convnext": (ConvNeXt(), MAP),
    "vit": (ViT(), MAP),
    "mixer": (Mixer(), MAP),
    "groupnorm-resnet": (GroupNormResNet(), MAP),
    "gated-mlp": (GatedMLP(), (10,)),
    "unet": (UNet(), MAP),
    "scanned-blocks": (ScannedBlocks(), (4, 4, 1)),
    "row-lstm": (RowLSTM(), (4, 4, 1)),
}


@cache
def flax_case(name: str) -> Case:
    """Return a function with weights that are multiples of 1/64, so that sums are exact."""
    module, shape = FLAX[name]
    variables = jax.jit(module.init)(jax.random.key(1), jnp.zeros((2, *shape)))
    return Case(module.apply, jax.tree.map(lambda w: np.round(w * 64) / 64, variables), shape)


def images(shape: tuple[int, ...], count: int = 6, seed: int = 0) -> np.ndarray:
    """Return images whose pixels are multiples of 1/64."""
    drawn = np.random.default_rng(seed).integers(0, 65, (count, *shape))
    return (drawn / 64).astype(np.float32)


def last(values: Any) -> Any:
    """Return the outputs after the last timestep."""
    return jax.tree.map(lambda of: of[-1], values)


def largest_difference(a: Any, b: Any) -> float:
    """Return the largest difference of two pytrees."""
    of_leaves = jax.tree.map(lambda x, y: float(jnp.max(jnp.abs(x - y))), a, b)
    return max(jax.tree.leaves(of_leaves))


def settled(apply: Callable[[Any, jax.Array], Any], params: Any, x: np.ndarray) -> snnjax.Spiking:
    """Return a function made spiking, after a check at three numbers of levels, in one compilation,
    that it settles to its quantised function and stays there.
    """

    @jax.jit
    def simulated_and_quantised(spiking: snnjax.Spiking) -> tuple[Any, jax.Array, Any]:
        result = snnjax.simulate(spiking, x, num_steps=112)
        return result.values, result.spikes, spiking.quantised(spiking.params, x)

    for levels in (2, 5, 16):
        spiking = snnjax.spike(apply, params, x, levels=levels, input_steps=16)
        values, spikes, wanted = simulated_and_quantised(spiking)
        assert largest_difference(last(values), wanted) <= 1e-5
        assert int(spikes[-1].max()) == int(spikes[-16].max()) > 0
    return spiking
