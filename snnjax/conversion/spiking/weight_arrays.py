"""The user's arrays of weights, and the operands of products that are made of them.

An operand is a linear function of the arrays that hold it, if layout and known scales lie between:
each of its entries is an entry of an array times a known number.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.conversion.spiking.function import SpikingApply
from snnjax.conversion.spiking.program import path_of
from snnjax.conversion.spiking.weights import weight_products
from snnjax.snn.engine import Params

__all__ = ["SAME", "count_readers", "put_operands", "reach", "user_arrays"]

SAME = 1e-6
"""Share of a weight by which it may change and counts as the same: a few roundings of float32."""

Places = tuple[tuple[str, int], ...]
"""Name of weights, and their first product's place among all that `weight_products` yields."""

Arrays = dict[str, jax.Array]
"""Arrays by path, or operands by name."""


@partial(jax.jit, static_argnums=(0, 1, 2))
def reach(
    function: SpikingApply, place: tuple[str, int], paths: tuple[str, ...], params: Params
) -> Arrays:
    """Return True for each entry of an operand that an array has a part in, by path.

    Args:
      function: with neurons at its sites.
      place: of the operand, see `Places`.
      paths: of the arrays.
      params: "params", the user's.
    """
    own = user_arrays(params, paths)
    _, push = jax.linearize(partial(_operands, function, (place,), params), own)
    reached = {}
    for path in paths:
        (entries,) = push({of: jnp.full_like(own[of], of == path) for of in paths}).values()
        reached[path] = entries != 0
    return reached


@partial(jax.jit, static_argnums=(0, 1, 2))
def count_readers(
    function: SpikingApply, places: Places, paths: tuple[str, ...], params: Params
) -> Arrays:
    """Return the largest number of operands that an entry of an array is in, by path.

    Args:
      function: with neurons at its sites.
      places: of the operands.
      paths: of the arrays.
      params: "params", the user's.
    """
    own = user_arrays(params, paths)
    _, push = jax.linearize(partial(_operands, function, places, params), own)
    pull = jax.linear_transpose(push, own)
    factors = push(jax.tree.map(jnp.ones_like, own))

    def add(counts: Arrays, row: jax.Array) -> tuple[Arrays, None]:
        pairs = zip(factors.items(), row, strict=True)
        (squares,) = pull({name: (of * is_it).astype(of.dtype) for (name, of), is_it in pairs})
        return jax.tree.map(lambda count, of: count + (of != 0), counts, squares), None

    counts, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, own), jnp.eye(len(factors)))
    return jax.tree.map(jnp.max, counts)


def put_operands(
    function: SpikingApply, params: Params, places: Places, paths: tuple[str, ...], wanted: Arrays
) -> Any:
    """Return the user's parameters with arrays that make the wanted operands.

    Arrays that hold them already, but for rounding, stay as they are. An operand that is no linear
    function of its arrays, or has one entry in two places for which other values are wanted,
    becomes another than the wanted one.

    Args:
      function: with neurons at its sites.
      params: "params", the user's.
      places: of the operands.
      paths: of the arrays that change.
      wanted: operands by name.
    """
    before = user_arrays(params, paths)
    made = before
    for _ in range(4):  # later times take up rounding, and what is not linear
        made = _moved(function, places, params, made, wanted)
    new = {path: of for path, of in made.items() if not np.allclose(of, before[path], SAME, atol=0)}
    return _with(params["params"], new)


@partial(jax.jit, static_argnums=(0, 1))
def _moved(
    function: SpikingApply, places: Places, params: Params, own: Arrays, wanted: Arrays
) -> Arrays:
    """Arrays with the least squared distance of the operands from the wanted ones.

    The distance of an entry is taken in units of its factor, whose square float32 may not hold.
    """
    values, push = jax.linearize(partial(_operands, function, places, params), own)
    pull = jax.linear_transpose(push, own)
    factors = push(jax.tree.map(jnp.ones_like, own))
    inverses = jax.tree.map(lambda of: 1 / jnp.where(of == 0, 1, of), factors)
    (squares,) = pull(jax.tree.map(lambda of, inverse: of * inverse * inverse, factors, inverses))
    wrong = jax.tree.map(lambda goal, of: (goal - of).astype(of.dtype), wanted, values)
    (changes,) = pull(jax.tree.map(lambda of, inverse: of * inverse * inverse, wrong, inverses))
    return jax.tree.map(
        lambda of, change, square: of + change / jnp.where(square == 0, 1, square),
        own, changes, squares,
    )  # fmt: skip


def _operands(function: SpikingApply, places: Places, params: Params, own: Arrays) -> Arrays:
    """Operands by name, as a function of arrays by path."""
    pair = jax.ShapeDtypeStruct((2, *function.image_shape), jnp.float32)
    program, sites = function.recorded({**params, "params": _with(params["params"], own)}, pair)
    found = [step.operands[place] for _, step, place in weight_products(program, sites)]
    return {name: jnp.asarray(found[place].value) for name, place in places}  # type: ignore[union-attr]


def user_arrays(params: Params, paths: tuple[str, ...]) -> Arrays:
    """Return the user's arrays by path.

    Args:
      params: "params", the user's.
      paths: of the arrays.
    """
    leaves = jax.tree_util.tree_flatten_with_path(params["params"])[0]
    found = {path_of(keys): leaf for keys, leaf in leaves}
    return {path: jnp.asarray(found[path]) for path in paths}


def _with(tree: Any, own: Arrays) -> Any:
    """Return a tree with other leaves at some paths."""
    return jax.tree_util.tree_map_with_path(lambda keys, leaf: own.get(path_of(keys), leaf), tree)
