"""Options of a stage completed by the settings of a published method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from snnjax.app.configurations.conversion import ConvertConfig
from snnjax.app.configurations.simulation import DEFAULT_ENCODING, DEFAULT_NEURON, SimulateConfig
from snnjax.app.configurations.training import TrainConfig
from snnjax.conversion import methods

__all__ = ["resolve_conversion", "resolve_simulation", "resolve_training"]

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
      ValueError: if the configuration contradicts the method, the method does not fit the
        network, or the conversion needs a rule for its scales, or a T, and has none.
    """
    if config.method:
        found = methods.find(config.method)
        methods.check_fits(found, trained.activation, trained.bias_free)
        config = methods.apply_settings(found, config, found.convert)
    if config.scales == "theta" and trained.activation in WITHOUT_SCALE:
        raise ValueError(
            f"{trained.activation} has no bound for a rate to stand for; give --scales, such as"
            " percentile, or a --method"
        )
    if config.needs_steps and not config.for_steps:
        raise ValueError("for_steps is 0, but this conversion is made for one T; give --for-steps")
    return config


def resolve_simulation(config: SimulateConfig, method: str | None) -> SimulateConfig:
    """Simulation in which every open option has the method's value, or else its default."""
    found = methods.find(method) if method else None
    wanted: dict[str, Any] = {
        "neuron": found.neuron if found else DEFAULT_NEURON,
        "encoding": found.encoding if found else DEFAULT_ENCODING,
        "pre_steps": found.pre_steps if found else 0,
    }
    return replace(config, **{k: v for k, v in wanted.items() if getattr(config, k) is None})
