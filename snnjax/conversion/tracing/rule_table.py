"""Table of rules: for each primitive of JAX, the function that reads it.

A new primitive needs one function with the decorator `rule` in one of the `..._rules` modules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing.jaxpr_walk import RANDOM, Operation, refuse, sources_of
from snnjax.conversion.tracing.signals import Elementwise, Signal, Value

__all__ = ["REFUSED", "RULES", "output_shape", "rule", "translate"]

PrimitiveRule = Callable[[Operation, JaxprEqn, list[Any]], Value | list[Value]]

RULES: dict[str, PrimitiveRule] = {}
"""Rules by the name of the primitive. A rule returns the output, or a list of several outputs."""

REFUSED = {
    "reduce_window_max": "a maximum of spikes is no sum of them; use average pooling, and train"
    " again",
    "reduce_max": "a maximum of spikes is no sum of them; of a softmax behind the last weights,"
    " return the logits; anywhere else use a mean, and train again",
    "debug_callback": "it looks at activations while the network runs; leave it out",
    "debug_print": "it prints activations while the network runs; leave it out",
    "argmax": "it is the answer; return the logits before it",
    "sort": "no spiking layer does that: it looks at all activations to move them; leave it"
    " out, and train again",
    "top_k": "no spiking layer does that: it looks at all activations to choose some; leave it"
    " out, and train again",
    "while": "its length depends on the images, so it has no fixed layers; loop a fixed number of"
    " times, or write the layers out",
    "scan": "a loop over activations has no fixed layers; write the layers out",
    "cond": "a choice that depends on the images has no fixed layers; compute one branch only",
}
"""Reasons for the primitives without a rule that users meet most."""


PRODUCTS = ("dot_general", "conv_general_dilated")
"""Primitives for which fixed random numbers are weights like others."""
DROPOUT = (
    "it takes random numbers, as dropout and noise do when they are left on; turn them off: pass"
    " deterministic=True or train=False, in NNX call model.eval(), in Equinox eqx.nn.inference_mode"
)


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
    if operation.primitive not in PRODUCTS and RANDOM in sources_of(operands):
        refuse(operation, DROPOUT)
    found = RULES.get(operation.primitive)
    if found is None:
        refuse(
            operation,
            REFUSED.get(
                operation.primitive,
                "no spiking layer does that; want products, sums, means and activations",
            ),
        )
    empty = any(map(_is_empty, operands)) and operation.primitive != "concatenate"
    gives_empty = any(0 in variable.aval.shape for variable in equation.outvars)  # type: ignore[attr-defined]
    if empty or (gives_empty and operation.primitive not in ("slice", "split", "gather")):
        refuse(operation, "it works on an array without entries, or gives one; leave it out")
    outputs = found(operation, equation, operands)
    return outputs if isinstance(outputs, list) else [outputs]


def _is_empty(value: Value) -> bool:
    """Return True for a value that depends on the images and has no entries."""
    base = value.base if isinstance(value, Elementwise) else value
    return isinstance(base, Signal) and not base.indices.size


def output_shape(equation: JaxprEqn) -> tuple[int, ...]:
    """Return the shape of an equation's only output."""
    return tuple(equation.outvars[0].aval.shape)  # type: ignore[attr-defined]
