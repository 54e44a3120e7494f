"""Table of rules: for each primitive of JAX, the function that reads it.

A new primitive needs one function with the decorator `rule` in one of the `..._rules` modules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing.jaxpr_walk import Operation, refuse
from snnjax.conversion.tracing.signals import Value

__all__ = ["REFUSED", "RULES", "output_shape", "rule", "translate"]

PrimitiveRule = Callable[[Operation, JaxprEqn, list[Any]], Value | list[Value]]

RULES: dict[str, PrimitiveRule] = {}
"""Rules by the name of the primitive. A rule returns the output, or a list of several outputs."""

REFUSED = {
    "reduce_window_max": "a maximum of spikes is no sum of them; use average pooling, and train"
    " again",
    "reduce_max": "a maximum of spikes is no sum of them; use a mean, and train again",
    "while": "a loop that depends on the images has no fixed layers; write the layers out",
    "scan": "a loop over activations has no fixed layers; write the layers out",
    "cond": "a choice that depends on the images has no fixed layers; compute one branch only",
}
"""Reasons for the primitives without a rule that users meet most."""


def rule(*primitives: str) -> Callable[[PrimitiveRule], PrimitiveRule]:
    """Register the decorated function as the rule of some primitives.

    Raises:
      ValueError: if a primitive has a rule already.
    """

    def register(function: PrimitiveRule) -> PrimitiveRule:
        for primitive in primitives:
            if primitive in RULES:
                raise ValueError(
                    f"{primitive} has the rule {RULES[primitive].__name__} already; want one rule"
                    " for a primitive"
                )
            RULES[primitive] = function
        return function

    return register


def translate(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> list[Value]:
    """Return the outputs of an operation of which at least one operand depends on the images.

    Raises:
      ValueError: naming an operation that has no spiking counterpart, and its line.
    """
    found = RULES.get(operation.primitive)
    if found is None:
        refuse(
            operation,
            REFUSED.get(
                operation.primitive,
                "no spiking layer does that; want products, sums, means and activations",
            ),
        )
    outputs = found(operation, equation, operands)
    return outputs if isinstance(outputs, list) else [outputs]


def output_shape(equation: JaxprEqn) -> tuple[int, ...]:
    """Return the shape of an equation's only output."""
    return tuple(equation.outvars[0].aval.shape)  # type: ignore[attr-defined]
