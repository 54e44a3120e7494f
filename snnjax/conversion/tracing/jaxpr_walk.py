"""Walk through a jaxpr: compute what is known, enter calls, hand every other operation to a rule.

The walk knows no layers. Values are `Known`, or whatever the rule makes of its operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from snnjax.conversion.tracing.advice import reason_for
from snnjax.conversion.tracing.numpy_operations import compute
from snnjax.conversion.tracing.source_lines import (
    UNKNOWN,
    Operation,
    called_name,
    operation_of,
    written_in_library,
)
from snnjax.conversion.tracing.unrolling import unrolled_scan

__all__ = ["RANDOM", "Known", "Operation", "refuse", "sources_of", "walk"]

RANDOM = "random numbers"
"""Source of all numbers that a program draws."""


NOWHERE: frozenset[str] = frozenset()


class Known(NamedTuple):
    """A value that does not depend on the images.

    value: an array or a number; sources: paths of the user's parameters that it is computed from.
    """

    value: Any
    sources: frozenset[str] = NOWHERE


Rule = Callable[[Operation, JaxprEqn, list[Any]], list[Any]]
"""Outputs of an operation of which at least one operand is not `Known`."""


def walk(
    closed: ClosedJaxpr, arguments: Sequence[Any], rule: Rule, origin: frozenset[str] = NOWHERE
) -> list[Any]:
    """Return the outputs of a jaxpr.

    Operations on `Known` operands are computed. Calls (`jit`, `remat`, `custom_jvp_call` and the
    like) are entered, and so is a branch that is known; loops are written out if it is known how
    often they run. Every other operation goes to `rule`.

    Args:
      closed: the jaxpr with its constants.
      arguments: a value for each argument of the jaxpr.
      rule: see `Rule`.
      origin: sources of the constants.

    Raises:
      Exception: what `rule` raises.
    """
    return _walk(closed.jaxpr, closed.consts, arguments, rule, Operation(""), origin)


def sources_of(operands: Sequence[Any]) -> frozenset[str]:
    """Return the paths of the user's parameters in all `Known` operands."""
    return frozenset().union(*(x.sources for x in operands if isinstance(x, Known)))


def refuse(operation: Operation, reason: str, *, by_name: bool = True) -> NoReturn:
    """Raise the error for an operation that has no spiking counterpart.

    Args:
      operation: of the user's program.
      reason: to refuse it, with the cure.
      by_name: give the reason of `advice` instead, where it has one for the library's function.

    Raises:
      ValueError: always, with the operation, the user's module and line, and the reason.
    """
    function, module, line = operation.function, operation.module, operation.line
    where = f", in {function}" if function else ""
    where += f"{' of' if function else ', in'} module {module}" if module else ""
    if line != UNKNOWN or not module:
        where += f"{',' if where else ''} at {line}"
    if by_name:
        reason = reason_for(function or operation.primitive, module) or reason
    raise ValueError(f"{operation.primitive}{where} cannot be converted: {reason}")


def _walk(
    jaxpr: Jaxpr,
    constants: Sequence[Any],
    arguments: Sequence[Any],
    rule: Rule,
    caller: Operation,
    origin: frozenset[str] = NOWHERE,
) -> list[Any]:
    """Walk one jaxpr.

    caller: the call that it belongs to. With a primitive it is the call of a library's function,
      to which all operations inside belong; without one only its module is known.
    origin: sources of its constants, and of those of functions that it calls.
    """
    known = (Known(value, origin) for value in constants)
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, known, strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(variable: Any) -> Any:
        return Known(variable.val) if isinstance(variable, Literal) else values[variable]

    for equation in _used(jaxpr):
        operands = [read(variable) for variable in equation.invars]
        callee = _callee(equation)
        if callee is not None:
            inner, inner_constants = callee
            inner_caller = caller
            if not caller.primitive:
                inner_caller = operation_of(equation, caller.module, called=True)
                if equation.primitive.name in REMATS or not written_in_library(inner):
                    inner_caller = Operation("", module=inner_caller.module)
            elif not caller.function:  # a call with a name inside one without, such as relu's
                inner_caller = caller._replace(function=called_name(equation))
            passed = operands[len(operands) - len(inner.invars) :]
            outputs = _walk(inner, inner_constants, passed, rule, inner_caller, origin)
        elif (found := _loop_or_branch(equation, operands, rule, caller, origin)) is not None:
            outputs = found
        elif all(isinstance(operand, Known) for operand in operands):
            sources = sources_of(operands)
            if equation.primitive.name in DRAWS:
                sources |= {RANDOM}
            computed = compute(equation, [operand.value for operand in operands])
            outputs = [Known(value, sources) for value in computed]
        elif caller.primitive:
            operation = caller._replace(primitive=equation.primitive.name)
            outputs = rule(operation, equation, operands)
        else:
            outputs = rule(operation_of(equation, caller.module), equation, operands)
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


