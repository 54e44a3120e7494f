"""Rules for operations entry by entry: scales, shifts, sums of branches, parts of activations."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing.graph import Node, flattened
from snnjax.conversion.tracing.indices import Array, in_layer_order, is_everything
from snnjax.conversion.tracing.jaxpr_walk import Known, Operation, refuse, sources_of
from snnjax.conversion.tracing.layer_outputs import is_activation, layer_output
from snnjax.conversion.tracing.numpy_operations import compute
from snnjax.conversion.tracing.rule_table import output_shape, rule
from snnjax.conversion.tracing.selections import in_own_order, whole
from snnjax.conversion.tracing.signals import (
    Elementwise,
    Obstacle,
    Signal,
    Value,
    common_ancestor,
)
from snnjax.networks import architecture as arch

__all__: list[str] = []


@rule("copy", "copy_p", "optimization_barrier", "name", "stop_gradient")
def identity(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> list[Value]:
    """Return the operands."""
    del operation, equation
    return operands


@rule("neg")
def negated(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Value:
    """Scale by -1."""
    return _affine(operation, equation, operands, -1.0, 0.0)


@rule("add", "add_any")
def added(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Value:
    """Shift by known numbers, or add two branches."""
    for operand in operands:
        if isinstance(operand, Known):
            return _affine(operation, equation, operands, 1.0, _numbers(operand))
    return _sum(operation, equation, operands, 1.0)


@rule("sub")
def subtracted(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Value:
    """Shift by known numbers, or subtract one branch from another."""
    left, right = operands
    if isinstance(left, Known):
        return _affine(operation, equation, operands, -1.0, _numbers(left))
    if isinstance(right, Known):
        return _affine(operation, equation, operands, 1.0, -_numbers(right))
    return _sum(operation, equation, operands, -1.0)


@rule("mul")
def multiplied(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Value:
    """Scale by known numbers, or multiply two functions of one signal."""
    for operand in operands:
        if isinstance(operand, Known):
            return _affine(operation, equation, operands, _numbers(operand), 0.0)
    return _elementwise(operation, equation, operands, unrelated=PRODUCT)


@rule("div")
def divided(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Value:
    """Scale by the inverse of known numbers, or divide two functions of one signal."""
    left, right = operands
    if isinstance(right, Known):
        numbers = _numbers(right)
        inverse = 1 / np.where(numbers == 0, np.nan, numbers)
        return _affine(operation, equation, operands, inverse, 0.0)
    if isinstance(left, Known) and (isinstance(right, Signal) or is_activation(right)):
        refuse(operation, DIVISION)
    return _elementwise(operation, equation, operands, unrelated=DIVISION)


@rule("convert_element_type")
def converted(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Value:
    """Keep a signal of floats; a truth value as a number is part of an activation.

    Whole numbers are refused unless an activation is made of them.
    """
    (value,) = operands
    if isinstance(value, Signal) and jnp.issubdtype(equation.params["new_dtype"], jnp.floating):
        return value
    whole = jnp.issubdtype(equation.params["new_dtype"], jnp.integer)
    return _elementwise(operation, equation, operands, obstacle=WHOLE if whole else "")


@rule("sign")
def sign_of(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Value:
    """Return a function that is refused unless its values are those of an activation."""
    return _elementwise(operation, equation, operands, obstacle=STEP)


@rule(
    "abs", "max", "min", "clamp", "select_n", "eq", "ne", "ge", "gt", "le", "lt", "and",
    "or", "not", "xor",
)  # fmt: skip
def piecewise_linear(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Value:
    """Return a function that may be a part of an activation."""
    return _elementwise(operation, equation, operands)


@rule("exp", "exp2", "log")
def exponential(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Value:
    """Return a function that is refused unless its values are those of an activation."""
    return _elementwise(operation, equation, operands, obstacle=EXPONENTIAL)


@rule(
    "expm1", "log1p", "tanh", "logistic", "erf", "erfc", "erf_inv", "sqrt",
    "rsqrt", "cbrt", "pow", "integer_pow", "square", "sin", "cos", "tan", "atan", "sinh", "cosh",
    "asinh", "acosh", "atanh", "rem", "is_finite",
)  # fmt: skip
def curved(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Value:
    """Return a function that is refused unless its values are those of an activation."""
    return _elementwise(operation, equation, operands, obstacle=CURVED)


@rule("floor", "ceil", "round")
def rounded(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Value:
    """Return a function that is refused unless its values are those of an activation."""
    return _elementwise(operation, equation, operands, obstacle=ROUNDED)


PRODUCT = (
    "it multiplies two activations, as a gate does; want one operand made of parameters, so leave"
    " the gate out, or use a ReLU of one product in its place, and train again"
)
STEP = (
    "it is a step, as of a binary network with a straight-through gradient; neurons follow"
    " sthLeakyReLU, LeakyReLU, ReLU and clip only; train with one of these, such as the clip that"
    " the gradient passes through"
)
WHOLE = (
    "it makes whole numbers of activations, which no sum of spikes does; want floats throughout,"
    " and for a table of tokens the function of the embedded tokens"
)
DIVISION = "it divides by an activation; want a divisor made of parameters"
BROADCAST = "it broadcasts an activation; want operands that broadcast to its shape"
CURVED = "neurons follow sthLeakyReLU, LeakyReLU, ReLU and clip only; train with one of these"
EXPONENTIAL = f"of a softmax behind the last weights, return the logits; anywhere else {CURVED}"
ROUNDED = f"{CURVED}, and trace it without levels"


def _numbers(known: Known) -> Array:
    return np.asarray(known.value, np.float64)


def _affine(
    operation: Operation,
    equation: JaxprEqn,
    operands: list[Value],
    scale: Array | float,
    bias: Array | float,
) -> Value:
    """Scale and shift the operand that is not known.

    A function that is no activation yet goes on as a function.
    """
    (value,) = (operand for operand in operands if not isinstance(operand, Known))
    if output_shape(equation) != _base(value).indices.shape:
        refuse(operation, BROADCAST)
    if isinstance(value, Elementwise):
        if not is_activation(value):
            return _elementwise(operation, equation, operands)
        value = layer_output(value)
    return value.scaled(scale, bias, sources_of(operands), operation)


def _sum(operation: Operation, equation: JaxprEqn, operands: list[Any], sign: float) -> Value:
    """Return left + sign * right.

    Two functions of one signal are a function again, and if that is no activation, a sum of
    two branches.
    """
    left, right = operands
    branches = partial(_join, operation, left, right, sign)
    related = common_ancestor(_base(left), _base(right)) is not None
    if related and any(isinstance(operand, Elementwise) for operand in operands):
        function = _elementwise(operation, equation, operands)
        function.alternative = branches
        return function
    return branches()


def _join(
    operation: Operation, left: Signal | Elementwise, right: Signal | Elementwise, sign: float
) -> Signal:
    """Add two branches: the end of a Residual."""
    if sign < 0:
        right = layer_output(right).scaled(-1.0, 0.0, frozenset(), operation)
    a, b = layer_output(left), layer_output(right)
    for one, other in ((a, b), (b, a)):
        nodes = _alike(one, other, operation)
        if nodes is not None:
            node = Node(arch.Residual, list(nodes), nodes[0].shape, line=operation.line)
            return Signal(node, one.indices, operation=operation)
    if a.indices.shape == b.indices.shape and not is_everything(a.indices, a.node.shape):
        return _join(operation, whole(a), b, 1.0)
    refuse(
        operation,
        "it adds arrays whose entries are in different orders, or are not all there; want both"
        " branches whole and in one order",
    )


def _alike(a: Signal, b: Signal, operation: Operation) -> list[Node] | None:
    """Return layers whose outputs have the entries of two arrays in the order of `a`, or None."""
    if a.indices.shape != b.indices.shape:
        return None
    nodes = [a.node, b.node]
    if not np.array_equal(a.indices, b.indices):
        if not is_everything(a.indices, a.node.shape):
            return None
        entries = in_layer_order(a.indices, b.indices, a.node.shape)
        other = in_own_order(Signal(b.node, entries, operation=operation))
        if other is None:
            return None
        nodes = [a.node, other]
    if nodes[0].shape != nodes[1].shape:
        nodes = [flattened(node) for node in nodes]
    return nodes if nodes[0].shape == nodes[1].shape else None


def _elementwise(
    operation: Operation,
    equation: JaxprEqn,
    operands: list[Value],
    *,
    obstacle: str = "",
    unrelated: str = "it combines two activations; want a sum of them, or a function of one",
) -> Elementwise:
    """Return the operation as a function of the one signal that its operands depend on.

    Args:
      operation: of the user's program.
      equation: of the jaxpr.
      operands: at least one that is not known.
      obstacle: reason to refuse the operation where the function is no activation, "" if none.
      unrelated: reason to refuse operands that depend on different signals.
    """
    followed = [operand for operand in operands if not isinstance(operand, Known)]
    base = _base(followed[0])
    for other in followed[1:]:
        ancestor = common_ancestor(base, _base(other))
        if ancestor is None:
            refuse(operation, unrelated)
        base = ancestor
    if output_shape(equation) != base.indices.shape:
        refuse(operation, BROADCAST)

    def function(*values: Any) -> Any:
        return compute(equation, values)[0]

    earlier = [operand for operand in followed if isinstance(operand, Elementwise)]
    operations = tuple(op for operand in earlier for op in operand.operations)
    obstacles = [operand.obstacle for operand in earlier if operand.obstacle is not None]
    obstacles += [Obstacle(operation, obstacle)] if obstacle else []
    sources = sources_of(operands).union(*(x.sources for x in followed)) - base.sources
    first = obstacles[0] if obstacles else None
    return Elementwise(
        base, function, (*operations, operation), first, sources, operands=tuple(operands)
    )


def _base(value: Signal | Elementwise) -> Signal:
    return value.base if isinstance(value, Elementwise) else value
