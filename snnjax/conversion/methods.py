"""Conversion methods as data: the options of the stages that each method consists of.

A method has no code of its own. Its activation, scale rule, neuron and initial potential are
options of training, conversion and simulation, so a user can also give each of them by hand, and
all methods run through the same simulation. To add a method, add a row to METHODS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from snnjax.runtime.checks import check_name

__all__ = ["METHODS", "Method", "apply_settings", "check_fits", "find"]

Config = TypeVar("Config")


@dataclass(frozen=True)
class Method:
    """Settings of a method in each stage; the user chooses all other options.

    name: value of `--method`.
    source: the paper.
    activation: `TrainConfig.activation` of the networks that it converts.
    neuron: neuron model of the hidden layers, a name in `snn.neurons.NEURONS`.
    convert: fields of `ConvertConfig`.
    train: further fields of `TrainConfig`.
    encoding: input encoding in the paper; the user may choose another one.
    pre_steps: number of pre-steps in each round; see `simulation.simulate`.
    """

    name: str
    source: str
    activation: str
    neuron: str
    convert: Mapping[str, Any]
    train: Mapping[str, Any] = field(default_factory=dict)
    encoding: str = "constant"
    pre_steps: int = 0


SMOOTH = {"levels": 0}
BIAS_FREE = {"levels": 0, "bias_free": True}
QCFS = {"learn_theta": "layer", "theta": 8.0}


def _scaled(rule: str, initial_potential: float = 0.0, **settings: Any) -> dict[str, Any]:
    """Fields of `ConvertConfig`; the scale rule and v(0) / v_p come first."""
    return {"scales": rule, "initial_potential": initial_potential, **settings}


METHODS = {
    method.name: method
    for method in (
        Method(
            "sth_leaky_relu", "He et al. 2024", "sth_leaky_relu", "double-threshold",
            _scaled("theta"), SMOOTH, encoding="rate",
        ),
        Method(
            "sth_half", "He et al. 2024, from v(0) = v_p / 2", "sth_leaky_relu", "double-threshold",
            _scaled("theta", 0.5), SMOOTH,
        ),
        Method(
            "sth_exact", "this package", "sth_leaky_relu", "exact-charge", _scaled("theta", 0.5),
        ),
        Method(
            "cao", "Cao et al. 2015", "relu", "floored-hard",
            _scaled("unit"), BIAS_FREE, encoding="rate",
        ),
        Method(
            "model_norm", "Diehl et al. 2015", "relu", "double-threshold-hard",
            _scaled("model_norm"), BIAS_FREE, encoding="rate",
        ),
        Method(
            "data_norm", "Diehl et al. 2015", "relu", "double-threshold-hard",
            _scaled("data_norm"), BIAS_FREE, encoding="rate",
        ),
        Method(
            "robust_norm", "Rueckauer et al. 2017", "relu", "double-threshold",
            _scaled("percentile"), SMOOTH,
        ),
        Method(
            "opi", "Bu et al. 2022a", "relu", "double-threshold",
            _scaled("percentile", 0.5), SMOOTH,
        ),
        Method(
            "snm", "Wang et al. 2022", "relu", "signed-memory", _scaled("largest"), SMOOTH,
        ),
        Method(
            "calibration", "Li et al. 2021", "relu", "double-threshold",
            _scaled("least_error", shift=True, correct="shift"), SMOOTH,
        ),
        Method(
            "calibration_advanced", "Li et al. 2021", "relu", "double-threshold",
            _scaled("least_error", shift=True, correct="potential"), SMOOTH,
        ),
        Method(
            "ter_mapping", "Yu et al. 2022", "leaky_relu", "double-threshold",
            _scaled("largest"), SMOOTH,
        ),
        Method(
            "aug_mapping", "Yu et al. 2022", "leaky_relu", "augmented", _scaled("largest"), SMOOTH,
        ),
        Method(
            "rnl", "Ding et al. 2021", "rate_norm", "double-threshold", _scaled("theta"), SMOOTH,
        ),
        Method(
            "th_relu", "Deng and Gu 2021", "th_relu", "double-threshold",
            _scaled("largest", shift=True), {"levels": 0, "learn_theta": "nothing"},
        ),
        Method(
            "qcfs", "Bu et al. 2022b", "th_relu", "double-threshold", _scaled("theta", 0.5), QCFS,
        ),
        Method(
            "srp", "Hao et al. 2023a", "th_relu", "residual-mask", _scaled("theta", 0.5), QCFS,
            pre_steps=4,
        ),
        Method(
            "cos", "Hao et al. 2023b", "th_relu", "offset", _scaled("theta", 0.5), QCFS,
            pre_steps=4,
        ),
        Method(
            "wang2023", "Wang et al. 2023", "step_relu", "augmented",
            _scaled("theta", output_leak=0.9), SMOOTH,
        ),
    )
}  # fmt: skip
"""Published methods by name. The command line and `ConvertConfig` accept every row."""


def find(name: str) -> Method:
    """Return the method of that name.

    Raises:
      ValueError: if there is none; the message names the nearest one.
    """
    return METHODS[check_name("method", name, METHODS)]


def apply_settings(method: Method, config: Config, settings: Mapping[str, Any]) -> Config:
    """Return a configuration with settings of a method.

    Args:
      method: named in the error message.
      config: a frozen dataclass.
      settings: values of its fields.

    Raises:
      ValueError: if a field is neither at its default nor at the value of the method.
    """
    defaults = {f.name: f.default for f in fields(config)}  # type: ignore[arg-type]
    for name, value in settings.items():
        given = getattr(config, name)
        if given not in (defaults[name], value):
            option = name.replace("_", "-")
            raise ValueError(
                f"--{option} is {given}, but method {method.name} sets {value}; leave one out"
            )
    return replace(config, **settings)  # type: ignore[type-var]


def check_fits(method: Method, activation: str, bias_free: bool) -> None:
    """Check that a method converts networks with this activation, with or without biases.

    Raises:
      ValueError: if it does not, naming the methods that do.
    """
    found = (activation, bias_free)
    if found != _kind(method):
        fitting = ", ".join(m.name for m in METHODS.values() if _kind(m) == found)
        raise ValueError(
            f"method {method.name} converts networks with {_named(*_kind(method))}, and this one"
            f" was trained with {_named(*found)}; methods that fit it: {fitting or 'none'}"
        )


def _kind(method: Method) -> tuple[str, bool]:
    return method.activation, bool(method.train.get("bias_free", False))


def _named(activation: str, bias_free: bool) -> str:
    return activation + (" and no biases" if bias_free else "")
