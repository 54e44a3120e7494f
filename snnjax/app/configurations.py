"""What a user may set in each stage, checked where it is set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from snnjax.conversion import methods
from snnjax.networks import architecture, known_networks, serialisation
from snnjax.runtime.checks import check_name
from snnjax.snn.encoding import ENCODINGS
from snnjax.snn.neurons import NEURONS
from snnjax.snn.readout import READOUTS
from snnjax.training.training_config import TrainingConfig

__all__ = [
    "DEFAULT_ENCODING",
    "DEFAULT_NEURON",
    "AdoptedConfig",
    "ConvertConfig",
    "ReadoutConfig",
    "SimulateConfig",
    "TrainConfig",
    "recorded",
    "settled",
    "with_conversion",
    "with_method",
]

DatasetName = Literal["mnist5k", "mnist", "fashion_mnist", "cifar10"]
NetworkName = Literal[
    "net1", "net2", "vgg16", "vgg16_quarter", "resnet20", "resnet20_wide", "resnet18"
]
MethodName = Literal[
    "sth_leaky_relu", "sth_half", "sth_exact", "cao", "model_norm", "data_norm", "robust_norm",
    "opi", "snm", "calibration", "calibration_advanced", "ter_mapping", "aug_mapping", "rnl",
    "th_relu", "qcfs", "srp", "cos", "wang2023",
]  # fmt: skip
NeuronName = Literal[
    "double-threshold", "double-threshold-hard", "exact-charge", "integrate-and-fire",
    "augmented", "signed-memory", "floored-hard", "residual-mask", "offset",
]  # fmt: skip
EncodingName = Literal["constant", "rate", "deterministic"]

UNBOUNDED = ("leaky_relu", "relu", "step_relu")
DEFAULT_NEURON: NeuronName = "exact-charge"
DEFAULT_ENCODING: EncodingName = "constant"


@dataclass(frozen=True, kw_only=True)
class TrainConfig(TrainingConfig):
    """Everything that decides the trained parameters.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    dataset: DatasetName = "mnist5k"
    """images to train on"""
    max_images: int = 0
    """take so many of the training images only; 0 for all"""
    max_test_images: int = 0
    """score so many of the test images only, for a trial run, in all stages; 0 for all"""
    network: NetworkName = "net2"
    """architecture"""
    activation: Literal[
        "sth_leaky_relu", "leaky_relu", "th_relu", "relu", "rate_norm", "step_relu"
    ] = "sth_leaky_relu"
    """leaky_relu, relu and step_relu have no bound; only the leaky ones a slope below zero;
    step_relu has steps, and rate_norm gives rates"""
    bias_free: bool = False
    """no bias in any layer"""
    alpha: float = 0.1
    """slope of the activation below zero, in (0, 1]"""
    theta: float = 1.0
    """bound of the activation; where it is learnt, its initial value"""
    learn_theta: Literal["nothing", "layer", "channel"] = "nothing"
    """learn one theta for each layer or channel"""
    step: float = 0.05
    """height of a step of step_relu"""
    rate_inference_epochs: int = 1
    """passes over the training images for the second stage of rate_norm"""
    rate_inference_weight: float = 0.1
    """lambda of its loss: the larger, the sooner rates can be read, and the less exact"""
    dropout: float = 0.25
    """probability of dropping an input of a Dense layer behind the first weights"""
    validation: float = 0.1
    """share of the training images kept apart to choose the epoch"""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_images", "max_test_images"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; want at least 0")
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}; want a slope in (0, 1], such as 0.1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; want it in [0, 1)")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation is {self.validation}; want a share in (0, 1)")
        if not 0 < self.theta < float("inf"):
            raise ValueError(f"theta is {self.theta}; want a finite bound above 0")
        if not 0 < self.step < float("inf"):
            raise ValueError(f"step is {self.step}; want it finite and above 0")
        if self.rate_inference_epochs < 0 or not self.rate_inference_weight >= 0:
            raise ValueError(
                f"rate_inference_epochs is {self.rate_inference_epochs} and rate_inference_weight"
                f" {self.rate_inference_weight}; want at least 0 of each"
            )
        if self.levels and self.activation in UNBOUNDED:
            raise ValueError(
                f"levels is {self.levels}, but {self.activation} has no bound to divide; want 0"
            )
        known_networks.find(self.network)

    def architecture(self) -> architecture.Network:
        """The network with the activation that this configuration asks for."""
        activation = architecture.Activation(
            alpha=self.alpha if self.activation in ("sth_leaky_relu", "leaky_relu") else 0.0,
            theta=float("inf") if self.activation in UNBOUNDED else self.theta,
            learn="rate" if self.activation == "rate_norm" else self.learn_theta,
            step=self.step if self.activation == "step_relu" else 0.0,
        )
        network = architecture.with_activation(known_networks.find(self.network), activation)
        return architecture.without_biases(network) if self.bias_free else network


