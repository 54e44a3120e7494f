"""Walk through a jaxpr: compute what is known, enter calls, hand every other operation to a rule.

The walk knows no layers. Values are `Known`, or whatever the rule makes of its operands.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import flax
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from snnjax.conversion.tracing.advice import reason_for

__all__ = [
    "RANDOM",
    "Known",
    "Operation",
    "coarsest_epsilon",
    "compute",
    "refuse",
    "sources_of",
    "walk",
]


UNKNOWN = "an unknown line"
RANDOM = "random numbers"
"""Source of all numbers that a program draws."""


class Operation(NamedTuple):
    """An operation of the user's program.

    primitive: its name in JAX; function: the public function of JAX or Flax that the user called
      for it, "" if none is known; line: file and line of the user's program; module: path of
      the user's module that it belongs to, as JAX's name stack has it, "" if there is none.
    """

    primitive: str
    function: str = ""
    line: str = UNKNOWN
    module: str = ""


class Known(NamedTuple):
    """A value that does not depend on the images.

    value: an array or a number; sources: paths of the user's parameters that it is computed from.
    """

    value: Any
    sources: frozenset[str] = frozenset()


Rule = Callable[[Operation, JaxprEqn, list[Any]], list[Any]]
"""Outputs of an operation of which at least one operand is not `Known`."""


def walk(closed: ClosedJaxpr, arguments: Sequence[Any], rule: Rule) -> list[Any]:
    """Return the outputs of a jaxpr.

    Operations on `Known` operands are computed. Calls (`jit`, `remat`, `custom_jvp_call` and the
    like) are entered. Every other operation goes to `rule`.

    Args:
      closed: the jaxpr with its constants.
      arguments: a value for each argument of the jaxpr.
      rule: see `Rule`.

    Raises:
      Exception: what `rule` raises.
    """
    return _walk(closed.jaxpr, closed.consts, arguments, rule, Operation(""))


def compute(equation: JaxprEqn, values: Sequence[Any]) -> list[Any]:
    """Return the outputs of an operation on arrays.

    Floats are computed in the operation's own dtype, but 16-bit ones in float32: a network has
    32-bit numbers, and an activation is the same function in both.
    """
    params, widen = dict(equation.params), equation.primitive.name not in OWN_DTYPE
    widen = widen and not any(isinstance(value, Inner) for value in _leaves(params))
    for name in ("new_dtype", "preferred_element_type", "dtype"):
        if widen and name in params:
            params[name] = _wide(params[name])
    avals = [variable.aval for variable in equation.invars]
    values = [
        jnp.asarray(value, _wide(aval.dtype) if widen else aval.dtype)  # type: ignore[attr-defined]
        if jnp.issubdtype(jnp.result_type(value), jnp.floating)
        and jnp.issubdtype(aval.dtype, jnp.floating)  # type: ignore[attr-defined]
        else value
        for aval, value in zip(avals, values, strict=True)
    ]
    outputs = equation.primitive.bind(*values, **params)
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def coarsest_epsilon(jaxpr: Jaxpr) -> float:
    """Return the largest rounding error of all floats in a jaxpr, relative to them."""
    found = 0.0
    for equation in jaxpr.eqns:
        for inner in _leaves(equation.params):
            if isinstance(inner, Inner):
                inside = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
                found = max(found, coarsest_epsilon(inside))
        for variable in (*equation.invars, *equation.outvars):
            dtype = getattr(variable.aval, "dtype", np.int32)
            if jnp.issubdtype(dtype, jnp.floating):
                found = max(found, float(jnp.finfo(dtype).eps))
    return found


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
) -> list[Any]:
    """Walk one jaxpr.

    caller: the call that it belongs to. With a primitive it is the call of a library's function,
      to which all operations inside belong; without one only its module is known.
    """
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, map(Known, constants), strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(variable: Any) -> Any:
        return Known(variable.val) if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        operands = [read(variable) for variable in equation.invars]
        callee = _callee(equation)
        if callee is not None:
            inner, inner_constants = callee
            inner_caller = caller
            if not caller.primitive:
                inner_caller = _operation(equation, caller.module, called=True)
                if not _written_in_library(inner):
                    inner_caller = Operation("", module=inner_caller.module)
            passed = operands[len(operands) - len(inner.invars) :]
            outputs = _walk(inner, inner_constants, passed, rule, inner_caller)
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
            outputs = rule(_operation(equation, caller.module), equation, operands)
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


DRAWS = {"random_bits", "threefry2x32", "rng_uniform", "rng_bit_generator"}
"""Primitives that draw random numbers."""
OWN_DTYPE = {"bitcast_convert_type", "reduce_precision"}
"""Primitives whose result is about the bits of their operand."""
Inner = (ClosedJaxpr, Jaxpr)


def _leaves(params: Any) -> list[Any]:
    """Return the values in an equation's parameters, also those in tuples."""
    return jax.tree.leaves(params, is_leaf=lambda value: isinstance(value, Inner))


def _wide(dtype: Any) -> Any:
    """Return float32 for a float of 16 bits or less, and any other dtype as it is."""
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        return dtype
    return jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype


CALLS = {"jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "custom_lin"} | {
    "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "remat2",
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


LIBRARIES = tuple(str(Path(module.__file__).parent) for module in (jax, flax) if module.__file__)
PUBLIC = ("/nn/", "/numpy/", "/linen/", "/lax/")
"""Folders of the libraries with functions that users call by name."""
PLUMBING = ("<", str(Path(__file__).parents[2]), str(Path(functools.__file__).parent))
"""Start of file names that are not the user's: compiled text, this package, Python itself."""
CARRIERS = ("<locals>", "ufunc.", "Sequential.", "Module.")
"""Parts of names of functions that only carry another function."""


def _written_in_library(jaxpr: Jaxpr) -> bool:
    """Return True if JAX or Flax made the function, or nobody knows who.

    JAX may have traced such a function for another caller and kept it, so the lines inside it
    are of no use to the user.
    """
    made = str(getattr(getattr(jaxpr, "debug_info", None), "func_src_info", None))
    return any(library in made for library in LIBRARIES) or " at " not in made


def _operation(equation: JaxprEqn, module: str, *, called: bool = False) -> Operation:
    """Return an equation's primitive, the library function around it and the user's line.

    Args:
      equation: of a jaxpr.
      module: in which the jaxpr is called.
      called: take the name of the function that the equation calls.
    """
    primitive, function = equation.primitive.name, ""
    name = (equation.params.get("name") if called else None) or ""
    name = "" if name.startswith(("_", "<")) else name
    module = _module(f"{module}/{getattr(equation.source_info, 'name_stack', '')}")
    traceback = getattr(equation.source_info, "traceback", None)
    for frame in traceback.frames if traceback else ():
        if frame.file_name.startswith(LIBRARIES):
            public = any(part in frame.file_name for part in PUBLIC)
            own = frame.function_name.removesuffix(".__call__")
            carries = any(part in frame.function_name for part in CARRIERS)
            if public and not own.rpartition(".")[2].startswith("_") and not carries:
                function = own
        elif not frame.file_name.startswith(PLUMBING) and "site-packages" not in frame.file_name:
            line = f"{frame.file_name}:{frame.line_num}"
            return Operation(primitive, name or function, line, module)
    return Operation(primitive, name or function, module=module)


def _module(stack: str) -> str:
    """Return a name stack without the transformations of JAX, such as `vmap(...)`."""
    names = (re.sub(r"\w+\(|\)", "", name) for name in stack.split("/"))
    return "/".join(filter(None, names))
