"""The two transformers: one behind a convolutional stem for CIFAR-10, one on patches for MNIST."""

from __future__ import annotations

import flax.linen as nn
import jax

from snnjax.runtime.convolution import conv_general_dilated

__all__ = ["MODELS", "ConvolutionalTransformer", "VisionTransformer"]


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


def max_pool(x: jax.Array) -> jax.Array:
    """Largest of each 2 x 2 pixels; its gradient is faster than that of `nn.max_pool` on a CPU."""
    batch, rows, columns, channels = x.shape
    return x.reshape(batch, rows // 2, 2, columns // 2, 2, channels).max((2, 4))


MODELS = {
    "cct": ConvolutionalTransformer(),
    "vit": VisionTransformer(),
    "tiny": VisionTransformer(width=16, blocks=1, heads=2),
}
"""Modules by name; "tiny" is for the smoke run."""
