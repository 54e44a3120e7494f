"""What a network is made of: a closed set of layer specifications, and the known networks.

A specification holds no arrays. `ann` reads it as a Flax module and `spiking` as a pair of
pure functions, so the two cannot drift apart. A layer's name is its place and its kind
("03_conv"), so sorted names are in network order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

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
    "Activation",
    "AvgPool",
    "BatchNorm",
    "Block",
    "Concat",
    "Conv",
    "Dense",
    "Flatten",
    "Layer",
    "Network",
    "Normalise",
    "Residual",
    "Scale",
    "activations",
    "changed",
    "find",
    "named",
    "walk",
    "with_activation",
    "without_biases",
]


@dataclass(frozen=True)
class Dense:
    """y = x W + b on `[B, N]`."""

    features: int
    use_bias: bool = True


@dataclass(frozen=True)
class Conv:
    """A 2-D convolution on `[B, H, W, C]`, kernel `[kh, kw, C / groups, features]`.

    padding: a name, or the pixels of border before and after each axis.
    dilation: pixels from one tap of the kernel to the next; 1 is a dense kernel.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Literal["SAME", "VALID"] | tuple[tuple[int, int], tuple[int, int]] = "SAME"
    groups: int = 1
    use_bias: bool = True
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Scale:
    """x * scale + bias for each channel: what is left of a normalisation that no weights precede.

    features: channels of `[B, H, W, C]`, or inputs of `[B, N]`.
    """

    features: int


@dataclass(frozen=True)
class AvgPool:
    """Mean over windows that do not leave the image; in a spiking network, fixed synapses."""

    window: tuple[int, int]
    strides: tuple[int, int] | None = None  # None: the window itself


@dataclass(frozen=True)
class Flatten:
    """`[B, H, W, C]` to `[B, H * W * C]`, channels last."""


@dataclass(frozen=True)
class Normalise:
    """(x - mean) / std of each channel of the image; conversion folds it in. Comes first.

    Raises:
      ValueError: if the two differ in length, or a deviation is not above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not all(s > 0 for s in self.std):
            raise ValueError(
                f"mean is {self.mean} and std {self.std}; want one mean and one deviation above 0"
                " for each channel"
            )


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation of the Dense or Conv just before it; conversion folds it in."""

    momentum: float = 0.9
    epsilon: float = 1e-5


@dataclass(frozen=True)
class Activation:
    """sthLeakyReLU (eq. 13); a neuron in a spiking network.

    alpha: slope below zero, in [0, 1]; 0 has no negative side.
    theta: bound of the output, above 0, its initial value where it is learnt; may be inf.
    learn: what gets its own learnt theta: nothing, the layer, or each channel; or "rate": theta
      follows the largest output, and the output is divided by it (RNL, Ding et al. 2021).
    step: above 0, the output falls to a multiple of it up to 20 of them (StepReLU, Wang et
      al. 2023); needs alpha 0 and theta inf.

    Raises:
      ValueError: where a number is out of its range, or a theta of inf is learnt.
    """

    alpha: float = 0.1
    theta: float = 1.0
    learn: Literal["nothing", "layer", "channel", "rate"] = "nothing"
    step: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(
                f"alpha is {self.alpha}; want a slope in (0, 1], or 0 for no negative side"
            )
        if not self.theta > 0:
            raise ValueError(f"theta is {self.theta}; want a bound above 0")
        if self.learn not in ("nothing", "layer", "channel", "rate"):
            raise ValueError(
                f"learn is {self.learn!r}; want 'nothing', 'layer', 'channel' or 'rate'"
            )
        if self.learn != "nothing" and math.isinf(self.theta):
            raise ValueError("theta is inf and cannot be learnt; start from a finite bound")
        if self.step and (self.step < 0 or self.alpha or math.isfinite(self.theta)):
            raise ValueError(
                f"step is {self.step}; want it above 0, with alpha 0 and theta inf, or 0 for none"
            )


@dataclass(frozen=True)
class Residual:
    """body(x) + shortcut(x); an empty shortcut is the identity."""

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    @property
    def branches(self) -> dict[str, tuple[Layer, ...]]:
        """What the input passes side by side, by name."""
        return {"body": self.body, "shortcut": self.shortcut}

    def with_branches(self, change: Change) -> Residual:
        """The same with every branch changed."""
        return Residual(change(self.body), change(self.shortcut))


@dataclass(frozen=True)
class Concat:
    """The outputs of several branches side by side along the channels; an empty one is the input.

    Raises:
      ValueError: if there are fewer than two branches.
    """

    parts: tuple[tuple[Layer, ...], ...]

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise ValueError(f"parts has {len(self.parts)} branches; want at least 2")

    @property
    def branches(self) -> dict[str, tuple[Layer, ...]]:
        """What the input passes side by side, by name."""
        return {f"{place:02d}": part for place, part in enumerate(self.parts)}

    def with_branches(self, change: Change) -> Concat:
        """The same with every branch changed."""
        return Concat(tuple(map(change, self.parts)))


