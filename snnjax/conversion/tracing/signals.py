"""Values that depend on the images: outputs of layers, and functions of them entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from snnjax.conversion.tracing.graph import Node
from snnjax.conversion.tracing.indices import Array
from snnjax.conversion.tracing.jaxpr_walk import Known, Operation

__all__ = ["INPUT", "Elementwise", "Obstacle", "Signal", "Value", "affine_from", "common_ancestor"]

INPUT = Operation("the input")


@dataclass(eq=False)
class Signal:
    """The output of a layer in the user's order of axes, perhaps scaled and shifted.

    node: the layer; indices: index of each entry in the layer's output (see module `indices`);
      parent: the signal before the last scale and shift, None for the output itself; scale: the
      last factor, and bias: what was added then, both broadcast to `indices`; sources: the
      user's parameters in them; operation: the last one; origin: the function that the layer is,
      if it is an activation; output: cached result of `layer_outputs.layer_output`.
    """

    node: Node
    indices: Array
    parent: Signal | None = None
    scale: Any = 1.0
    bias: Any = 0.0
    sources: frozenset[str] = frozenset()
    operation: Operation = INPUT
    origin: Elementwise | None = None
    output: Signal | None = field(default=None, repr=False)

    @property
    def before(self) -> Signal | None:
        """The signal that this one is a function of, entry by entry; None behind weights."""
        return self.origin.base if self.origin is not None else self.parent

    def scaled(
        self, scale: Any, bias: Any, sources: frozenset[str], operation: Operation
    ) -> Signal:
        """Return this signal times `scale` plus `bias`."""
        sources = sources | self.sources
        return Signal(self.node, self.indices, self, scale, bias, sources, operation)


class Obstacle(NamedTuple):
    """An operation that no activation of neurons contains, and the reason to tell the user."""

    operation: Operation
    reason: str


@dataclass(eq=False)
class Elementwise:
    """A function of a signal, entry by entry, that may turn out to be an activation.

    base: the signal; function: maps the values of `operands` to the function's values; operations:
      all that it consists of; obstacle: the first of them that no activation contains; sources:
      the user's parameters in it; alternative: builds the signal to use where the function is no
      activation; operands: what it takes, `base` alone if none are given; output: cached result of
      `layer_outputs.layer_output`; failure: its cached error.
    """

    base: Signal
    function: Callable[..., Any]
    operations: tuple[Operation, ...]
    obstacle: Obstacle | None = None
    sources: frozenset[str] = frozenset()
    alternative: Callable[[], Signal] | None = None
    operands: tuple[Value, ...] = ()
    output: Signal | None = field(default=None, repr=False)
    failure: ValueError | None = field(default=None, repr=False)


Value = Known | Signal | Elementwise


def common_ancestor(a: Signal, b: Signal) -> Signal | None:
    """Return the last signal of which both are functions entry by entry, if there is one."""
    ancestors = set()
    step: Signal | None = a
    while step is not None:
        ancestors.add(step)
        step = step.before
    step = b
    while step is not None and step not in ancestors:
        step = step.before
    return step


def affine_from(base: Signal, signal: Signal) -> tuple[Any, Any]:
    """Return the scale and the bias that turn `base`, an ancestor, into `signal`."""
    scale, bias = np.float64(1.0), np.float64(0.0)
    steps = []
    while signal is not base:
        steps.append(signal)
        assert signal.parent is not None
        signal = signal.parent
    for step in reversed(steps):
        scale, bias = scale * step.scale, bias * step.scale + step.bias
    return scale, bias
