"""Conversion methods as data: which options of the stages each one is made of.

A method has no code of its own. Its activation, scale rule, neuron and initial potential are
options of training, conversion and simulation, so everything that a method does can also
be typed by hand, and every method runs through the same simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from snnjax.checks import check_name

__all__ = ["METHODS", "Method", "applied", "check_fits", "find"]

Config = TypeVar("Config")


@dataclass(frozen=True)
class Method:
    """What a method sets in each stage; what it leaves out is the user's.

    name: for `--method`.
    source: the paper.
    activation: of the networks that it converts.
    train: further settings of the training.
    convert: settings of the conversion.
    neuron: of the hidden layers.
    """

    name: str
    source: str
    activation: str
    neuron: str
    convert: Mapping[str, Any]
    train: Mapping[str, Any] = field(default_factory=dict)


SMOOTH = {"levels": 0}

METHODS = {
    method.name: method
    for method in (
        Method(
            "sth_leaky_relu", "He et al. 2024", "sth_leaky_relu", "double-threshold",
            {"scales": "theta", "initial_potential": 0.0}, SMOOTH,
        ),
        Method(
            "sth_exact", "this package", "sth_leaky_relu", "exact-charge",
            {"scales": "theta", "initial_potential": 0.5},
        ),
        Method(
            "model_norm", "Diehl et al. 2015", "relu", "double-threshold-hard",
            {"scales": "model_norm", "initial_potential": 0.0}, SMOOTH,
        ),
        Method(
            "data_norm", "Diehl et al. 2015", "relu", "double-threshold-hard",
            {"scales": "data_norm", "initial_potential": 0.0}, SMOOTH,
        ),
        Method(
            "robust_norm", "Rueckauer et al. 2017", "relu", "double-threshold",
            {"scales": "percentile", "initial_potential": 0.0}, SMOOTH,
        ),
        Method(
            "opi", "Bu et al. 2022a", "relu", "double-threshold",
            {"scales": "percentile", "initial_potential": 0.5}, SMOOTH,
        ),
        Method(
            "snm", "Wang et al. 2022", "relu", "signed-memory",
            {"scales": "largest", "initial_potential": 0.0}, SMOOTH,
        ),
        Method(
            "ter_mapping", "Yu et al. 2022", "leaky_relu", "double-threshold",
            {"scales": "largest", "initial_potential": 0.0}, SMOOTH,
        ),
        Method(
            "aug_mapping", "Yu et al. 2022", "leaky_relu", "augmented",
            {"scales": "largest", "initial_potential": 0.0}, SMOOTH,
        ),
        Method(
            "qcfs", "Bu et al. 2022b", "th_relu", "double-threshold",
            {"scales": "theta", "initial_potential": 0.5},
            {"learn_theta": "layer", "theta": 8.0},
        ),
    )
}  # fmt: skip
"""The methods by name."""


def find(name: str) -> Method:
    """The method of that name.

    Raises:
      ValueError: if there is none; the message names the nearest.
    """
    return METHODS[check_name("method", name, METHODS)]


def applied(method: Method, config: Config, settings: Mapping[str, Any]) -> Config:
    """A configuration with a method's settings.

    Raises:
      ValueError: if the configuration asks for something else than the method.
    """
    defaults = {f.name: f.default for f in fields(config)}  # type: ignore[arg-type]
    for name, value in settings.items():
        given = getattr(config, name)
        if given not in (defaults[name], value):
            option = name.replace("_", "-")
            raise ValueError(
                f"--{option} is {given}, but method {method.name} means {value}; leave one out"
            )
    return replace(config, **settings)  # type: ignore[type-var]


def check_fits(method: Method, activation: str) -> None:
    """Refuse to convert a network that was trained with another activation.

    Raises:
      ValueError: naming the methods that fit.
    """
    if activation != method.activation:
        fitting = ", ".join(m.name for m in METHODS.values() if m.activation == activation)
        raise ValueError(
            f"method {method.name} converts networks with {method.activation}, and this one was"
            f" trained with {activation}; methods that fit it: {fitting or 'none'}"
        )
