"""Networks by name: the two of the paper, and VGG16 and ResNets for 32x32 pixels."""

from __future__ import annotations

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
    "find",
]

NET1 = Network(
    "net1",
    (Flatten(), Dense(1200), Activation(), Dense(1200), Activation(), Dense(10)),
)
"""784-1200-1200-10 (He et al. 2024, table 1)."""

NET2 = Network(
    "net2",
    (
        Conv(12, (5, 5), padding="VALID"),
        Activation(),
        AvgPool((2, 2)),
        Conv(64, (5, 5), padding="VALID"),
        Activation(),
        AvgPool((2, 2)),
        Flatten(),
        Dense(10),
    ),
)
"""12c5-p2-64c5-p2-10 (He et al. 2024, table 1).

Choice: the paper does not name the padding of its convolutions; "VALID" is the usual reading
(28-24-12-8-4 pixels), with 29,826 parameters.
"""

CIFAR10 = Normalise((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
"""Mean and standard deviation of the training pixels of CIFAR-10, in [0, 1]."""


def _weighted(features: int, strides: int = 1, size: int = 3) -> tuple[Layer, ...]:
    """A convolution without bias, and batch normalisation."""
    return (Conv(features, (size, size), (strides, strides), use_bias=False), BatchNorm())


def vgg16(name: str = "vgg16", width: int = 64) -> Network:
    """VGG16 for 32x32 pixels: 13 convolutions, pooled after each of five groups, 3 dense layers.

    Source: Simonyan and Zisserman 2015, configuration D.
    Choice: batch normalisation; average instead of maximum pooling; dense layers of 8 * width
    features instead of 4096, because the last map has only 1x1 pixels.

    Args:
      name: name of the network.
      width: features of the first group; the others have 2, 4, 8 and 8 times as many.

    Raises:
      Nothing.
    """
    layers: list[Layer] = [CIFAR10]
    for factor, count in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)):
        for _ in range(count):
            layers += [*_weighted(factor * width), Activation()]
        layers += [AvgPool((2, 2))]
    layers += [Flatten()]
    for _ in range(2):
        layers += [Dense(8 * width), Activation()]
    return Network(name, (*layers, Dense(10)))


def resnet(name: str, widths: tuple[int, ...], blocks: int) -> Network:
    """ResNet for 32x32 pixels: a convolution, stages of residual blocks, pooling, a dense layer.

    A block has two 3x3 convolutions, and an activation after the sum with the shortcut. The first
    block of every stage after the first halves height and width of the map. Where the shape
    changes, the shortcut is a 1x1 convolution.

    Source: He, Zhang, Ren and Sun 2016, the networks for CIFAR-10, shortcuts of option B.

    Args:
      name: name of the network.
      widths: features of each stage.
      blocks: number of blocks in each stage.

    Raises:
      Nothing.
    """
    layers: list[Layer] = [CIFAR10, *_weighted(widths[0]), Activation()]
    before = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            body = (*_weighted(width, strides), Activation(), *_weighted(width))
            same = strides == 1 and width == before
            layers += [Residual(body, () if same else _weighted(width, strides, 1)), Activation()]
            before = width
    pixels = 32 // 2 ** (len(widths) - 1)
    return Network(name, (*layers, AvgPool((pixels, pixels)), Flatten(), Dense(10)))


VGG16 = vgg16()
"""VGG16 for 32x32 pixels, 15,249,354 parameters."""

VGG16_QUARTER = vgg16("vgg16_quarter", 16)
"""VGG16 with a quarter of the features, small enough to train on a CPU."""

RESNET20 = resnet("resnet20", (16, 32, 64), 3)
"""The ResNet-20 of He et al. 2016, and of QCFS, SRP and COS: 0.27 million parameters."""

RESNET20_WIDE = resnet("resnet20_wide", (64, 128, 256), 3)
"""The ResNet-20 of SNN calibration (Li et al. 2021): four times the features, 4.3 million."""

RESNET18 = resnet("resnet18", (64, 128, 256, 512), 2)
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
