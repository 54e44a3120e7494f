"""Operations of JAX by NumPy, for arrays that are known.

JAX compiles a program for every operation and shape, which takes longer than the operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

__all__ = ["Inner", "coarsest_epsilon", "compute", "leaves_of", "moved"]

Inner = (ClosedJaxpr, Jaxpr)

Array = np.ndarray

BY_NUMPY: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "add": np.add, "div": np.divide, "eq": np.equal, "ge": np.greater_equal,
    "gt": np.greater, "le": np.less_equal, "lt": np.less, "max": np.maximum, "min": np.minimum,
    "mul": np.multiply, "ne": np.not_equal, "neg": np.negative, "sqrt": np.sqrt,
    "square": np.square, "sub": np.subtract, "rsqrt": lambda x: 1 / np.sqrt(x),
    "select_n": lambda which, no, yes: np.where(which, yes, no),
}  # fmt: skip


def compute(equation: JaxprEqn, values: Sequence[Any]) -> list[Any]:
    """Return the outputs of an operation on arrays, which may have other shapes than its own.

    Floats are computed in the operation's own dtype, but 16-bit ones in float32: a network has
    32-bit numbers, and an activation is the same function in both.
    """
    name, (variable, *_) = equation.primitive.name, equation.outvars
    if name in BY_NUMPY and all(_is_plain(value) for value in values):
        with np.errstate(all="ignore"):
            output = BY_NUMPY[name](*(np.asarray(value) for value in values))
        is_bool = variable.aval.dtype == bool  # type: ignore[attr-defined]
        return [np.asarray(output, bool if is_bool else np.float32)]
    if len(values) == 1 and _is_plain(values[0]):
        output = moved(equation, np.asarray(values[0]))
        if output is not None:
            return [output]
    if any(isinstance(value, jax.core.Tracer) for value in values):
        return _by_jax(equation, values)
    with jax.ensure_compile_time_eval():  # a number within `jax.jit` too, so that it can decide
        return _by_jax(equation, values)


def leaves_of(params: Any) -> list[Any]:
    """Return the values in an equation's parameters, also those in tuples."""
    return jax.tree.leaves(params, is_leaf=lambda value: isinstance(value, Inner))


def moved(equation: JaxprEqn, array: Array) -> Array | None:
    """Return the output of an operation that moves the entries of its operand, or None.

    The output is a view of the array where there can be one.
    """
    params = equation.params
    match equation.primitive.name:
        case "reshape" | "squeeze" | "expand_dims":
            return array.reshape(_shape(equation))
        case "transpose":
            return array.transpose(params["permutation"])
        case "rev":
            return np.flip(array, params["dimensions"])
        case "slice":
            steps = params["strides"] or (1,) * array.ndim
            ranges = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
            return array[tuple(slice(*three) for three in ranges)]
        case "broadcast_in_dim":
            kept, shape = params["broadcast_dimensions"], _shape(equation)
            ones = [array.shape[kept.index(a)] if a in kept else 1 for a in range(len(shape))]
            return np.broadcast_to(array.reshape(ones), shape)
    return None


OWN_DTYPE = {"bitcast_convert_type", "reduce_precision"}
"""Primitives whose result is about the bits of their operand."""


def _by_jax(equation: JaxprEqn, values: Sequence[Any]) -> list[Any]:
    params, widen = dict(equation.params), equation.primitive.name not in OWN_DTYPE
    widen = widen and not any(isinstance(value, Inner) for value in leaves_of(params))
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


def _wide(dtype: Any) -> Any:
    """Return float32 for a float of 16 bits or less, and any other dtype as it is."""
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        return dtype
    return jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype


def _shape(equation: JaxprEqn) -> tuple[int, ...]:
    return tuple(equation.outvars[0].aval.shape)  # type: ignore[attr-defined]


def _is_plain(value: Any) -> bool:
    """Return True for truth values and float32, of which NumPy makes the same as JAX."""
    if isinstance(value, bool | float):
        return True
    if isinstance(value, jax.core.Tracer):
        return False
    return getattr(value, "dtype", None) in (np.dtype(np.float32), np.dtype(bool))


def coarsest_epsilon(jaxpr: Jaxpr) -> float:
    """Return the largest rounding error of all floats in a jaxpr, relative to them."""
    found = 0.0
    for equation in jaxpr.eqns:
        for inner in leaves_of(equation.params):
            if isinstance(inner, Inner):
                inside = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
                found = max(found, coarsest_epsilon(inside))
        for variable in (*equation.invars, *equation.outvars):
            dtype = getattr(variable.aval, "dtype", np.int32)
            if jnp.issubdtype(dtype, jnp.floating):
                found = max(found, float(jnp.finfo(dtype).eps))
    return found
