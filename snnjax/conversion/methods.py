"""Conversion methods as data: which options of the stages each one is made of.

A method has no code of its own. Its activation, scale rule, neuron and initial potential are
options of training, conversion and simulation, so everything that a method does can also
be typed by hand, and every method runs through the same simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from snnjax.runtime.checks import check_name

__all__ = ["METHODS", "Method", "applied", "check_fits", "find"]

Config = TypeVar("Config")


@dataclass(frozen=True)
class Method:
    """What a method sets in each stage; what it leaves out is the user's.

    name: for `--method`.
    source: the paper.
    activation: of the networks that it converts.
    neuron: of the hidden layers.
    convert: settings of the conversion.
    train: further settings of the training.
    encoding: the source's input, which a user may replace.
    pre_steps: timesteps before the first that gives an answer, for each round of them.
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


def check_fits(method: Method, activation: str, bias_free: bool) -> None:
    """Refuse to convert a network of another kind than the method's.

    Raises:
      ValueError: naming the methods that fit.
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
