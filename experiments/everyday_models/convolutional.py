"""Convolutional models of Flax, of small width, as they are written for images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

__all__ = ["MODELS"]

MAP, STEM = (16, 16, 3), (32, 32, 3)
norm = partial(nn.BatchNorm, use_running_average=True)
conv = partial(nn.Conv, use_bias=False)


class LeNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in (6, 16):
            x = nn.max_pool(nn.relu(nn.Conv(features, (5, 5))(x)), (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        for features in (30, 20):
            x = nn.relu(nn.Dense(features)(x))
        return nn.Dense(10)(x)


class VGG(nn.Module):
    plan: Sequence[int | str] = (4, 4, "M", 8, 8, "M", 12, 12, "M")

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in self.plan:
            if features == "M":
                x = nn.max_pool(x, (2, 2), (2, 2))
            else:
                x = nn.relu(norm()(nn.Conv(features, (3, 3))(x)))
        x = x.reshape(len(x), -1)
        x = nn.Dropout(0.5, deterministic=True)(nn.relu(nn.Dense(16)(x)))
        return nn.Dense(10)(x)


class BasicBlock(nn.Module):
    features: int
    strides: int = 1
    normalise: Any = norm
    product: Any = conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.product(self.features, (3, 3), strides=self.strides)(x)
        y = self.product(self.features, (3, 3))(nn.relu(self.normalise()(y)))
        y = self.normalise()(y)
        if x.shape != y.shape:
            x = self.product(self.features, (1, 1), strides=self.strides)(x)
            x = self.normalise()(x)
        return nn.relu(x + y)


class Bottleneck(nn.Module):
    features: int
    strides: int = 1
    groups: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(norm()(conv(self.features, (1, 1))(x)))
        y = conv(self.features, (3, 3), self.strides, feature_group_count=self.groups)(y)
        y = norm()(conv(4 * self.features, (1, 1))(nn.relu(norm()(y))))
        if x.shape != y.shape:
            x = norm()(conv(4 * self.features, (1, 1), self.strides)(x))
        return nn.relu(x + y)


class PreActivationBlock(nn.Module):
    features: int
    strides: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(norm()(x))
        if x.shape[-1] != self.features or self.strides > 1:
            x = conv(self.features, (1, 1), self.strides)(y)
        y = nn.relu(norm()(conv(self.features, (3, 3), self.strides)(y)))
        return x + conv(self.features, (3, 3))(y)


class ResNet(nn.Module):
    """Residual network; `imagenet`: a 7 x 7 stem with max-pooling."""

    block: Any = BasicBlock
    depths: Sequence[int] = (2, 2, 2, 2)
    width: int = 4
    imagenet: bool = False
    normalise: Any = norm
    product: Any = conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.imagenet:
            x = self.product(self.width, (7, 7), strides=2, padding=[(3, 3), (3, 3)])(x)
            x = nn.relu(self.normalise()(x))
            x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        else:
            x = nn.relu(self.normalise()(self.product(self.width, (3, 3))(x)))
        for stage, depth in enumerate(self.depths):
            for place in range(depth):
                strides = 2 if stage and not place else 1
                x = self.block(self.width * 2**stage, strides)(x)
        return nn.Dense(10)(jnp.mean(x, axis=(1, 2)))


class SqueezeExcite(nn.Module):
    gate: Any = nn.sigmoid
    active: Any = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        s = jnp.mean(x, axis=(1, 2), keepdims=True)
        s = self.active(nn.Conv(max(x.shape[-1] // 2, 4), (1, 1))(s))
        return x * self.gate(nn.Conv(x.shape[-1], (1, 1))(s))


class InvertedResidual(nn.Module):
    features: int
    expansion: int = 3
    strides: int = 1
    active: Any = nn.relu6
    squeeze: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner = x.shape[-1] * self.expansion
        y = self.active(norm()(conv(inner, (1, 1))(x)))
        y = conv(inner, (3, 3), strides=self.strides, feature_group_count=inner)(y)
        y = self.active(norm()(y))
        if self.squeeze is not None:
            y = self.squeeze()(y)
        y = norm()(conv(self.features, (1, 1))(y))
        return x + y if x.shape == y.shape else y


class MobileNet(nn.Module):
    """Inverted residuals; MobileNetV2, V3 and EfficientNet differ by activation and gate."""

    active: Any = nn.relu6
    squeeze: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.active(norm()(conv(4, (3, 3), strides=2)(x)))
        for features, strides in ((4, 1), (6, 2), (6, 1), (8, 2), (8, 1)):
            block = partial(InvertedResidual, active=self.active, squeeze=self.squeeze)
            x = block(features, strides=strides)(x)
        x = self.active(norm()(conv(16, (1, 1))(x)))
        return nn.Dense(10)(x.mean((1, 2)))


class DenseNet(nn.Module):
    growth: int = 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = conv(2 * self.growth, (3, 3))(x)
        for stage in range(3):
            for _ in range(3):
                y = conv(4 * self.growth, (1, 1))(nn.relu(norm()(x)))
                y = conv(self.growth, (3, 3))(nn.relu(norm()(y)))
                x = jnp.concatenate([x, y], axis=-1)
            if stage < 2:
                x = conv(x.shape[-1] // 2, (1, 1))(nn.relu(norm()(x)))
                x = nn.avg_pool(x, (2, 2), (2, 2))
        return nn.Dense(10)(nn.relu(norm()(x)).mean((1, 2)))


class SqueezeNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.max_pool(nn.relu(nn.Conv(6, (3, 3), strides=2)(x)), (3, 3), (2, 2))
        for squeeze, expand in ((2, 4), (2, 4), (3, 6)):
            s = nn.relu(nn.Conv(squeeze, (1, 1))(x))
            sides = [nn.relu(nn.Conv(expand, size)(s)) for size in ((1, 1), (3, 3))]
            x = jnp.concatenate(sides, axis=-1)
        return nn.relu(nn.Conv(10, (1, 1))(x)).mean(axis=(1, 2))


class Inception(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def unit(x: jax.Array, features: int, size: tuple[int, int]) -> jax.Array:
            return nn.relu(norm(epsilon=1e-3)(conv(features, size)(x)))

        x = unit(x, 6, (3, 3))
        for width in (4, 6):
            three = unit(unit(x, width, (1, 1)), 2 * width, (3, 3))
            factored = unit(unit(unit(x, width, (1, 1)), width, (1, 5)), width, (5, 1))
            pooled = unit(nn.avg_pool(x, (3, 3), (1, 1), "SAME"), width, (1, 1))
            x = jnp.concatenate([unit(x, width, (1, 1)), three, factored, pooled], axis=-1)
            x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(10)(x.mean((1, 2)))


class SignalCNN(nn.Module):
    """One-dimensional, for electrocardiograms and sound."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in (4, 8, 8):
            x = nn.relu(norm()(nn.Conv(features, (5,))(x)))
            x = nn.max_pool(x, (2,), (2,))
        return nn.Dense(5)(x.mean(axis=1))


