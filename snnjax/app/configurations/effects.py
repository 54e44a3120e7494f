"""Options that have no effect with the others are refused, so that nothing is ignored silently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from snnjax.app.configurations.conversion import MEASURED_SCALES, RULES_FOR_STEPS
from snnjax.app.configurations.methods import with_method

__all__ = ["RULES", "Rule", "refuse_unused"]


class Rule(NamedTuple):
    """Condition under which options have an effect.

    options: their names; beside: names of the options that decide; used: a function of their
    values, True if the options have an effect.
    """

    options: tuple[str, ...]
    beside: tuple[str, ...]
    used: Callable[..., bool]


RULES = (
    Rule(("alpha",), ("activation",), lambda a: a in ("sth_leaky_relu", "leaky_relu")),
    Rule(("theta",), ("activation",), lambda a: a in ("sth_leaky_relu", "th_relu", "rate_norm")),
    Rule(("learn_theta",), ("activation",), lambda a: a in ("sth_leaky_relu", "th_relu")),
    Rule(("step",), ("activation",), lambda a: a == "step_relu"),
    Rule(
        ("rate_inference_epochs", "rate_inference_weight"),
        ("activation",),
        lambda a: a == "rate_norm",
    ),
    Rule(("rate_inference_weight",), ("rate_inference_epochs",), lambda epochs: epochs > 0),
    Rule(
        ("for_steps",),
        ("scales", "correct", "shift"),
        lambda scales, correct, shift: scales in RULES_FOR_STEPS or correct != "nothing" or shift,
    ),
    Rule(
        ("calibration_images",),
        ("scales", "correct"),
        lambda scales, correct: scales in MEASURED_SCALES or correct != "nothing",
    ),
    # A constant current is multiplied by the gain, and the first weights are divided by it.
    Rule(("gain",), ("encoding",), lambda encoding: encoding != "constant"),
    Rule(("output_leak",), ("readout",), lambda readout: readout == "membrane"),
    Rule(("shown_steps",), ("num_steps", "shown_steps"), lambda steps, shown: shown < steps),
    Rule(
        ("readout_leak", "readout_threshold", "readout_steps"),
        ("readout",),
        lambda readout: readout in ("leaky", "stdp"),
    ),
    Rule(
        ("readout_rule", "readout_start", "readout_neurons", "readout_images", "readout_labels",
         "readout_epochs", "a_plus", "a_minus", "tau_plus", "tau_minus"),
        ("readout",),
        lambda readout: readout == "stdp",
    ),
    Rule(
        ("readout_images", "readout_labels", "readout_epochs"),
        ("readout_rule",),
        lambda rule: rule != "nothing",
    ),
    Rule(("readout_labels",), ("readout_start",), lambda start: start == "random"),
    Rule(
        ("a_plus", "a_minus", "tau_plus", "tau_minus"),
        ("readout_rule",),
        lambda rule: rule in ("stdp", "literal"),
    ),
)  # fmt: skip
"""A rule applies in every command that has all options `beside`."""


def refuse_unused(
    command: str,
    *given: Any,
    used: Sequence[Any] = (),
    without: Sequence[str] = (),
    always: Sequence[str] = (),
) -> None:
    """Refuse options that are not at their defaults and have no effect.

    Args:
      command: its name, for the message.
      given: the configurations as the user gave them.
      used: the same, with the settings of a method; by default those of the method in `given`.
      without: fields of `given` that the command does not use.
      always: fields that it uses whatever the rules say.

    Raises:
      ValueError: naming the first such option.
    """
    values = {name: at for c in used or map(with_method, given) for name, at in vars(c).items()}
    changed = {
        f.name: getattr(c, f.name)
        for c in given
        for f in fields(c)
        if getattr(c, f.name) != f.default
    }
    for name in without:
        values.pop(name, None)
        if name in changed:
            raise ValueError(
                f"{_shown(name, changed[name])} has no effect on snnjax {command}; leave it out"
            )
    for rule in RULES:
        if not values.keys() >= {*rule.beside} or rule.used(*map(values.get, rule.beside)):
            continue
        for name in (n for n in rule.options if n in changed and n not in always):
            others = (_shown(other, values[other]) for other in rule.beside if other != name)
            raise ValueError(
                f"{_shown(name, changed[name])} has no effect with {' and '.join(others)}; leave it"
                " out"
            )


def _shown(name: str, value: Any) -> str:
    """Option as it is written on the command line."""
    option = "--" + name.replace("_", "-")
    if value is True:
        return option
    return f"no {option}" if value is False else f"{option} {value}"
