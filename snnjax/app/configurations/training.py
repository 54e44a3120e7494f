"""Options of the training: the data, the network and its activation, and the hyper-parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import Parameter

from snnjax.app.configurations.choices import one_of, show_ranges
from snnjax.io import datasets
from snnjax.networks import architecture, known_networks, serialisation
from snnjax.networks.known_networks import NETWORKS
from snnjax.runtime.ranges import (
    AMOUNTS,
    SHARES,
    SIZES,
    UP_TO_IMAGES,
    UP_TO_WEIGHT_BITS,
    WEIGHT_BITS,
    real,
    whole,
)
from snnjax.training.training_config import TrainingConfig

__all__ = ["ImportedConfig", "TrainConfig", "recorded_training"]

Value = TypeVar("Value")
Shape = tuple[int, ...]

FromData = Annotated[Value, Parameter(parse=False)]
"""Field that the data decide and no option of the command line."""

UNBOUNDED = ("leaky_relu", "relu", "step_relu")


@show_ranges
@dataclass(frozen=True, kw_only=True)
class TrainConfig(TrainingConfig):
    """Everything that decides the trained parameters.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    dataset: str = "mnist5k"
    """images to train on: mnist5k, mnist, fashion_mnist, cifar10, or the path of your own: an .npz
    file with x_train, y_train, x_test and y_test, or a folder with images in train/CLASS and
    test/CLASS"""
    max_images: Annotated[int, UP_TO_IMAGES] = 0
    """train on this many of the training images only; 0 for all"""
    max_test_images: Annotated[int, UP_TO_IMAGES] = 0
    """test on this many of the test images only, for a trial run, also in `simulate` and
    `finetune`; 0 for all"""
    network: Annotated[str, one_of(NETWORKS)] = "net2"
    """architecture"""
    activation: Literal[
        "sth_leaky_relu", "leaky_relu", "th_relu", "relu", "rate_norm", "step_relu"
    ] = "sth_leaky_relu"
    """activation of the hidden layers: clipped at theta (sth_leaky_relu, th_relu), unbounded
    (leaky_relu, relu), a staircase (step_relu), or clipped at a share of the largest output that
    was seen (rate_norm); the leaky ones have a slope below zero"""
    bias_free: bool = False
    """train without biases"""
    alpha: Annotated[float, real(1e-6, 1)] = 0.1
    """slope of the activation below zero"""
    theta: Annotated[float, SIZES] = 1.0
    """upper bound of the activation; its initial value if it is learnt"""
    learn_theta: Literal["nothing", "layer", "channel"] = "nothing"
    """learn one theta per layer or per channel"""
    step: Annotated[float, SIZES] = 0.05
    """height of one step of step_relu"""
    rate_inference_epochs: Annotated[int, whole(0, 10**6)] = 1
    """passes over the training images for the second stage of rate_norm"""
    rate_inference_weight: Annotated[float, AMOUNTS] = 0.1
    """lambda of the loss of that stage: a larger one lowers both latency and accuracy"""
    weight_bits: Annotated[int, UP_TO_WEIGHT_BITS] = 0
    """train with weights and biases rounded as in an integer network of so many bits, at least 2;
    0 does not round them"""
    spike_penalty: Annotated[float, AMOUNTS] = 0.0
    """loss for a spike on every synapse at every timestep: more of it leaves fewer synaptic
    operations"""
    dropout: Annotated[float, SHARES] = 0.25
    """probability of dropping an input of a Dense layer other than the first layer"""
    validation: Annotated[float, real(0, 1, "()")] = 0.1
    """share of the training images held out to choose the epoch"""
    image_shape: FromData[Shape] = ()
    """(H, W, C) of a user's own images; () for those of a known data set"""
    classes: FromData[Annotated[int, whole(1, 10**6)]] = 10
    """number of classes of the data"""
    data_sha256: FromData[str] = ""
    """SHA-256 of a user's own data"""

    def __post_init__(self) -> None:
        if self.weight_bits != 0 and self.weight_bits not in WEIGHT_BITS:
            raise ValueError(
                f"weight_bits is {self.weight_bits}; want at least {WEIGHT_BITS.lowest} and at most"
                f" {WEIGHT_BITS.highest}, or 0 to train without rounding"
            )
        super().__post_init__()
        object.__setattr__(self, "image_shape", tuple(self.image_shape))  # JSON has lists
        for name in ("weight_bits", "spike_penalty"):
            if getattr(self, name) and self.activation not in ("sth_leaky_relu", "th_relu"):
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but {self.activation} has no theta that"
                    " training keeps or learns; want sth_leaky_relu or th_relu, or 0"
                )
        if self.levels and self.activation in UNBOUNDED:
            raise ValueError(
                f"levels is {self.levels}, but {self.activation} has no bound to divide; want 0"
            )
        known_networks.find(self.network)

    def architecture(self) -> architecture.Network:
        """Architecture for the images of this configuration, with its activation.

        Raises:
          ValueError: if the network is not for images of that shape.
        """
        activation = architecture.Activation(
            alpha=self.alpha if self.activation in ("sth_leaky_relu", "leaky_relu") else 0.0,
            theta=math.inf if self.activation in UNBOUNDED else self.theta,
            learn="rate" if self.activation == "rate_norm" else self.learn_theta,
            step=self.step if self.activation == "step_relu" else 0.0,
        )
        shape = self.image_shape or datasets.SHAPES.get(self.dataset)
        network = (
            known_networks.build(self.network, shape, self.classes)
            if shape
            else known_networks.find(self.network)
        )
        network = architecture.with_activation(network, activation)
        return architecture.without_biases(network) if self.bias_free else network


@dataclass(frozen=True, kw_only=True)
class ImportedConfig(TrainConfig):
    """Configuration of a network that was trained elsewhere; most fields hold no information.

    Raises:
      ValueError: if `blueprint` is no architecture.
    """

    network: str = "traced"
    blueprint: str = ""
    """the architecture as JSON, as `networks.serialisation.write` returns it"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", tuple(self.image_shape))
        self.architecture()

    def architecture(self) -> architecture.Network:
        """Architecture that `blueprint` describes."""
        return serialisation.read(self.blueprint)


def recorded_training(metadata: dict[str, Any]) -> TrainConfig:
    """Training configuration recorded in the metadata of a trained network's file.

    Raises:
      ValueError: if it has none, or its fields are not those of this version of snnjax.
    """
    if not isinstance(metadata.get("config"), dict):
        raise ValueError("the file does not say how its network was trained; make it again")
    try:
        imported = "blueprint" in metadata["config"]
        return (ImportedConfig if imported else TrainConfig)(**metadata["config"])
    except TypeError as error:
        raise ValueError(
            f"the file's training settings are of another version of snnjax ({error})"
        ) from error