type_names = {
    Dense: "dense",
    Conv: "conv",
    AvgPool: "pool",
    Flatten: "flatten",
    Normalise: "normalise",
    BatchNorm: "norm",
    Activation: "activation",
    Scale: "scale",
    Residual: "residual",
    Concat: "concat",
}
Block = Residual | Concat
Layer = Dense | Conv | AvgPool | Flatten | Normalise | BatchNorm | Activation | Scale | Block
Change = Callable[[tuple[Layer, ...]], tuple[Layer, ...]]


@dataclass(frozen=True)
class Network:
    """A name and the layers from the image to the logits.

    Raises:
      ValueError: if something in `layers` is no layer specification, or a Normalise is not
        the first of them.
    """

    name: str
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        for name, layer in walk(self.layers):
            if type(layer) not in type_names:
                known = ", ".join(kind.__name__ for kind in type_names)
                raise ValueError(f"layer {name} is {layer!r}; want one of {known}")
            if isinstance(layer, Normalise) and layer is not self.layers[0]:
                raise ValueError(f"layer {name} normalises; want that as the first layer only")


def named(layers: tuple[Layer, ...]) -> list[tuple[str, Layer]]:
    """Each layer with its name; the inside of a block is named from 00 again."""
    return [
        (f"{place:02d}_{type_names.get(type(layer), 'unknown')}", layer)
        for place, layer in enumerate(layers)
    ]


def walk(layers: tuple[Layer, ...], prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """Every layer in order with its path ("02_residual/body/00_conv"), insides included."""
    for name, layer in named(layers):
        yield prefix + name, layer
        if isinstance(layer, Block):
            for branch, inside in layer.branches.items():
                yield from walk(inside, f"{prefix}{name}/{branch}/")


def activations(network: Network) -> dict[str, Activation]:
    """The activations of a network by path, in network order."""
    return {n: layer for n, layer in walk(network.layers) if isinstance(layer, Activation)}


def changed(layers: tuple[Layer, ...], change: Callable[[Layer], Layer]) -> tuple[Layer, ...]:
    """Every layer that is no block changed, insides included."""
    return tuple(
        layer.with_branches(lambda inside: changed(inside, change))
        if isinstance(layer, Block)
        else change(layer)
        for layer in layers
    )


def with_activation(network: Network, activation: Activation) -> Network:
    """The same network with every activation replaced."""

    def swap(layer: Layer) -> Layer:
        return activation if isinstance(layer, Activation) else layer

    return replace(network, layers=changed(network.layers, swap))


def without_biases(network: Network) -> Network:
    """The same network with no bias in any Dense or Conv."""

    def strip(layer: Layer) -> Layer:
        return replace(layer, use_bias=False) if isinstance(layer, Dense | Conv) else layer

    return replace(network, layers=changed(network.layers, strip))


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

Choice: the paper does not say how its convolutions meet the border; "VALID" is the usual
reading (28-24-12-8-4 pixels), with 29,826 parameters.
"""

CIFAR10 = Normalise((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
"""Mean and deviation of CIFAR-10's training pixels in [0, 1]."""


def _weighted(features: int, strides: int = 1, size: int = 3) -> tuple[Layer, ...]:
    """A convolution with batch normalisation, which makes its bias needless."""
    return (Conv(features, (size, size), (strides, strides), use_bias=False), BatchNorm())


def vgg16(name: str = "vgg16", width: int = 64) -> Network:
    """13 convolutions in five groups, each pooled, and three dense layers, for 32x32 pixels.

    Source: Simonyan and Zisserman 2015, configuration D.
    Choice: batch normalisation, average instead of maximum pooling, and, for the 1x1 pixels
    that are left, dense layers of 8 * width features instead of 4096.

    Args:
      name: of the network.
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
    """A residual network for 32x32 pixels: a convolution, stages of `blocks` blocks, a mean.

    A block is two convolutions of three pixels, its sum with the shortcut is activated; the
    first of every stage but the first halves the map, and where the shape changes the
    shortcut is a convolution of one pixel.

    Source: He, Zhang, Ren and Sun 2016, the networks for CIFAR-10, shortcuts of kind B.

    Args:
      name: of the network.
      widths: features of each stage.
      blocks: in each stage.

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
"""The ResNet-18 that is usual for 32x32 pixels: 11.2 million parameters."""

NETWORKS = {
    network.name: network
    for network in (NET1, NET2, VGG16, VGG16_QUARTER, RESNET20, RESNET20_WIDE, RESNET18)
}


def find(name: str) -> Network:
    """The network of that name.

    Raises:
      ValueError: if there is none; the message names the nearest.
    """
    return NETWORKS[check_name("network", name, NETWORKS)]
