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
from snnjax.conversion.tracing.source_lines import line_of_error
from snnjax.runtime.convolution_gradients import bind_with_gradients, find_equation

__all__ = [
    "Operand",
    "RecordedFunction",
    "Reference",
    "Step",
    "compute",
    "compute_with_gradients",
    "evaluate",
    "path_of",
    "record",
]

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
        """Path of the user's module, without names of products."""
        return "/".join(part for part in self.operation.module.split("/") if "->" not in part)

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
"""Source of arrays that the function holds itself; those in the user's parameters have paths."""

REFUSED = {
    "while": "the number of its rounds is not known before it runs; want a fixed number",
    "cond": (
        "it decides by numbers of the input or the parameters; compute both cases and select with"
        " jnp.where"
    ),
    "random_bits": "it draws random numbers that depend on the input",
    "top_k": "it orders activations, and a spike count has no order that converges",
    "sort": "it orders activations, and a spike count has no order that converges",
    "argmax": "it returns an index; return the values, and take the index of the result",
    "argmin": "it returns an index; return the values, and take the index of the result",
}
"""Operations on values that depend on the input, and reasons to refuse them."""


ONE, ALL = slice(1, 2), slice(1, None)
INDICES = {
    "dynamic_slice": ALL, "dynamic_update_slice": slice(2, None), "gather": ONE, "scatter": ONE,
    "scatter-add": ONE, "scatter-max": ONE, "scatter-min": ONE, "scatter-mul": ONE,
}  # fmt: skip
"""Operations that index, and the places of their indices among the operands."""

COMBINING = {"reduce", "reduce_window", "select_and_scatter_add", *INDICES}
"""Operations with a function of two numbers that combines entries."""


def record(apply: Apply, params: Any, x: Any) -> RecordedFunction:
    """Write a function as a program for an input of one shape.

    Operations on parameters alone are computed at once. Products without a precision of their own
    get the highest one: a spike is decided by comparing a sum with a threshold.

    Args:
      apply: the function.
      params: its parameters; may be traced.
      x: the input, or its shape and dtype.

    Raises:
      ValueError: if the function fails, draws random numbers, or contains an operation of
        `REFUSED`.
    """
    closed, shapes = _jaxpr(apply, params, x)
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
        variables = zip(operands, equation.invars, strict=True)
        own = tuple(_in_own_dtype(value, variable.aval) for value, variable in variables)
        steps.append(Step(operation, equation, own, outputs))
        return list(outputs)

    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    known = [Known(leaf, frozenset({path_of(keys)})) for keys, leaf in leaves]
    given = Reference(0, jnp.shape(x), jnp.result_type(x))
    walked = walk(closed, [*known, given], rule, PARAMETERS)
    outputs = tuple(map(_in_own_dtype, walked, closed.out_avals))
    tree = jax.tree.structure(shapes)
    return _without_dead(RecordedFunction(_without_outermost(steps), outputs, tree))


def path_of(keys: Any) -> str:
    """Return the path of a leaf of the user's parameters."""
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def _without_outermost(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Drop the module that all others are in from their paths."""
    paths = [step.operation.module.split("/") for step in steps]
    if len({path[0] for path in paths if path[0]}) != 1:
        return tuple(steps)
    return tuple(
        step._replace(operation=step.operation._replace(module="/".join(path[1:])))
        for step, path in zip(steps, paths, strict=True)
    )


HINTS = {
    "PRNG": "turn dropout off, e.g. by deterministic=True",
    "Cannot update variable": "want inference mode, such as use_running_average=True",
    "unbound": "pass module.apply in place of the module",
}
"""Advice by a word of the message of a library's error."""


def _jaxpr(apply: Apply, params: Any, x: Any) -> tuple[Any, Any]:
    """Return the jaxpr of a function, and the structure of its outputs."""
    shape = jnp.shape(x)
    try:
        with jax.default_matmul_precision("highest"):
            closed, shapes = jax.make_jaxpr(apply, return_shape=True)(params, x)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        raise ValueError(
            "apply decides by numbers of the input or the parameters, or takes them out of JAX,"
            f"{line_of_error(error)}; want operations of jax.numpy alone, such as jnp.where"
        ) from error
    except Exception as error:
        text = (str(error).splitlines() or [""])[0]
        advice = "".join(f"; {hint}" for word, hint in HINTS.items() if word in str(error))
        raise ValueError(
            f"apply(params, x) fails for x of shape {shape}{line_of_error(error)}:"
            f" {type(error).__name__}: {text}{advice}"
        ) from error
    if any(isinstance(constant, jax.core.Tracer) for constant in closed.consts):
        raise ValueError("apply holds an array that is traced; want all such arrays in params")
    return closed, shapes


def _reason(equation: JaxprEqn, operands: list[Operand]) -> str | None:
    """Return why an operation on values that depend on the input is refused, or None."""
    kind = equation.primitive.name
    if kind in REFUSED:
        return REFUSED[kind]
    if kind not in COMBINING and any(True for _ in jaxprs_in_params(equation.params)):
        return "it calls a function in a way that is not known here; want jit, vmap, scan or remat"
    if RANDOM in sources_of(operands):
        return "it takes random numbers; turn dropout off, e.g. by deterministic=True"
    if any(isinstance(x, Reference) for x in operands[INDICES.get(kind, slice(0))]):
        return "it takes entries whose places depend on the input; want fixed places"
    return None


def _in_own_dtype(value: Operand, aval: Any) -> Operand:
    """Return a known 16-bit float, which the walk computes in 32 bits, in its own dtype."""
    if isinstance(value, Known) and jnp.issubdtype(aval.dtype, jnp.floating):
        return value._replace(value=jnp.asarray(value.value, aval.dtype))
    return value


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


def compute_with_gradients(step: Step, values: Sequence[Any]) -> list[Any]:
    """Like `compute`, to the bit, with gradients of convolutions that are fast in a loop too."""
    if step.kind == "conv_general_dilated":
        equation = find_equation(step.equation.params, values[0].dtype)
        if equation is not None:
            return [bind_with_gradients(*values, equation)]
    return compute(step, values)


Values = dict[int, Any]
"""Values by the number of their reference."""


def evaluate(
    steps: Sequence[Step],
    values: Values,
    at: Callable[[int, jax.Array], jax.Array],
    *,
    gradient: bool = False,
) -> Values:
    """Compute steps; return all values so far.

    Args:
      steps: part of a program.
      values: values that the steps read and do not compute; not changed.
      at: `at(number, value)` replaces every computed value.
      gradient: True if reverse-mode gradients are taken.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    values = dict(values)
    apply = compute_with_gradients if gradient else compute
    for step in steps:
        read = [x.value if isinstance(x, Known) else values[x.number] for x in step.operands]
        for made, value in zip(step.outputs, apply(step, read), strict=True):
            values[made.number] = at(made.number, value)
    return values