class VolumeCNN(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in (4, 6):
            x = nn.leaky_relu(norm()(nn.Conv(features, (3, 3, 3))(x)))
            x = nn.max_pool(x, (2, 2, 2), (2, 2, 2))
        return nn.Dense(4)(x.reshape(x.shape[0], -1))


class UNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def double(x: jax.Array, features: int) -> jax.Array:
            for _ in range(2):
                x = nn.relu(norm()(conv(features, (3, 3))(x)))
            return x

        skips = []
        for features in (4, 6):
            skips.append(double(x, features))
            x = nn.max_pool(skips[-1], (2, 2), (2, 2))
        x = double(x, 8)
        for features, skip in ((6, skips[1]), (4, skips[0])):
            x = nn.ConvTranspose(features, (2, 2), strides=(2, 2))(x)
            x = double(jnp.concatenate([skip, x], axis=-1), features)
        return nn.Conv(2, (1, 1))(x)


class Autoencoder(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        for features in (4, 8):
            x = nn.relu(nn.Conv(features, (3, 3), strides=(2, 2))(x))
        shape = x.shape
        x = nn.relu(nn.Dense(shape[1] * shape[2] * shape[3])(nn.Dense(6)(x.reshape(len(x), -1))))
        x = x.reshape(shape)
        x = nn.relu(nn.ConvTranspose(4, (3, 3), strides=(2, 2))(x))
        return nn.sigmoid(nn.ConvTranspose(channels, (3, 3), strides=(2, 2))(x))


class TwoHeads(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        for features in (4, 8):
            x = nn.elu(norm()(nn.Conv(features, (3, 3), strides=2)(x)))
        flat = x.reshape(len(x), -1)
        box = nn.Dense(4)(nn.relu(nn.Dense(8)(flat)))
        return {"box": nn.sigmoid(box), "logits": nn.Dense(10)(x.mean((1, 2)))}


class HalfPrecisionCNN(nn.Module):
    """Computes in bfloat16, with parameters in float32."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kind = jnp.bfloat16
        for features in (4, 8):
            x = nn.Conv(features, (3, 3), dtype=kind)(x)
            x = nn.max_pool(nn.relu(norm(dtype=kind)(x)), (2, 2), (2, 2))
        x = nn.relu(nn.Dense(16, dtype=kind)(x.reshape(len(x), -1)))
        return nn.Dense(10, dtype=kind)(x).astype(jnp.float32)


class ConvNeXt(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.LayerNorm(epsilon=1e-6)(nn.Conv(4, (4, 4), strides=(4, 4))(x))
        for stage, features in enumerate((4, 8)):
            if stage:
                x = nn.Conv(features, (2, 2), strides=(2, 2))(nn.LayerNorm(epsilon=1e-6)(x))
            for place in range(2):
                y = nn.Conv(features, (7, 7), feature_group_count=features)(x)
                y = nn.gelu(nn.Dense(4 * features)(nn.LayerNorm(epsilon=1e-6)(y)))
                gamma = self.param(f"gamma_{stage}_{place}", nn.initializers.ones, (features,))
                x = x + gamma * nn.Dense(features)(y)
        return nn.Dense(10)(nn.LayerNorm(epsilon=1e-6)(x.mean((1, 2))))


class StandardisedConv(nn.Module):
    """Convolution whose kernel has mean 0 and variance 1 for each output."""

    features: int
    size: tuple[int, int]
    strides: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        mean, var = kernel.mean((0, 1, 2)), kernel.var((0, 1, 2))
        kernel = (kernel - mean) / jnp.sqrt(var * kernel[..., 0].size + 1e-4)
        return jax.lax.conv_general_dilated(
            x, kernel, (self.strides, self.strides), "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip


class WeightNormCNN(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in (4, 8):
            layer = nn.WeightNorm(nn.Conv(features, (3, 3), strides=2))
            x = nn.relu(layer(x))
        return nn.WeightNorm(nn.Dense(10))(x.reshape(len(x), -1))


class ShuffleUnit(nn.Module):
    strides: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.strides == 1:
            skip, y = jnp.split(x, 2, axis=-1)
            half = y.shape[-1]
        else:
            half = x.shape[-1]
            skip = norm()(conv(half, (3, 3), strides=2, feature_group_count=half)(x))
            skip, y = nn.relu(norm()(conv(half, (1, 1))(skip))), x
        y = nn.relu(norm()(conv(half, (1, 1))(y)))
        y = norm()(conv(half, (3, 3), strides=self.strides, feature_group_count=half)(y))
        y = nn.relu(norm()(conv(half, (1, 1))(y)))
        x = jnp.concatenate([skip, y], axis=-1)
        n, h, w, c = x.shape
        return x.reshape(n, h, w, 2, c // 2).swapaxes(3, 4).reshape(n, h, w, c)


class ShuffleNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(norm()(conv(4, (3, 3), strides=2)(x)))
        for _ in range(2):
            x = ShuffleUnit()(ShuffleUnit(2)(x))
        return nn.Dense(10)(x.mean((1, 2)))


class SuperResolution(nn.Module):
    """Doubles the size by a shuffle of channels to pixels, and adds a resized image."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n, h, w, c = x.shape
        y = nn.relu(nn.Conv(6, (3, 3))(x))
        y = y + nn.Conv(6, (3, 3))(nn.relu(nn.Conv(6, (3, 3))(y)))
        y = nn.Conv(4 * c, (3, 3))(y).reshape(n, h, w, 2, 2, c)
        y = y.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c)
        return y + jax.image.resize(x, y.shape, "bicubic")


class Keypoints(nn.Module):
    """Heat maps, and the expected position under each: a soft argmax."""

    points: int = 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.relu(norm()(nn.Conv(6, (3, 3), strides=2)(x)))
        x = nn.relu(nn.ConvTranspose(6, (4, 4), strides=(2, 2))(x))
        x = nn.Conv(self.points, (1, 1))(x)
        n, h, w, k = x.shape
        heat = nn.softmax(x.reshape(n, h * w, k), axis=1).reshape(n, h, w, k)
        rows = jnp.einsum("nhwk,h->nk", heat, jnp.linspace(0, 1, h))
        columns = jnp.einsum("nhwk,w->nk", heat, jnp.linspace(0, 1, w))
        return jnp.stack([columns, rows], axis=-1)


class DilatedContext(nn.Module):
    """Atrous pyramid: parallel dilations, the mean of the image, and a resize."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h, w = x.shape[1:3]
        x = nn.relu(norm()(nn.Conv(6, (3, 3), strides=2)(x)))
        branches = [
            nn.relu(norm()(nn.Conv(4, (3, 3), kernel_dilation=rate)(x))) for rate in (1, 2, 4)
        ]
        pooled = nn.relu(nn.Conv(4, (1, 1))(x.mean((1, 2), keepdims=True)))
        branches.append(jnp.broadcast_to(pooled, branches[0].shape))
        x = nn.Conv(3, (1, 1))(jnp.concatenate(branches, axis=-1))
        return jax.image.resize(x, (x.shape[0], h, w, 3), "bilinear")


resnet50 = partial(ResNet, block=Bottleneck, depths=(2, 2), width=3)
groups = {"normalise": partial(nn.GroupNorm, num_groups=2)}
standardised = {"product": StandardisedConv, **groups}

MODELS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "LeNet": (LeNet(), MAP),
    "VGG with batch norm": (VGG(), MAP),
    "ResNet-18, ImageNet stem": (ResNet(imagenet=True), STEM),
    "ResNet-18, CIFAR stem": (ResNet(), MAP),
    "ResNet, pre-activation": (ResNet(block=PreActivationBlock, depths=(2, 2, 2)), MAP),
    "ResNet, bottlenecks": (resnet50(imagenet=True), STEM),
    "ResNeXt, grouped": (resnet50(block=partial(Bottleneck, groups=3)), MAP),
    "ResNet, group norm": (
        ResNet(block=partial(BasicBlock, **groups), depths=(2, 2), **groups), MAP
    ),
    "ResNet, standardised weights": (
        ResNet(block=partial(BasicBlock, **standardised), depths=(2, 2), **standardised), MAP
    ),
    "MobileNetV2": (MobileNet(), STEM),
    "MobileNetV3": (
        MobileNet(nn.hard_swish, partial(SqueezeExcite, gate=nn.hard_sigmoid)), STEM
    ),
    "EfficientNet": (MobileNet(nn.swish, partial(SqueezeExcite, active=nn.swish)), STEM),
    "DenseNet": (DenseNet(), MAP),
    "SqueezeNet": (SqueezeNet(), STEM),
    "Inception": (Inception(), MAP),
    "ShuffleNetV2": (ShuffleNet(), STEM),
    "ConvNeXt": (ConvNeXt(), STEM),
    "weight norm CNN": (WeightNormCNN(), MAP),
    "CNN over signals": (SignalCNN(), (32, 2)),
    "CNN over volumes": (VolumeCNN(), (8, 8, 8, 1)),
    "U-Net": (UNet(), MAP),
    "autoencoder, transposed": (Autoencoder(), MAP),
    "two heads": (TwoHeads(), MAP),
    "CNN in bfloat16": (HalfPrecisionCNN(), MAP),
    "super-resolution": (SuperResolution(), (8, 8, 3)),
    "keypoints": (Keypoints(), MAP),
    "dilated pyramid": (DilatedContext(), MAP),
}  # fmt: skip
