"""Checks of values that users pass; each error names the value and what was wanted."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

__all__ = ["check_count", "check_key", "check_kind", "check_name", "check_single", "check_value"]

Kind = TypeVar("Kind")


def check_name(kind: str, name: str, known: Collection[str]) -> str:
    """Return a name if it is known.

    Args:
      kind: of name, for the message.
      name: to look for.
      known: names.

    Raises:
      ValueError: if it is unknown; the message lists the known names and suggests the nearest.
    """
    if name in known:
        return name
    near = get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {kind} {name!r}: want one of {', '.join(known)}{hint}")


def check_value(
    name: str, value: ArrayLike, good: Callable[[np.ndarray], Any], wanted: str
) -> None:
    """Check that every element of a value is good; traced values, not known yet, pass.

    Args:
      name: of the value, for the message.
      value: a number or an array.
      good: True for each element that is good.
      wanted: the good values in words, for the message.

    Raises:
      ValueError: if an element is not good, or no number.
    """
    if isinstance(value, jax.core.Tracer):
        return
    # An array of which parts are on another process is checked where it lies.
    is_apart = isinstance(value, jax.Array) and not (
        value.is_fully_addressable or value.is_fully_replicated
    )
    array: Any = value if is_apart else np.asarray(value)
    is_number = jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool
    if not is_number or not np.all(good(array)):
        raise ValueError(f"{name} is {value if is_number else repr(value)}; want {wanted}")


def check_single(name: str, value: ArrayLike) -> None:
    """Check that a value is one number, and no array of numbers; it may be traced.

    Raises:
      ValueError: if it has axes.
    """
    if np.shape(value):
        raise ValueError(f"{name} has shape {np.shape(value)}; want one number")


def check_count(name: str, value: Any, *, least: int = 1, most: float = math.inf) -> int:
    """Return a whole number as an int; NumPy's and JAX's whole numbers are accepted, bools not.

    Args:
      name: of the number, for the message.
      value: the number.
      least: smallest good number.
      most: largest good number.

    Raises:
      ValueError: if it is no whole number, below `least` or above `most`.
    """
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        end = "" if most == math.inf else f" and at most {most:,}"
        raise ValueError(f"{name} is {value!r}; want a whole number of at least {least}{end}")
    return number


def check_kind(
    name: str, value: Any, kind: type[Kind], known: Mapping[str, Kind], where: str
) -> Kind:
    """Return a value if it is of a kind, such as a neuron model.

    Args:
      name: of the argument, for the message.
      value: to check.
      kind: its class.
      known: values of this class by name.
      where: name of `known` for the message, with its module.

    Raises:
      ValueError: if it is something else; for a name, the message says where its value is.
    """
    if isinstance(value, kind):
        return value
    hint = f"a {kind.__name__}, such as those in {where}"
    if isinstance(value, str):
        hint = f"{where}[{check_name(name, value, known)!r}]"
    raise ValueError(f"{name} is {value!r}; want {hint}")


def check_key(key: Any) -> jax.Array:
    """Return a random key in the form of `jax.random.key`; `jax.random.PRNGKey` is accepted too.

    Both forms of a seed draw the same numbers.

    Raises:
      ValueError: if it is no single key.
    """
    wanted = "want one key, such as jax.random.key(seed)"
    if not isinstance(key, jax.Array | np.ndarray):
        raise ValueError(f"key is {key!r}; {wanted}")
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        try:
            key = jax.random.wrap_key_data(jnp.asarray(key))
        except (TypeError, ValueError) as error:
            raise ValueError(f"key is an array {key.dtype}{list(key.shape)}; {wanted}") from error
    if key.shape:
        raise ValueError(f"key is an array of keys {list(key.shape)}; {wanted}")
    return key