@dataclass(frozen=True, kw_only=True)
class AdoptedConfig(TrainConfig):
    """Of a network that was trained elsewhere; how is not known, so most fields say nothing.

    Raises:
      ValueError: if `blueprint` is no architecture.
    """

    network: str = "traced"  # type: ignore[assignment]
    blueprint: str = ""
    """the architecture, as `blueprint.write` writes it"""

    def __post_init__(self) -> None:
        self.architecture()

    def architecture(self) -> architecture.Network:
        """The network that the blueprint describes."""
        return serialisation.read(self.blueprint)


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Everything that decides the converted parameters, beside the trained ones.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    method: MethodName | None = None
    """a published method: sets what it is made of in every stage"""
    scales: Literal[
        "theta", "unit", "largest", "percentile", "model_norm", "data_norm", "least_error"
    ] = "theta"
    """what a rate of 1 stands for: the activation's bound, 1, or measured on training images"""
    shift: bool = False
    """add v_p / (2 T) to the current of every hidden neuron at each timestep"""
    correct: Literal["nothing", "shift", "potential"] = "nothing"
    """calibrate double-threshold neurons: move mean rates to the ANN's by a current for each
    channel, or by an initial potential for each neuron"""
    for_steps: int = 0
    """T of the shift, of least_error and of the calibration [run: the simulation's]"""
    calibration_images: int = 1000
    """training images to measure scales on, and to calibrate on"""
    output_leak: float = 1.0
    """share of the last layer's potential kept per timestep, in (0, 1]"""
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
        if self.for_steps < 0:
            raise ValueError(f"for_steps is {self.for_steps}; want at least 1 timestep")
        if not 0 < self.output_leak <= 1:
            raise ValueError(f"output_leak is {self.output_leak}; want it in (0, 1]")

    @property
    def needs_steps(self) -> bool:
        """Whether something here is made for one T."""
        return self.shift or self.correct != "nothing" or self.scales == "least_error"


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """How to simulate.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    encoding: EncodingName | None = None
    """input: a constant current, Bernoulli spikes, or evenly spread spikes
    [default: the method's, or constant]"""
    neuron: NeuronName | None = None
    """neuron of the hidden layers [default: the method's, or exact-charge]"""
    readout: Literal["membrane", "count", "leaky", "stdp"] = "membrane"
    """answer: accumulated current of the last layer; its spike counts (the paper's); spike
    counts of a leaky layer behind it, with identity weights or those that STDP learnt"""
    num_steps: int = 16
    """timesteps T, pre-steps included; accuracy is given after each"""
    pre_steps: int | None = None
    """timesteps to run before the first answer, for neurons that then revise their start
    [default: the method's, or 0]"""
    shown_steps: int = 0
    """timesteps for which the input is shown; the exact-charge neuron then settles to what the ANN
    says at so many levels; 0 for all"""
    exit_margin: float | None = None
    """also score with early exit: an image stops when its largest value is so far above the
    second"""
    exit_tolerance: float | None = None
    """the same with the margin that loses at most this share of the validation images, such as
    0.001"""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps is {self.num_steps}; want at least 1 timestep")
        if self.encoding is not None:
            check_name("encoding", self.encoding, ENCODINGS)
        if self.pre_steps is not None and self.pre_steps < 0:
            raise ValueError(f"pre_steps is {self.pre_steps}; want at least 0")
        if self.shown_steps < 0:
            raise ValueError(f"shown_steps is {self.shown_steps}; want at least 0")
        check_name("readout", self.readout, READOUTS)
        if self.exit_margin is not None and not 0 <= self.exit_margin < float("inf"):
            raise ValueError(f"exit_margin is {self.exit_margin}; want it finite and at least 0")
        if self.exit_tolerance is not None and not 0 <= self.exit_tolerance < 1:
            raise ValueError(f"exit_tolerance is {self.exit_tolerance}; want a share in [0, 1)")
        if self.exit_margin is not None and self.exit_tolerance is not None:
            raise ValueError(
                f"exit_margin is {self.exit_margin} and exit_tolerance {self.exit_tolerance}, which"
                " chooses the margin; leave one out"
            )
        if self.neuron is not None:
            check_name("neuron", self.neuron, NEURONS)

    @property
    def exits(self) -> bool:
        """Whether to score with early exit too."""
        return self.exit_margin is not None or self.exit_tolerance is not None

    @property
    def arguments(self) -> dict[str, Any]:
        """What this stands for in the arguments of `simulation.simulate`."""
        return {
            "num_steps": self.num_steps,
            "neuron": NEURONS[self.neuron or DEFAULT_NEURON],
            "encoding": ENCODINGS[self.encoding or DEFAULT_ENCODING],
            "readout": READOUTS[self.readout],
            "pre_steps": self.pre_steps or 0,
            "shown_steps": self.shown_steps,
        }


@dataclass(frozen=True, kw_only=True)
class ReadoutConfig:
    """The leaky layer behind the last one, and how it learns; the paper states none of it.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    readout_rule: Literal["nothing", "stdp", "literal", "teacher"] = "stdp"
    """STDP with competition; as printed, without; a teacher that knows labels; or no learning"""
    readout_start: Literal["identity", "random"] = "identity"
    """weights to start from; behind random ones the neurons get their classes by a labelled
    subset"""
    readout_neurons: int = 0
    """neurons of a random start; 0 for three a class"""
    readout_leak: float = 0.95
    """share of the potential kept per timestep, in (0, 1]"""
    readout_threshold: float = 1.5
    """firing threshold, in spikes of the last layer"""
    readout_images: int = 0
    """training images to learn from; 0 for 10,000, or all where there are fewer"""
    readout_labels: int = 1000
    """how many of them may tell their label, where neurons get their classes by it"""
    readout_epochs: int = 0
    """passes over the spikes; 0 for 1, or 3 from a random start"""
    readout_steps: int = 32
    """timesteps T of learning"""
    a_plus: float = 0.02
    """STDP: gain of a pair of spikes whose first is the presynaptic"""
    a_minus: float = 0.002
    """STDP: loss of a pair whose first is the postsynaptic"""
    tau_plus: float = 5.0
    """STDP: time constant of the gain, in timesteps"""
    tau_minus: float = 5.0
    """STDP: time constant of the loss, in timesteps"""

    def __post_init__(self) -> None:
        least = {"readout_labels": 1, "readout_steps": 1, "readout_images": 0}
        for name, low in {**least, "readout_neurons": 0, "readout_epochs": 0}.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}; want at least {low}")
        if self.readout_neurons and self.readout_start == "identity":
            raise ValueError(
                f"readout_neurons is {self.readout_neurons}, but from the identity there is one for"
                " each class; leave it out, or give --readout-start random"
            )
        if self.readout_start == "random" and self.readout_rule != "stdp":
            raise ValueError(
                f"readout_rule is {self.readout_rule}, which starts from the identity; leave"
                " --readout-start out"
            )
        if not 0 < self.readout_leak <= 1:
            raise ValueError(f"readout_leak is {self.readout_leak}; want it in (0, 1]")
        for name in ("readout_threshold", "tau_plus", "tau_minus"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; want it finite and above 0")
        for name in ("a_plus", "a_minus"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; want it finite and at least 0")

    @property
    def epochs(self) -> int:
        """Passes over the spikes."""
        return self.readout_epochs or (3 if self.readout_start == "random" else 1)


def with_method(config: TrainConfig, method: MethodName | None) -> TrainConfig:
    """The training of the networks that a method converts.

    Raises:
      ValueError: if the configuration asks for something else than the method.
    """
    if method is None:
        return config
    found = methods.find(method)
    return methods.applied(found, config, {"activation": found.activation, **found.train})


def with_conversion(config: ConvertConfig, trained: TrainConfig) -> ConvertConfig:
    """The conversion with a method's settings.

    Raises:
      ValueError: if the configuration asks for something else than the method, the method
        does not fit the network, or a scale or T is not known where it is needed.
    """
    if config.method:
        found = methods.find(config.method)
        methods.check_fits(found, trained.activation, trained.bias_free)
        config = methods.applied(found, config, found.convert)
    if config.scales == "theta" and trained.activation in ("relu", "leaky_relu"):
        raise ValueError(
            f"{trained.activation} has no bound for a rate to stand for; give --scales, such as"
            " percentile, or a --method"
        )
    if config.needs_steps and not config.for_steps:
        raise ValueError("for_steps is 0, but this conversion is made for one T; give --for-steps")
    return config


def settled(config: SimulateConfig, method: MethodName | None) -> SimulateConfig:
    """The simulation with what the user left open: the method's, or the defaults."""
    found = methods.find(method) if method else None
    wanted: dict[str, Any] = {
        "neuron": found.neuron if found else DEFAULT_NEURON,
        "encoding": found.encoding if found else DEFAULT_ENCODING,
        "pre_steps": found.pre_steps if found else 0,
    }
    return replace(config, **{k: v for k, v in wanted.items() if getattr(config, k) is None})


def recorded(metadata: dict[str, Any]) -> TrainConfig:
    """The training settings that a trained network's file records.

    Raises:
      ValueError: if they are not settings of this version.
    """
    try:
        adopted = "blueprint" in metadata["config"]
        return (AdoptedConfig if adopted else TrainConfig)(**metadata["config"])
    except TypeError as error:
        raise ValueError(
            f"the file's training settings are of another version of snnjax ({error})"
        ) from error
