"""Options of a stage completed by the settings of a published method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from snnjax.app.configurations.conversion import ConvertConfig
from snnjax.app.configurations.fine_tuning import FineTuneConfig
from snnjax.app.configurations.simulation import DEFAULT_ENCODING, DEFAULT_NEURON, SimulateConfig
from snnjax.app.configurations.training import TrainConfig
from snnjax.conversion import methods, threshold_balancing

__all__ = [
    "check_calibrated_neuron",
    "resolve_conversion",
    "resolve_fine_tuning",
    "resolve_for_network",
    "resolve_simulation",
    "resolve_training",
    "with_method",
]

Config = TypeVar("Config")

CALIBRATED = "double-threshold"
"""The neuron that `conversion.calibration` simulates."""

WITHOUT_SCALE = ("relu", "leaky_relu")
"""Activations with neither a bound nor a step that a firing rate of 1 could stand for."""


def resolve_training(config: TrainConfig, method: str | None) -> TrainConfig:
    """Training of a network that a method converts: `config` with the method's settings.

    Raises:
      ValueError: if the configuration contradicts the method.
    """
    if method is None:
        return config
    found = methods.find(method)
    return methods.apply_settings(found, config, {"activation": found.activation, **found.train})


def resolve_conversion(config: ConvertConfig, trained: TrainConfig) -> ConvertConfig:
    """Conversion of a network that was trained with `trained`: `config` with its method's settings.

    Raises:
      ValueError: if the configuration contradicts the method, the method or the rule for the
        scales does not fit the network, or the conversion needs such a rule, or a T, and has none.
    """
    if config.method:
        methods.check_fits(methods.find(config.method), trained.activation, trained.bias_free)
        config = with_method(config)
    if config.scales == "theta" and trained.activation in WITHOUT_SCALE:
        raise ValueError(
            f"{trained.activation} has no bound for a rate to stand for; give --scales, such as"
            " percentile, or a --method"
        )
    threshold_balancing.check_rule(config.scales, trained.architecture())
    if config.needs_steps and not config.for_steps:
        raise ValueError("for_steps is 0, but this conversion is made for one T; give --for-steps")
    return config


def with_method(config: Config) -> Config:
    """Return a configuration of the conversion with the settings of its method, others unchanged.

    Raises:
      ValueError: if the configuration contradicts the method.
    """
    if not isinstance(config, ConvertConfig) or not config.method:
        return config
    method = methods.find(config.method)
    return methods.apply_settings(method, config, method.convert)


def check_calibrated_neuron(correct: str, neuron: str) -> None:
    """Refuse a neuron for which the network is not calibrated.

    Raises:
      ValueError: if the mean rates of another neuron were matched to the activations.
    """
    if correct != "nothing" and neuron != CALIBRATED:
        raise ValueError(
            f"the network is calibrated (--correct {correct}) for {CALIBRATED} neurons, and the"
            f" neuron is {neuron}; give --neuron {CALIBRATED}, or convert without --correct"
        )


def resolve_simulation(config: SimulateConfig, method: str | None) -> SimulateConfig:
    """Simulation in which every open option has the method's value, or else its default."""
    found = methods.find(method) if method else None
    wanted: dict[str, Any] = {
        "neuron": found.neuron if found else DEFAULT_NEURON,
        "encoding": found.encoding if found else DEFAULT_ENCODING,
        "pre_steps": found.pre_steps if found else 0,
    }
    return _with_values(config, wanted)


def _with_values(config: SimulateConfig, wanted: Mapping[str, Any]) -> SimulateConfig:
    """Configuration in which every open option has a value."""
    return replace(config, **{k: v for k, v in wanted.items() if getattr(config, k) is None})


def resolve_fine_tuning(config: FineTuneConfig, metadata: Mapping[str, Any]) -> FineTuneConfig:
    """Fine-tuning with the neuron and the encoding with which its network is simulated.

    Raises:
      ValueError: if that neuron has no surrogate gradient, or the network is calibrated for
        another one.
    """
    chosen = SimulateConfig(neuron=config.neuron, encoding=config.encoding)
    simulation = resolve_for_network(chosen, metadata)
    return replace(config, neuron=simulation.neuron, encoding=simulation.encoding)


def resolve_for_network(config: SimulateConfig, metadata: Mapping[str, Any]) -> SimulateConfig:
    """Simulation of a converted network with this metadata: every open option has its value.

    Raises:
      ValueError: if the network is calibrated for another neuron.
    """
    conversion = metadata["config"]
    if "finetuned" in metadata:  # through a simulation, which is then the one to run
        tuned = {name: metadata["finetuned"][name] for name in ("neuron", "encoding")}
        config = _with_values(config, {**tuned, "pre_steps": 0})
    config = resolve_simulation(config, conversion["method"])
    check_calibrated_neuron(conversion.get("correct", "nothing"), config.neuron or DEFAULT_NEURON)
    return config
