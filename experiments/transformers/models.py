"""Networks that are more than synapses and ReLU: two transformers and three convolutional ones."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from snnjax.runtime.convolution import conv_general_dilated

__all__ = [
    "MODELS",
    "ConvNeXt",
    "ConvolutionalTransformer",
    "LeNet",
    "MobileNet",
    "ViTTiny",
    "VisionTransformer",
]


class Block(nn.Module):
    """Pre-norm transformer block."""

    heads: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + nn.MultiHeadDotProductAttention(self.heads, name="attention")(
            nn.LayerNorm(name="norm1")(x)
        )
        y = nn.Dense(self.hidden, name="up")(nn.LayerNorm(name="norm2")(x))
        return x + nn.Dense(x.shape[-1], name="down")(nn.gelu(y))


class Encoder(nn.Module):
    """Transformer blocks on tokens `[B, N, D]`, a weighted mean of the tokens, and logits."""

    blocks: int
    heads: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.param("position", nn.initializers.normal(0.02), (1, *x.shape[1:]))
        for place in range(self.blocks):
            x = Block(self.heads, self.hidden, name=f"block{place + 1}")(x)
        x = nn.LayerNorm(name="norm")(x)
        weights = nn.softmax(nn.Dense(1, name="pooling")(x), axis=1)
        return nn.Dense(10, name="head")((weights * x).sum(1))


class ConvolutionalTransformer(nn.Module):
    """A compact convolutional transformer for images `[B, 32, 32, 3]` in [0, 1].

    Source: Hassani et al. 2021, the CCT with two convolutions and two blocks. Choice: half the
      features in the first convolution, and pooling by windows that do not overlap.
    """

    stem: int = 32
    width: int = 128
    blocks: int = 2
    heads: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = (x - 0.5) / 0.25
        for place, features in enumerate((self.stem, self.width)):
            # The patches of three channels are one product: XLA's own gradient is slow on a CPU.
            conv = nn.Conv(
                features, (3, 3), conv_general_dilated=conv_general_dilated, name=f"conv{place + 1}"
            )
            x = max_pool(nn.relu(conv(x)))
        x = x.reshape(len(x), -1, self.width)
        return Encoder(self.blocks, self.heads, self.width, name="encoder")(x)


class VisionTransformer(nn.Module):
    """A small vision transformer for images `[B, 28, 28, 1]` in [0, 1]: 16 patches of 7 x 7."""

    width: int = 64
    blocks: int = 2
    heads: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(self.width, (7, 7), (7, 7), name="patches")((x - 0.5) / 0.5)
        x = x.reshape(len(x), -1, self.width)
        return Encoder(self.blocks, self.heads, 2 * self.width, name="encoder")(x)


class ViTTiny(nn.Module):
    """ViT-Tiny for images `[B, 224, 224, 3]`, whose time is measured.

    Source: Touvron et al. 2021, table 1.
    """

    blocks: int = 12

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(192, (16, 16), (16, 16), name="patches")(x)
        x = x.reshape(len(x), -1, 192)
        token = self.param("token", nn.initializers.zeros, (1, 1, 192))
        x = jnp.concatenate([jnp.tile(token, (len(x), 1, 1)), x], 1)
        x = x + self.param("position", nn.initializers.normal(0.02), (1, *x.shape[1:]))
        for place in range(self.blocks):
            x = Block(3, 768, name=f"block{place + 1}")(x)
        return nn.Dense(1000, name="head")(nn.LayerNorm(name="norm")(x)[:, 0])


class LeNet(nn.Module):
    """Two convolutions with max-pooling and two dense layers, for images `[B, 28, 28, 1]`.

    Source: LeCun et al. 1998. Choice: ReLU and GELU in place of the sigmoid, and max-pooling.
    """

    blocks: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in (16, 32):
            conv = nn.Conv(features, (5, 5), conv_general_dilated=conv_general_dilated)
            x = max_pool(nn.relu(conv(x)))
        x = nn.gelu(nn.Dense(128)(x.reshape(len(x), -1)))
        return nn.Dense(10)(x)


class Gate(nn.Module):
    """Squeeze and excitation: channels weighted by a function of their means.

    Source: Hu et al. 2018.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        y = nn.relu(nn.Dense(channels // 4, name="down")(x.mean((1, 2))))
        return x * nn.hard_sigmoid(nn.Dense(channels, name="up")(y))[:, None, None]


class Bottleneck(nn.Module):
    """Inverted bottleneck with a gate and hard-swish."""

    expansion: int
    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        wide, stride = self.expansion * x.shape[-1], (self.stride, self.stride)
        y = nn.hard_swish(nn.GroupNorm(8, name="norm1")(nn.Dense(wide, name="expand")(x)))
        conv = nn.Conv(wide, (3, 3), stride, feature_group_count=wide, name="depthwise")
        y = Gate(name="gate")(nn.hard_swish(nn.GroupNorm(8, name="norm2")(conv(y))))
        y = nn.GroupNorm(8, name="norm3")(nn.Dense(self.features, name="project")(y))
        return x + y if x.shape == y.shape else y


class MobileNet(nn.Module):
    """A small network of inverted bottlenecks for images `[B, 28, 28, 1]`.

    Source: Howard et al. 2019 (MobileNetV3). Choice: normalisation of groups, not of the batch.
    """

    blocks: int = 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.hard_swish(nn.Conv(16, (3, 3), (2, 2), name="stem")(x))
        for place in range(self.blocks):
            features, stride = (16, 1) if place == 0 else (32, 2 if place == 1 else 1)
            x = Bottleneck(3, features, stride, name=f"block{place + 1}")(x)
        x = nn.hard_swish(nn.Dense(96, name="last")(x)).mean((1, 2))
        return nn.Dense(10, name="head")(x)


class ConvNeXt(nn.Module):
    """A small network of depthwise 7 x 7 convolutions, LayerNorm and GELU, for `[B, 28, 28, 1]`.

    Source: Liu et al. 2022.
    """

    blocks: int = 2
    width: int = 48

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.LayerNorm(name="norm")(nn.Conv(self.width, (4, 4), (4, 4), name="patches")(x))
        for place in range(self.blocks):
            conv = nn.Conv(
                self.width, (7, 7), feature_group_count=self.width, name=f"depthwise{place + 1}"
            )
            y = nn.LayerNorm(name=f"norm{place + 1}")(conv(x))
            y = nn.gelu(nn.Dense(4 * self.width, name=f"up{place + 1}")(y))
            x = x + nn.Dense(self.width, name=f"down{place + 1}")(y)
        x = nn.LayerNorm(name="last")(x.mean((1, 2)))
        return nn.Dense(10, name="head")(x)


def max_pool(x: jax.Array) -> jax.Array:
    """Largest of each 2 x 2 pixels; its gradient is faster than that of `nn.max_pool` on a CPU."""
    batch, rows, columns, channels = x.shape
    return x.reshape(batch, rows // 2, 2, columns // 2, 2, channels).max((2, 4))


MODELS = {
    "cct": ConvolutionalTransformer(),
    "convnext": ConvNeXt(),
    "lenet": LeNet(),
    "mobilenet": MobileNet(),
    "vit": VisionTransformer(),
    "tiny": VisionTransformer(width=16, blocks=1, heads=2),
    "vit-tiny": ViTTiny(),
}
"""Modules by name; "tiny" is for the smoke run, "vit-tiny" for times alone."""
