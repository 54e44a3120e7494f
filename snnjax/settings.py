"""What a user may set in each stage, checked where it is set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from snnjax import architecture, methods, training
from snnjax.checks import check_name
from snnjax.encoding import ENCODINGS
from snnjax.neuron import NEURONS
from snnjax.readout import READOUTS

__all__ = [
    "ConvertConfig",
    "SimulateConfig",
    "TrainConfig",
    "recorded",
    "with_method",
]

DatasetName = Literal["mnist5k", "mnist", "fashion_mnist", "cifar10"]
MethodName = Literal[
    "sth_leaky_relu", "sth_exact", "model_norm", "data_norm", "robust_norm", "opi", "snm",
    "ter_mapping", "aug_mapping", "qcfs",
]  # fmt: skip
NeuronName = Literal[
    "double-threshold", "double-threshold-hard", "exact-charge", "augmented", "signed-memory"
]

DEFAULT_NEURON: NeuronName = "exact-charge"


@dataclass(frozen=True, kw_only=True)
class TrainConfig(training.TrainingConfig):
    """Everything that decides the trained parameters.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    dataset: DatasetName = "mnist5k"
    """images to train on"""
    network: Literal["net1", "net2"] = "net2"
    """architecture"""
    activation: Literal["sth_leaky_relu", "leaky_relu", "th_relu", "relu"] = "sth_leaky_relu"
    """leaky_relu and relu have no bound, th_relu and relu no slope below zero"""
    alpha: float = 0.1
    """slope of the activation below zero, in (0, 1]"""
    theta: float = 1.0
    """bound of the activation; where it is learnt, its initial value"""
    learn_theta: Literal["nothing", "layer", "channel"] = "nothing"
    """learn one theta for each layer or channel"""
    dropout: float = 0.25
    """probability of dropping an input of a Dense layer behind the first weights"""
    validation: float = 0.1
    """share of the training images kept apart to choose the epoch"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}; want a slope in (0, 1], such as 0.1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; want it in [0, 1)")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation is {self.validation}; want a share in (0, 1)")
        if not 0 < self.theta < float("inf"):
            raise ValueError(f"theta is {self.theta}; want a finite bound above 0")
        if self.levels and self.activation in ("leaky_relu", "relu"):
            raise ValueError(
                f"levels is {self.levels}, but {self.activation} has no bound to divide; want 0"
            )
        architecture.find(self.network)

    def architecture(self) -> architecture.Network:
        """The network with the activation that this configuration asks for."""
        alpha = 0.0 if self.activation in ("th_relu", "relu") else self.alpha
        theta = float("inf") if self.activation in ("leaky_relu", "relu") else self.theta
        activation = architecture.Activation(alpha, theta, self.learn_theta)
        return architecture.with_activation(architecture.find(self.network), activation)


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Everything that decides the converted parameters, beside the trained ones.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    method: MethodName | None = None
    """a published method: sets what it is made of in every stage"""
    scales: Literal["theta", "largest", "percentile", "model_norm", "data_norm"] = "theta"
    """what a rate of 1 stands for: the activation's bound, or measured on training images"""
    calibration_images: int = 1000
    """training images to measure scales on"""
    gain: float = 1.0
    """c of eq. 17: input spikes per step for a white pixel, above 0"""
    initial_potential: float = 0.5
    """v(0) as a fraction of the positive threshold; the paper's formulas have 0"""
    threshold: float = 1.0
    """positive threshold v_p, in membrane units"""

    def __post_init__(self) -> None:
        for name in ("gain", "threshold"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; want it finite and above 0")
        if self.calibration_images < 1:
            raise ValueError(
                f"calibration_images is {self.calibration_images}; want at least 1 image"
            )
        if not np.isfinite(self.initial_potential):
            raise ValueError(f"initial_potential is {self.initial_potential}; want it finite")


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """How to simulate.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    encoding: Literal["constant", "rate", "deterministic"] = "constant"
    """input: a constant current, Bernoulli spikes, or evenly spread spikes"""
    neuron: NeuronName | None = None
    """neuron of the hidden layers [default: the method's, or exact-charge]"""
    readout: Literal["membrane", "count"] = "membrane"
    """answer: accumulated current of the last layer, or its spike counts (the paper's)"""
    num_steps: int = 16
    """timesteps T; accuracy is given after each"""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps is {self.num_steps}; want at least 1 timestep")
        check_name("encoding", self.encoding, ENCODINGS)
        check_name("readout", self.readout, READOUTS)
        if self.neuron is not None:
            check_name("neuron", self.neuron, NEURONS)


def with_method(config: TrainConfig, method: MethodName | None) -> TrainConfig:
    """The training of the networks that a method converts.

    Raises:
      ValueError: if the configuration asks for something else than the method.
    """
    if method is None:
        return config
    found = methods.find(method)
    return methods.applied(found, config, {"activation": found.activation, **found.train})


def recorded(metadata: dict[str, Any]) -> TrainConfig:
    """The training settings that a trained network's file records.

    Raises:
      ValueError: if they are not settings of this version.
    """
    try:
        return TrainConfig(**metadata["config"])
    except TypeError as error:
        raise ValueError(
            f"the file's training settings are of another version of snnjax ({error})"
        ) from error
