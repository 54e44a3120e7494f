"""A network as a graph of layers, from its output to its input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnjax.conversion.tracing.indices import Array
from snnjax.networks import architecture as arch

__all__ = [
    "Node",
    "Users",
    "flattened",
    "is_layer",
    "scaled",
    "topological",
    "users_of_all",
    "weighted",
]


@dataclass(eq=False)
class Node:
    """A layer, or a place where branches are joined.

    layer: the specification; for a join the class of the block, whose branches are not known
      yet; None at the input.
    inputs: nodes whose outputs it takes: one for a layer, several for a join, none at the input.
    shape: of the output for one image, `(H, W, C)` or `(N,)`.
    params: of the layer, by the names that `ann.ANN` uses.
    sources: paths of the user's parameters that `params` are computed from.
    line: of the user's program that made it.
    user_name: path of the user's module and its function, "" if none is known.
    """

    layer: arch.Layer | type[arch.Block] | None
    inputs: list[Node]
    shape: tuple[int, ...]
    params: dict[str, Array] = field(default_factory=dict)
    sources: frozenset[str] = frozenset()
    line: str = ""
    user_name: str = ""


Users = dict[Node, list[Node]]
"""For each node, the nodes that take its output."""


def is_layer(node: Node, kind: Any) -> bool:
    """Return True if the node is a layer of that kind, or of one of those kinds."""
    return not isinstance(node.layer, type) and isinstance(node.layer, kind)


def scaled(
    node: Node,
    scale: Array | float = 1.0,
    bias: Array | float = 0.0,
    sources: frozenset[str] = frozenset(),
    line: str = "",
) -> Node:
    """Add a `Scale` behind a node; one number stands for all channels."""
    channels = node.shape[-1]
    params = {"scale": np.broadcast_to(scale, channels), "bias": np.broadcast_to(bias, channels)}
    return Node(arch.Scale(channels), [node], node.shape, params, sources, line)


def flattened(node: Node) -> Node:
    """Add a `Flatten` behind a node, or return the node if its output is a vector already."""
    if len(node.shape) == 1:
        return node
    size = int(np.prod(node.shape))
    return Node(arch.Flatten(), [node], (size,), line=node.line)


def weighted(
    node: Node,
    layer: arch.Layer,
    kernel: Array,
    shape: tuple[int, ...],
    sources: frozenset[str],
    line: str,
) -> Node:
    """Add a layer with a kernel behind a node; `shape` is its output's for one image."""
    params = {"kernel": np.asarray(kernel, np.float64)}
    return Node(layer, [node], shape, params, sources, line)


def topological(output: Node) -> Iterator[Node]:
    """Yield every node once, each after all its inputs."""
    done: set[Node] = set()
    todo: list[tuple[Node, bool]] = [(output, False)]
    while todo:
        node, inputs_done = todo.pop()
        if inputs_done:
            yield node
        elif node not in done:
            done.add(node)
            todo.append((node, True))
            todo += [(before, False) for before in node.inputs]


def users_of_all(output: Node) -> Users:
    """Return for each node those that take its output, once for each time that they take it."""
    users: Users = {}
    for user in topological(output):
        users[user] = []
        for before in user.inputs:
            users[before].append(user)
    return users
