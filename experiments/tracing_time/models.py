"""Flax models whose tracing is timed: ResNet-18 and MobileNetV2 for images of 32 x 32."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax

__all__ = ["MODELS", "MobileNetV2", "ResNet18"]

norm = partial(nn.BatchNorm, use_running_average=True)
conv = partial(nn.Conv, use_bias=False)


class BasicBlock(nn.Module):
    features: int
    strides: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(norm()(conv(self.features, (3, 3), self.strides)(x)))
        y = norm()(conv(self.features, (3, 3))(y))
        if x.shape != y.shape:
            x = norm()(conv(self.features, (1, 1), self.strides)(x))
        return nn.relu(x + y)


class ResNet18(nn.Module):
    width: int = 64

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(norm()(conv(self.width, (3, 3))(x)))
        for stage in range(4):
            for block in range(2):
                x = BasicBlock(self.width * 2**stage, 2 if stage and not block else 1)(x)
        return nn.Dense(10)(x.mean((1, 2)))


class InvertedResidual(nn.Module):
    expansion: int
    features: int
    strides: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner, y = self.expansion * x.shape[-1], x
        if self.expansion > 1:
            y = nn.relu6(norm()(conv(inner, (1, 1))(y)))
        y = conv(inner, (3, 3), self.strides, feature_group_count=inner)(y)
        y = norm()(conv(self.features, (1, 1))(nn.relu6(norm()(y))))
        return x + y if x.shape == y.shape else y


class MobileNetV2(nn.Module):
    """Sandler et al. 2018, table 2, with the first strides of 1 as usual for CIFAR."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu6(norm()(conv(32, (3, 3))(x)))
        for expansion, features, repeats, strides in (
            (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2),
            (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
        ):  # fmt: skip
            for place in range(repeats):
                x = InvertedResidual(expansion, features, 1 if place else strides)(x)
        x = nn.relu6(norm()(conv(1280, (1, 1))(x)))
        return nn.Dense(10)(x.mean((1, 2)))


MODELS = {"resnet18": ResNet18(), "mobilenetv2": MobileNetV2()}
