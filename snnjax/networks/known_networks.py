"""Networks by name: the two of the paper, and VGG16 and ResNets for 32x32 pixels.

`build` makes the same networks for images of another shape and another number of classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from snnjax.networks.architecture import (
    Activation,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Layer,
    Network,
    Normalise,
    Residual,
)
from snnjax.runtime.checks import check_name

__all__ = [
    "NET1",
    "NET2",
    "NETWORKS",
    "RESNET18",
    "RESNET20",
    "RESNET20_WIDE",
    "VGG16",
    "VGG16_QUARTER",
    "Images",
    "build",
    "find",
]


class Images(NamedTuple):
    """shape: `(H, W, C)` of the images that a network is built for; classes: its outputs."""

    shape: tuple[int, int, int] = (32, 32, 3)
    classes: int = 10


def net1(images: Images) -> Network:
    """Net1 for any images: two hidden layers of 1200."""
    hidden = (Dense(1200), Activation(), Dense(1200), Activation())
    return Network("net1", (Flatten(), *hidden, Dense(images.classes)))


def net2(images: Images) -> Network:
    """Net2 for images of at least 16x16 pixels.

    Raises:
      ValueError: if the images are smaller.
    """
    _check_size("net2", images, 16)
    return Network(
        "net2",
        (
            Conv(12, (5, 5), padding="VALID"),
            Activation(),
            AvgPool((2, 2)),
            Conv(64, (5, 5), padding="VALID"),
            Activation(),
            AvgPool((2, 2)),
            Flatten(),
            Dense(images.classes),
        ),
    )


def _check_size(name: str, images: Images, least: int) -> None:
    if min(images.shape[:2]) < least:
        raise ValueError(
            f"images have {images.shape[0]} x {images.shape[1]} pixels, and network {name} pools"
            f" them to nothing; want at least {least} x {least}, or another network, such as net1"
        )


NET1 = net1(Images())
"""784-1200-1200-10 (He et al. 2024, table 1)."""

NET2 = net2(Images())
"""12c5-p2-64c5-p2-10 (He et al. 2024, table 1).

Choice: the paper does not name the padding of its convolutions; "VALID" is the usual reading
(28-24-12-8-4 pixels), with 29,826 parameters.
"""

CIFAR10 = Normalise((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
"""Mean and standard deviation of the training pixels of CIFAR-10, in [0, 1]."""


def _normalise(channels: int) -> Normalise:
    """Normalise images of any kind by the statistics of CIFAR-10.

    Choice: images without three channels have the mean over the three in each of theirs.
    """
    if channels == len(CIFAR10.mean):
        return CIFAR10
    mean, std = (round(sum(values) / len(values), 4) for values in (CIFAR10.mean, CIFAR10.std))
    return Normalise((mean,) * channels, (std,) * channels)


def _weighted(features: int, strides: int = 1, size: int = 3) -> tuple[Layer, ...]:
    """A convolution without bias, and batch normalisation."""
    return (Conv(features, (size, size), (strides, strides), use_bias=False), BatchNorm())


def vgg16(images: Images, name: str = "vgg16", width: int = 64) -> Network:
    """VGG16 for 32x32 pixels: 13 convolutions, pooled after each of five groups, 3 dense layers.

    Source: Simonyan and Zisserman 2015, configuration D.
    Choice: batch normalisation; average instead of maximum pooling; dense layers of 8 * width
    features instead of 4096, because the last map has only 1x1 pixels.

    Args:
      images: that it is for.
      name: name of the network.
      width: features of the first group; the others have 2, 4, 8 and 8 times as many.

    Raises:
      ValueError: if the images are smaller.
    """
    _check_size(name, images, 32)
    layers: list[Layer] = [_normalise(images.shape[-1])]
    for factor, count in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)):
        for _ in range(count):
            layers += [*_weighted(factor * width), Activation()]
        layers += [AvgPool((2, 2))]
    layers += [Flatten()]
    for _ in range(2):
        layers += [Dense(8 * width), Activation()]
    return Network(name, (*layers, Dense(images.classes)))


def resnet(images: Images, name: str, widths: tuple[int, ...], blocks: int) -> Network:
    """ResNet for small images: a convolution, stages of residual blocks, pooling, a dense layer.

    A block has two 3x3 convolutions, and an activation after the sum with the shortcut. The first
    block of every stage after the first halves height and width of the map. Where the shape
    changes, the shortcut is a 1x1 convolution.

    Source: He, Zhang, Ren and Sun 2016, the networks for CIFAR-10, shortcuts of option B.

    Args:
      images: that it is for.
      name: name of the network.
      widths: features of each stage.
      blocks: number of blocks in each stage.

    Raises:
      Nothing.
    """
    normalise = _normalise(images.shape[-1])
    layers: list[Layer] = [normalise, *_weighted(widths[0]), Activation()]
    before = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            body = (*_weighted(width, strides), Activation(), *_weighted(width))
            same = strides == 1 and width == before
            layers += [Residual(body, () if same else _weighted(width, strides, 1)), Activation()]
            before = width
    shrinks = 2 ** (len(widths) - 1)
    height, width = (-(-pixels // shrinks) for pixels in images.shape[:2])  # rounded up
    return Network(name, (*layers, AvgPool((height, width)), Flatten(), Dense(images.classes)))


BUILDERS: dict[str, Callable[[Images], Network]] = {
    "net1": net1,
    "net2": net2,
    "vgg16": vgg16,
    "vgg16_quarter": partial(vgg16, name="vgg16_quarter", width=16),
    "resnet20": partial(resnet, name="resnet20", widths=(16, 32, 64), blocks=3),
    "resnet20_wide": partial(resnet, name="resnet20_wide", widths=(64, 128, 256), blocks=3),
    "resnet18": partial(resnet, name="resnet18", widths=(64, 128, 256, 512), blocks=2),
}

VGG16 = BUILDERS["vgg16"](Images())
"""VGG16 for 32x32 pixels, 15,249,354 parameters."""

VGG16_QUARTER = BUILDERS["vgg16_quarter"](Images())
"""VGG16 with a quarter of the features, small enough to train on a CPU."""

RESNET20 = BUILDERS["resnet20"](Images())
"""The ResNet-20 of He et al. 2016, and of QCFS, SRP and COS: 0.27 million parameters."""

RESNET20_WIDE = BUILDERS["resnet20_wide"](Images())
"""The ResNet-20 of SNN calibration (Li et al. 2021): four times the features, 4.3 million."""

RESNET18 = BUILDERS["resnet18"](Images())
"""The usual ResNet-18 for 32x32 pixels: 11.2 million parameters."""

NETWORKS = {
    network.name: network
    for network in (NET1, NET2, VGG16, VGG16_QUARTER, RESNET20, RESNET20_WIDE, RESNET18)
}


def find(name: str) -> Network:
    """Return the network of that name.

    Raises:
      ValueError: if there is none; the message names the nearest one.
    """
    return NETWORKS[check_name("network", name, NETWORKS)]


def build(name: str, image_shape: tuple[int, ...], classes: int) -> Network:
    """Return the network of that name for images `(H, W, C)` and a number of classes.

    Raises:
      ValueError: if there is none of that name, or the images are too small for it.
    """
    height, width, channels = image_shape
    find(name)
    if name not in BUILDERS:  # a network that was added to NETWORKS as it is
        return NETWORKS[name]
    return BUILDERS[name](Images((height, width, channels), classes))
