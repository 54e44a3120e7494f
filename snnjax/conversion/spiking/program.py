"""A function of JAX as a list of steps, and its evaluation step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, jaxprs_in_params

from snnjax.conversion.tracing.jaxpr_walk import (
    RANDOM,
    Known,
    Operation,
    refuse,
    sources_of,
    walk,
)

__all__ = ["RecordedFunction", "Reference", "Step", "compute", "evaluate", "record"]

Apply = Callable[[Any, Any], Any]
"""apply(params, x) -> outputs: any pytree of arrays."""


class Reference(NamedTuple):
    """A value that depends on the input.

    number: place of the value, in the order of computation; 0 is the input.
    shape, dtype: of the value.
    """

    number: int
    shape: tuple[int, ...]
    dtype: Any


Operand = Known | Reference


class Step(NamedTuple):
    """An operation with at least one operand that depends on the input.

    operation: its name, the user's line and module; equation: the operation in JAX; operands:
    values that it reads, either known or of an earlier step; outputs: values that it makes.
    """

    operation: Operation
    equation: JaxprEqn
    operands: tuple[Operand, ...]
    outputs: tuple[Reference, ...]

    @property
    def kind(self) -> str:
        """Name of the operation in JAX."""
        return self.equation.primitive.name

    @property
    def module(self) -> str:
        """Path of the user's module, without the outermost one and names of products."""
        parts = self.operation.module.split("/")[1:]
        return "/".join(part for part in parts if "->" not in part)

    @property
    def reads(self) -> tuple[Reference, ...]:
        """The operands that depend on the input."""
        return tuple(x for x in self.operands if isinstance(x, Reference))


class RecordedFunction(NamedTuple):
    """A function of JAX, with nested calls written out.

    steps: operations in the order of computation; operations on parameters alone are computed
      already. outputs: values that the function returns; tree: structure of the outputs.
    """

    steps: tuple[Step, ...]
    outputs: tuple[Operand, ...]
    tree: Any


PARAMETERS = frozenset({"parameters"})
"""Source of the user's parameters, and of arrays that the function holds itself."""

REFUSED = {
    "while": "the number of its rounds is not known before it runs; want a fixed number",
    "cond": "it decides by what the input is; compute both cases and select with jnp.where",
    "random_bits": "it draws random numbers that depend on the input",
    "top_k": "it orders activations, and a spike count has no order that converges",
    "sort": "it orders activations, and a spike count has no order that converges",
    "argmax": "it returns an index; return the values, and take the index of the result",
    "argmin": "it returns an index; return the values, and take the index of the result",
}
"""Operations on values that depend on the input, and reasons to refuse them."""


INDICES = {"dynamic_slice": 1, "dynamic_update_slice": 2, "gather": 1, "scatter": 1}
"""Operations that index, and the place of their first index among the operands."""


def record(apply: Apply, params: Any, x: Any) -> RecordedFunction:
    """Write a function as a program for an input of one shape.

    Operations on parameters alone are computed at once. Products without a precision of their own
    get the highest one: a spike is decided by comparing a sum with a threshold.

    Args:
      apply: the function.
      params: its parameters; may be traced.
      x: the input, or its shape and dtype.

    Raises:
      ValueError: if the function draws random numbers, or contains an operation of `REFUSED`.
    """
    with jax.default_matmul_precision("highest"):
        closed, shapes = jax.make_jaxpr(apply, return_shape=True)(params, x)
    steps: list[Step] = []
    made = [1]

    def rule(operation: Operation, equation: JaxprEqn, operands: list[Any]) -> list[Reference]:
        reason = _reason(equation, operands)
        if reason:
            refuse(operation, reason)
        outputs = tuple(
            _reference(made[0] + place, variable.aval)
            for place, variable in enumerate(equation.outvars)
        )
        made[0] += len(outputs)
        steps.append(Step(operation, equation, tuple(operands), outputs))
        return list(outputs)

    known = [Known(leaf, PARAMETERS) for leaf in jax.tree.leaves(params)]
    given = Reference(0, jnp.shape(x), jnp.result_type(x))
    outputs = walk(closed, [*known, given], rule, PARAMETERS)
    return _without_dead(RecordedFunction(tuple(steps), tuple(outputs), jax.tree.structure(shapes)))


def _reason(equation: JaxprEqn, operands: list[Operand]) -> str | None:
    """Return why an operation on values that depend on the input is refused, or None."""
    kind = equation.primitive.name
    if kind in REFUSED:
        return REFUSED[kind]
    if any(True for _ in jaxprs_in_params(equation.params)):
        return "it calls a function in a way that is not known here"
    if RANDOM in sources_of(operands):
        return "it takes random numbers; turn dropout off, e.g. by deterministic=True"
    first = INDICES.get(kind, len(operands))
    if any(isinstance(x, Reference) for x in operands[first : first + 1]):
        return "it takes entries whose places depend on the input; want fixed places"
    return None


def _reference(number: int, value: Any) -> Reference:
    return Reference(number, value.shape, value.dtype)


def _without_dead(program: RecordedFunction) -> RecordedFunction:
    """Drop steps whose outputs nothing reads."""
    needed = {x.number for x in program.outputs if isinstance(x, Reference)}
    kept = []
    for step in reversed(program.steps):
        if needed.isdisjoint(x.number for x in step.outputs):
            continue
        needed |= {x.number for x in step.reads}
        kept.append(step)
    return program._replace(steps=tuple(reversed(kept)))


def compute(step: Step, values: Sequence[Any]) -> list[Any]:
    """Return the outputs of a step for values of its operands."""
    primitive = step.equation.primitive
    outputs = primitive.bind(*values, **step.equation.params)
    return list(outputs) if primitive.multiple_results else [outputs]


Values = dict[int, Any]
"""Values by the number of their reference."""


def evaluate(
    steps: Sequence[Step], values: Values, at: Callable[[int, jax.Array], jax.Array]
) -> Values:
    """Compute steps; return all values so far.

    Args:
      steps: part of a program.
      values: values that the steps read and do not compute; not changed.
      at: `at(number, value)` replaces every computed value.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    values = dict(values)
    for step in steps:
        read = [x.value if isinstance(x, Known) else values[x.number] for x in step.operands]
        for made, value in zip(step.outputs, compute(step, read), strict=True):
            values[made.number] = at(made.number, value)
    return values
