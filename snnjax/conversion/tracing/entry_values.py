"""Values of functions entry by entry, for given values of the signal that they depend on.

A function is the same for every image and pixel, so one entry for each channel stands for all; one
entry stands for all channels where no numbers of the user's program differ between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from snnjax.conversion.tracing.indices import Array, channel_places, same_for_all_pixels
from snnjax.conversion.tracing.jaxpr_walk import Known
from snnjax.conversion.tracing.signals import Elementwise, Signal, Value

__all__ = ["differs_between_pixels", "values_of_channels"]


class Entries(NamedTuple):
    """Entries of an array of the user's program: its shape, and for each axis their indices."""

    shape: tuple[int, ...]
    places: tuple[Array, ...]

    def of(self, numbers: Any) -> Any:
        """Return an array's numbers at the entries, `[P]`; a single number as it is."""
        if not np.ndim(numbers):
            return numbers
        return np.broadcast_to(np.asarray(numbers), self.shape)[self.places]


def differs_between_pixels(function: Elementwise, whole: Signal) -> bool:
    """Return True if a function contains numbers that differ between the pixels of a channel.

    Args:
      function: of a signal.
      whole: the signal that it depends on, as the whole output of a layer.
    """
    return not all(
        same_for_all_pixels(np.asarray(numbers), whole.indices, whole.node.shape)
        for numbers in _numbers(function)
        if np.ndim(numbers)
    )


def values_of_channels(function: Elementwise, whole: Signal, z: Array) -> Array:
    """Return the values of a function in each channel, `[Z, C]`.

    Args:
      function: of a signal, the same for all pixels.
      whole: the signal that it depends on, as the whole output of a layer.
      z: values of that signal, `[Z]`.
    """
    channels = whole.node.shape[-1]
    places = channel_places(whole.indices, whole.node.shape)
    if all(np.size(numbers) == 1 for numbers in _numbers(function)):
        places = tuple(place[:1] for place in places)
    entries = Entries(whole.indices.shape, places)
    of_base = np.broadcast_to(z[:, None], (len(z), len(places[0])))
    values = np.asarray(_evaluate(function, of_base, entries), np.float64)
    return np.broadcast_to(values, (len(z), channels))


def _evaluate(function: Elementwise, z: Array, entries: Entries) -> Any:
    """Return a function's values where its base has the values z, `[Z, P]`."""
    found: dict[Any, Any] = {function.base: z.astype(np.float64)}
    todo: list[Signal | Elementwise] = [function]
    while todo:
        value = todo[-1]
        missing = [x for x in _inputs(value) if not isinstance(x, Known) and x not in found]
        todo += missing
        if missing:
            continue
        todo.pop()
        if isinstance(value, Signal):
            (before,) = _inputs(value)
            scale, bias = entries.of(value.scale), entries.of(value.bias)
            found[value] = np.asarray(found[before], np.float64) * scale + bias
        else:
            found[value] = value.function(*(_read(x, found, z, entries) for x in _inputs(value)))
    return found[function]


def _read(operand: Value, found: dict[Any, Any], z: Array, entries: Entries) -> Any:
    if isinstance(operand, Known):
        numbers = entries.of(operand.value)
        return np.broadcast_to(numbers, z.shape) if np.ndim(numbers) else numbers
    values = found[operand]
    return np.asarray(values, np.float32) if isinstance(operand, Signal) else values


def _inputs(value: Signal | Elementwise) -> tuple[Value, ...]:
    """Return what a value is computed from."""
    if isinstance(value, Elementwise):
        return value.operands or (value.base,)
    before = value.origin or value.parent
    assert before is not None, "a function depends on its base alone"
    return (before,)


def _numbers(function: Elementwise) -> Iterator[Any]:
    """Yield all numbers of the user's program between a function and its base."""
    seen: set[Value] = {function.base}
    todo: list[Value] = [function]
    while todo:
        value = todo.pop()
        if isinstance(value, Known):
            yield value.value
        elif value not in seen:
            seen.add(value)
            todo += _inputs(value)
            if isinstance(value, Signal):
                yield from (value.scale, value.bias)
