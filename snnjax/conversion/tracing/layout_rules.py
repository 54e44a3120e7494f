"""Rules for operations that move entries: reshapes, transpositions, slices, paddings, joins."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing.graph import Node, flattened
from snnjax.conversion.tracing.indices import PADDING
from snnjax.conversion.tracing.jaxpr_walk import Known, Operation, refuse
from snnjax.conversion.tracing.layer_outputs import layer_output
from snnjax.conversion.tracing.numpy_operations import compute, moved
from snnjax.conversion.tracing.rule_table import rule
from snnjax.conversion.tracing.signals import Signal, Value
from snnjax.networks import architecture as arch

__all__: list[str] = []


@rule(
    "reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "rev", "slice", "split",
    "dynamic_slice", "gather", "tile", "unstack",
)  # fmt: skip
def rearranged(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> list[Value]:
    """Apply the operation to the indices."""
    signal, rest = _signal_and_rest(operation, operands)
    return _on_indices(operation, equation, signal, rest)


@rule("pad")
def padded(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> list[Value]:
    """Apply a padding with zeros to the indices."""
    signal, (value,) = _signal_and_rest(operation, operands)
    if np.any(np.asarray(value) != 0):
        refuse(operation, f"it pads with {value}; want zeros")
    return _on_indices(operation, equation, signal, [np.int32(PADDING)])


@rule("stack")
def stacked(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Signal:
    """Join arrays of one layer, or of several branches, along a new axis."""
    axis, parts = equation.params["axis"], list[Value]()
    for operand in operands:
        if isinstance(operand, Known):
            parts.append(Known(np.expand_dims(np.asarray(operand.value), axis)))
        else:
            part = layer_output(operand)
            parts.append(Signal(part.node, np.expand_dims(part.indices, axis)))
    return _concatenated(operation, parts, axis)


@rule("concatenate")
def concatenated(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Signal:
    """Join arrays of one layer, or the channels of several branches: the end of a Concat."""
    return _concatenated(operation, operands, equation.params["dimension"])


def _concatenated(operation: Operation, operands: list[Value], axis: int) -> Signal:
    parts = [
        operand if isinstance(operand, Known) else layer_output(operand) for operand in operands
    ]
    node, places = _joined([x.node for x in parts if isinstance(x, Signal)], operation.line)
    joined = []
    for part in parts:
        if isinstance(part, Signal):
            depth, offset = places[part.node]
            pixel, channel = np.divmod(part.indices, depth)
            index = pixel * node.shape[-1] + channel + offset
            joined.append(np.where(part.indices < 0, PADDING, index))
        elif np.any(np.asarray(part.value)):
            refuse(operation, "it joins activations and constants; want activations and zeros")
        else:
            joined.append(np.full(np.shape(part.value), PADDING, np.int32))
    indices = np.concatenate(joined, axis)
    return Signal(node, indices, operation=operation)


def _joined(nodes: list[Node], line: str) -> tuple[Node, dict[Node, tuple[int, int]]]:
    """Return a node with the outputs of all nodes; for each, its channels and the first of them."""
    first, *others = list(dict.fromkeys(nodes))
    if not others:
        return first, {first: (first.shape[-1], 0)}
    alike = len({node.shape[:-1] for node in nodes}) == 1
    inputs = {node: node if alike else flattened(node) for node in (first, *others)}
    places, end = {}, 0
    for node, made in inputs.items():
        places[node] = made.shape[-1], end
        end += made.shape[-1]
    shape = (*inputs[first].shape[:-1], end)
    return Node(arch.Concat, list(inputs.values()), shape, line=line), places


def _signal_and_rest(operation: Operation, operands: list[Value]) -> tuple[Signal, list[Any]]:
    """Return the array that is moved, and the values of the other operands."""
    first, *others = operands
    rest = [operand.value for operand in others if isinstance(operand, Known)]
    if isinstance(first, Known) or len(rest) < len(others):
        refuse(operation, "where it looks depends on the images; want fixed places")
    return layer_output(first), rest


OUTSIDE = PADDING - 1
"""Index of an entry that is outside of the array from which it is taken, and no zero."""


def _on_indices(
    operation: Operation, equation: JaxprEqn, signal: Signal, rest: list[Any]
) -> list[Value]:
    view = moved(equation, signal.indices)
    if view is not None:
        outputs = [view]
    else:
        if "fill_value" in equation.params:  # of entries outside of the array: 0, or NaN if None
            fill = PADDING if equation.params["fill_value"] == 0 else OUTSIDE
            equation = equation.replace(params={**equation.params, "fill_value": fill})
        outputs = [np.asarray(x) for x in compute(equation, [signal.indices, *rest])]
        if any(np.any(output < PADDING) for output in outputs):
            refuse(operation, "it takes entries from outside of its array; want places inside")
    return [_of_one_branch(Signal(signal.node, x, operation=operation)) for x in outputs]


def _of_one_branch(signal: Signal) -> Signal:
    """Return a part of joined branches that comes from one of them as a part of that one."""
    node, indices = signal.node, signal.indices
    if node.layer is not arch.Concat or not indices.size or indices.min() < 0:
        return signal
    pixel, channel = np.divmod(indices, node.shape[-1])
    first = 0
    for branch in node.inputs:
        depth = branch.shape[-1]
        if channel.min() >= first and channel.max() < first + depth:
            place = pixel * depth + channel - first
            return _of_one_branch(Signal(branch, place, operation=signal.operation))
        first += depth
    return signal
