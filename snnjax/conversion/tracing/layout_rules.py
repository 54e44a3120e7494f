"""Rules for operations that move entries: reshapes, transpositions, slices, paddings, joins."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing.graph import Node, flattened
from snnjax.conversion.tracing.indices import PADDING
from snnjax.conversion.tracing.jaxpr_walk import Known, Operation, compute, refuse
from snnjax.conversion.tracing.layer_outputs import layer_output
from snnjax.conversion.tracing.rule_table import rule
from snnjax.conversion.tracing.signals import Signal, Value
from snnjax.networks import architecture as arch

__all__: list[str] = []


@rule(
    "reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "rev", "slice", "split",
    "dynamic_slice", "gather",
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


@rule("concatenate")
def concatenated(operation: Operation, equation: JaxprEqn, operands: list[Value]) -> Signal:
    """Join the channels of several branches: the end of a Concat."""
    parts = []
    for operand in operands:
        if isinstance(operand, Known):
            refuse(operation, "it joins activations and constants; want activations alone")
        parts.append(layer_output(operand))
    nodes = [part.node for part in parts]
    if len({node.shape[:-1] for node in nodes}) > 1:
        nodes = [flattened(node) for node in nodes]
    offsets = np.cumsum([0, *(node.shape[-1] for node in nodes)])
    shape = (*nodes[0].shape[:-1], int(offsets[-1]))
    joined = []
    for part, node, offset in zip(parts, nodes, offsets, strict=False):
        pixel, channel = np.divmod(part.indices, node.shape[-1])
        index = pixel * shape[-1] + channel + offset
        joined.append(np.where(part.indices < 0, PADDING, index))
    indices = np.concatenate(joined, equation.params["dimension"])
    return Signal(
        Node(arch.Concat, nodes, shape, line=operation.line), indices, operation=operation
    )


def _signal_and_rest(operation: Operation, operands: list[Value]) -> tuple[Signal, list[Any]]:
    """Return the array that is moved, and the values of the other operands."""
    first, *others = operands
    rest = [operand.value for operand in others if isinstance(operand, Known)]
    if isinstance(first, Known) or len(rest) < len(others):
        refuse(operation, "where it looks depends on the images; want fixed places")
    return layer_output(first), rest


def _on_indices(
    operation: Operation, equation: JaxprEqn, signal: Signal, rest: list[Any]
) -> list[Value]:
    outputs = compute(equation, [signal.indices.astype(np.int32), *rest])
    return [Signal(signal.node, np.asarray(output), operation=operation) for output in outputs]
