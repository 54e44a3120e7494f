"""Nested layers of a graph whose branches meet again."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

from snnjax.conversion.tracing.graph import Node, topological
from snnjax.networks import architecture as arch

__all__ = ["Nested", "nested"]


class Nested(NamedTuple):
    """Layers in network order, with their numbers.

    layers: specifications; params: by layer name, insides of blocks nested; sources: for each
      layer by path, the user's parameters that its numbers are computed from; user_names: for
      each layer by path, the path of the user's module, "" if it is not known.
    """

    layers: tuple[arch.Layer, ...]
    params: dict[str, Any]
    sources: dict[str, frozenset[str]]
    user_names: dict[str, str]


class Part(NamedTuple):
    """A layer, or a block with `sources` and `user_name` by path inside it."""

    layer: arch.Layer
    params: dict[str, Any]
    sources: Any
    user_name: Any


def nested(start: Node, output: Node) -> Nested:
    """Return the layers from the input to the output, branches as nested blocks.

    Weights that several such blocks use stand in each of them.

    Raises:
      ValueError: if branches of neurons do not meet again as nested blocks do, or a join is no
        known block.
    """
    dominators = _dominators(output)
    seen: set[Node] = set()

    def between(begin: Node, end: Node) -> Nested:
        """Return the layers behind `begin` up to and including `end`."""
        parts: list[Part] = []
        while end is not begin:
            if end in seen and isinstance(end.layer, arch.Activation):
                raise ValueError(
                    f"activation at {end.line or 'an unknown line'} cannot be converted: it is used"
                    " by branches that do not meet in one sum; want every branch to end where the"
                    " next begins"
                )
            seen.add(end)
            if isinstance(end.layer, type):
                fork = dominators[end]
                branches = [between(fork, branch) for branch in end.inputs]
                parts.append(_block(end.layer, branches))
                end = fork
            else:
                assert end.layer is not None
                parts.append(Part(end.layer, end.params, end.sources, end.user_name))
                end = end.inputs[0]
        return _named(parts[::-1])

    return between(start, output)


def _block(kind: type[arch.Block], branches: list[Nested]) -> Part:
    """Return the block that joins branches."""
    block: arch.Block
    if kind is arch.Residual:  # a sum has no order: the branch of more layers is the body
        branches = sorted(branches, key=lambda branch: -len(branch.layers))
        body, shortcut = (branch.layers for branch in branches)
        block = arch.Residual(body, shortcut)
    elif kind is arch.Concat:
        block = arch.Concat(tuple(branch.layers for branch in branches))
    else:
        raise ValueError(f"branches are joined by {kind.__name__}; want Residual or Concat")
    names = list(block.branches)
    params = {name: branch.params for name, branch in zip(names, branches, strict=True)}
    sources, user_names = (
        {
            f"{name}/{path}": found
            for name, branch in zip(names, branches, strict=True)
            for path, found in by_path(branch).items()
        }
        for by_path in (attrgetter("sources"), attrgetter("user_names"))
    )
    return Part(block, params, sources, user_names)


def _named(parts: list[Part]) -> Nested:
    """Give layers their names in a network, or in a branch."""
    layers = tuple(part.layer for part in parts)
    params: dict[str, Any] = {}
    sources: dict[str, frozenset[str]] = {}
    user_names: dict[str, str] = {}
    for (name, layer), part in zip(arch.named(layers), parts, strict=True):
        is_block = isinstance(layer, arch.Block)
        if part.params or is_block:
            params[name] = part.params
        if is_block:
            sources |= {f"{name}/{path}": found for path, found in part.sources.items()}
            user_names |= {f"{name}/{path}": found for path, found in part.user_name.items()}
        else:
            sources[name], user_names[name] = part.sources, part.user_name
    return Nested(layers, params, sources, user_names)


def _dominators(output: Node) -> dict[Node, Node]:
    """Return for each node the nearest other node that every path from the input to it passes."""
    dominators: dict[Node, Node] = {}
    depth: dict[Node, int] = {}

    def meet(a: Node, b: Node) -> Node:
        while a is not b:
            a, b = (dominators[a], b) if depth[a] >= depth[b] else (a, dominators[b])
        return a

    for node in topological(output):
        if not node.inputs:
            dominators[node], depth[node] = node, 0
            continue
        nearest = node.inputs[0]
        for other in node.inputs[1:]:
            nearest = meet(nearest, other)
        dominators[node], depth[node] = nearest, depth[nearest] + 1
    return dominators