DRAWS = {"random_bits", "threefry2x32", "rng_uniform", "rng_bit_generator"}
"""Primitives that draw random numbers."""


def _used(jaxpr: Jaxpr) -> list[JaxprEqn]:
    """Return the equations of a jaxpr that its outputs depend on."""
    needed, used = set(map(id, jaxpr.outvars)), []
    for equation in reversed(jaxpr.eqns):
        if any(id(variable) in needed for variable in equation.outvars):
            needed |= set(map(id, equation.invars))
            used.append(equation)
    return used[::-1]


def _loop_or_branch(
    equation: JaxprEqn,
    operands: list[Any],
    rule: Rule,
    caller: Operation,
    origin: frozenset[str],
) -> list[Any] | None:
    """Return the outputs of a loop that runs as often as is known, or of a branch that is known.

    None for any other operation. A traced number decides nothing.
    """
    name, params = equation.primitive.name, equation.params
    known = [isinstance(operand, Known) for operand in operands]
    if all(known):
        return None
    if name == "scan":
        inner, loop = unrolled_scan(equation), operation_of(equation, caller.module)

        def rule_in_loop(operation: Operation, inside: JaxprEqn, values: list[Any]) -> list[Any]:
            if operation.line == UNKNOWN:
                operation = operation._replace(line=loop.line)
            return rule(operation, inside, values)

        inside_loop = caller._replace(module=loop.module)
        return _walk(inner.jaxpr, inner.consts, operands, rule_in_loop, inside_loop, origin)
    if name == "cond" and _is_decided(operands[0]):
        branch = params["branches"][int(operands[0].value)]
        return _walk(branch.jaxpr, branch.consts, operands[1:], rule, caller, origin)
    if name == "while":
        return _while(equation, operands, rule, caller, origin)
    return None


def _is_decided(value: Any) -> bool:
    return isinstance(value, Known) and not isinstance(value.value, jax.core.Tracer)


def _while(
    equation: JaxprEqn,
    operands: list[Any],
    rule: Rule,
    caller: Operation,
    origin: frozenset[str],
) -> list[Any] | None:
    """Return the outputs of a loop, or None if it depends on the images how often it runs."""
    params = equation.params
    condition, body = params["cond_jaxpr"], params["body_jaxpr"]
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    carry = operands[second:]
    while True:
        arguments = [*operands[:first], *carry]
        try:
            (going,) = _walk(condition.jaxpr, condition.consts, arguments, rule, caller, origin)
        except ValueError:
            return None
        if not _is_decided(going):
            return None
        if not going.value:
            return carry
        inputs = [*operands[first:second], *carry]
        carry = _walk(body.jaxpr, body.consts, inputs, rule, caller, origin)


REMATS = {"remat", "remat2", "checkpoint"}
"""Primitives that call the user's function, even where a library's wrapper made it."""

CALLS = REMATS | {
    "jit", "pjit", "closed_call", "core_call", "custom_lin", "custom_jvp_call", "custom_vjp_call",
    "custom_vjp_call_jaxpr", "composite",
}  # fmt: skip
"""Primitives that call one function once, unchanged."""


def _callee(equation: JaxprEqn) -> tuple[Jaxpr, Sequence[Any]] | None:
    """Return the jaxpr that a call enters, with its constants; None if it is no call."""
    if equation.primitive.name in CALLS:
        for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
            inner = equation.params.get(name)
            if isinstance(inner, ClosedJaxpr):
                return inner.jaxpr, inner.consts
            if isinstance(inner, Jaxpr):
                return inner, ()
    return None
