"""Loops of a program written out: their bodies as often as they run, one behind the other."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, jaxpr_as_fun

__all__ = ["unrolled_scan"]


def unrolled_scan(equation: JaxprEqn) -> ClosedJaxpr:
    """Return a jaxpr of the same outputs as those of a `scan`, without the loop."""
    params = equation.params
    body, num_consts, num_carry = jaxpr_as_fun(params["jaxpr"]), *_numbers(params)
    order = range(params["length"])

    def run(*operands: Any) -> list[Any]:
        constants, carry = operands[:num_consts], list(operands[num_consts:num_carry])
        outputs: list[list[Any]] = [[] for _ in order]
        for step in reversed(order) if params["reverse"] else order:
            rows = [jax.lax.index_in_dim(x, step, keepdims=False) for x in operands[num_carry:]]
            results = body(*constants, *carry, *rows)
            carry, outputs[step] = results[: len(carry)], results[len(carry) :]
        return [*carry, *(jnp.stack(each) for each in zip(*outputs, strict=True))]

    return jax.make_jaxpr(run)(*(variable.aval for variable in equation.invars))


def _numbers(params: dict[str, Any]) -> tuple[int, int]:
    """Return the numbers of operands before the carry, and before the arrays that are scanned."""
    return params["num_consts"], params["num_consts"] + params["num_carry"]
