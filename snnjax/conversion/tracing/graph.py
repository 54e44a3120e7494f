"""A network as a graph of layers, and the nested layers that it is.

A trace finds layers and what they listen to. Here scales that stand alone go into the weights
beside them, and a graph whose branches meet again becomes a tuple of layer specifications.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from snnjax.networks import architecture as arch

__all__ = ["Layered", "Node", "channels", "layered", "scaled", "simplify"]

Array = np.ndarray


@dataclass(eq=False)
class Node:
    """A layer, what it listens to, and what it gives.

    layer: None at the input; a block without branches where several nodes are joined.
    inputs: one node, several where they are joined, none at the input.
    shape: of the output for one image, `(H, W, C)` or `(N,)`.
    params: of the layer, as `ann.ANN` has them.
    sources: where its numbers come from, in the user's names.
    line: of the user's program that made it.
    """

    layer: arch.Layer | type[arch.Block] | None
    inputs: list[Node]
    shape: tuple[int, ...]
    params: dict[str, Array] = field(default_factory=dict)
    sources: frozenset[str] = frozenset()
    line: str = ""


class Layered(NamedTuple):
    """layers: specifications; params: by name; sources: by path, the user's names."""

    layers: tuple[arch.Layer, ...]
    params: dict[str, Any]
    sources: dict[str, frozenset[str]]


def channels(shape: tuple[int, ...]) -> int:
    """How many channels, or inputs, an output of that shape has."""
    return shape[-1]


def scaled(node: Node, scale: Array, bias: Array, sources: frozenset[str], line: str) -> Node:
    """The node behind which each channel is multiplied and shifted."""
    params = {"scale": np.asarray(scale), "bias": np.asarray(bias)}
    return Node(arch.Scale(channels(node.shape)), [node], node.shape, params, sources, line)


def simplify(output: Node) -> Node:
    """The same graph with as few scales of their own as there can be; returns its output."""
    end = Node(None, [output], output.shape)
    while any(_absorbed(node, end) for node in list(_ordered(end)) if _is(node, arch.Scale)):
        pass
    return end.inputs[0]


def layered(start: Node, output: Node) -> Layered:
    """The layers from the input to the output, branches nested.

    Raises:
      ValueError: where branches do not meet again as nested blocks do.
    """
    over = _dominators(output)
    seen: set[Node] = set()

    def stack(begin: Node, end: Node) -> list[tuple[arch.Layer, Any, Any]]:
        """Layer, parameters and sources of each, from behind `begin` up to and with `end`."""
        found: list[tuple[arch.Layer, Any, Any]] = []
        while end is not begin:
            if end in seen:
                raise ValueError(
                    f"what {end.line or 'a layer'} gives is used by branches that do not meet in"
                    " one sum; want every branch to end where the next begins"
                )
            seen.add(end)
            if isinstance(end.layer, type):
                fork = over[end]
                parts = [_named(stack(fork, part)) for part in end.inputs]
                found.append(_block(end.layer, parts))
                end = fork
            else:
                assert end.layer is not None
                found.append((end.layer, end.params, end.sources))
                end = end.inputs[0]
        return found[::-1]

    return _named(stack(start, output))


def _block(kind: type[arch.Block], parts: list[Layered]) -> tuple[arch.Layer, Any, Any]:
    if kind is arch.Residual:  # a sum has no order, and the shorter way is the shortcut
        parts = sorted(parts, key=lambda part: -len(part.layers))
    inside = [part.layers for part in parts]
    block: arch.Block = arch.Residual(*inside) if kind is arch.Residual else arch.Concat((*inside,))
    names = list(block.branches)
    params = {name: part.params for name, part in zip(names, parts, strict=True)}
    sources = {
        f"{name}/{path}": found
        for name, part in zip(names, parts, strict=True)
        for path, found in part.sources.items()
    }
    return block, params, sources


def _named(found: list[tuple[arch.Layer, Any, Any]]) -> Layered:
    layers = tuple(layer for layer, _, _ in found)
    names = [name for name, _ in arch.named(layers)]
    params: dict[str, Any] = {}
    sources: dict[str, frozenset[str]] = {}
    for name, (layer, numbers, origin) in zip(names, found, strict=True):
        if numbers or isinstance(layer, arch.Block):
            params[name] = numbers
        if isinstance(layer, arch.Block):
            sources |= {f"{name}/{path}": value for path, value in origin.items()}
        else:
            sources[name] = origin
    return Layered(layers, params, sources)


def _ordered(output: Node) -> Iterator[Node]:
    """Every node once, each behind all that it listens to."""
    done: set[Node] = set()
    todo: list[tuple[Node, bool]] = [(output, False)]
    while todo:
        node, ready = todo.pop()
        if ready:
            yield node
        elif node not in done:
            done.add(node)
            todo.append((node, True))
            todo += [(before, False) for before in node.inputs]


def _dominators(output: Node) -> dict[Node, Node]:
    """The nearest node that every way from the input to a node passes."""
    over: dict[Node, Node] = {}
    depth: dict[Node, int] = {}

    def meet(a: Node, b: Node) -> Node:
        while a is not b:
            a, b = (over[a], b) if depth[a] >= depth[b] else (a, over[b])
        return a

    for node in _ordered(output):
        if not node.inputs:
            over[node], depth[node] = node, 0
            continue
        nearest = node.inputs[0]
        for other in node.inputs[1:]:
            nearest = meet(nearest, other)
        over[node], depth[node] = nearest, depth[nearest] + 1
    return over


def _is(node: Node, kind: Any) -> bool:
    return not isinstance(node.layer, type) and isinstance(node.layer, kind)


def _absorbed(scale: Node, end: Node) -> bool:
    """Whether a scale could go: into its neighbours, or, being neutral, without a trace."""
    users = [node for node in _ordered(end) for before in node.inputs if before is scale]
    if not users:
        return False
    below, above = scale.inputs[0], users[0]
    feeds = [node for node in _ordered(end) for before in node.inputs if before is below]
    a, b = scale.params["scale"], scale.params["bias"]
    if np.all(a == 1) and np.all(b == 0) and not _needed(below, users):
        _bypass(scale, users)
    elif len(feeds) == 1 and _is(below, arch.Scale | arch.Conv | arch.Dense):
        _into_before(below, scale)
        _bypass(scale, users)
    elif len(users) == 1 and _is(above, arch.Conv | arch.Dense):
        return _into_behind(above, scale)
    elif len(users) == 1 and _is(above, arch.AvgPool | arch.Flatten):
        _past(scale, above, end)
    else:
        return False
    return True


def _needed(below: Node, users: list[Node]) -> bool:
    """Whether a neutral scale is the only synapse between neurons and what listens to them."""
    while _is(below, arch.AvgPool | arch.Flatten):
        below = below.inputs[0]
    weightless = below.layer is None or _is(below, arch.Activation)
    return weightless and any(
        _is(user, arch.Activation) or (user.layer is None and user.inputs) for user in users
    )


def _bypass(node: Node, users: list[Node]) -> None:
    for user in users:
        user.inputs = [node.inputs[0] if before is node else before for before in user.inputs]


def _into_before(weights: Node, scale: Node) -> None:
    a, b = scale.params["scale"], scale.params["bias"]
    name = "scale" if _is(weights, arch.Scale) else "kernel"
    bias = weights.params.get("bias", 0.0) * a + b
    weights.params = {name: weights.params[name] * a}
    weights.sources |= scale.sources
    if name == "kernel":
        weights.layer = replace(weights.layer, use_bias=bool(np.any(bias)))  # type: ignore
        weights.params |= {"bias": bias} if np.any(bias) else {}
    else:
        weights.params["bias"] = bias


def _into_behind(weights: Node, scale: Node) -> bool:
    """Scale the inputs of weights, where a border of zeros does not show the difference."""
    a, b = scale.params["scale"], scale.params["bias"]
    layer, kernel = weights.layer, weights.params["kernel"]
    bordered = isinstance(layer, arch.Conv) and not _valid(layer)
    if bordered and np.any(b):
        return _normalised(scale)
    each = _inputs(layer, kernel)
    shift = (kernel * each(b)).sum(tuple(range(kernel.ndim - 1))) + weights.params.get("bias", 0.0)
    weights.params = {"kernel": kernel * each(a)}
    weights.layer = replace(layer, use_bias=bool(np.any(shift)))  # type: ignore
    weights.params |= {"bias": shift} if np.any(shift) else {}
    weights.sources |= scale.sources
    _bypass(scale, [weights])
    return True


def _normalised(scale: Node) -> bool:
    """Read a scale of the image as its normalisation, which conversion folds with its border."""
    a, b = scale.params["scale"], scale.params["bias"]
    if scale.inputs[0].layer is not None or scale.inputs[0].inputs or np.any(a <= 0):
        return False
    scale.layer = arch.Normalise(tuple((-b / a).tolist()), tuple((1 / a).tolist()))
    scale.params = {}
    return True


def _valid(layer: arch.Conv) -> bool:
    return layer.padding == "VALID" or (layer.padding != "SAME" and not np.any(layer.padding))


def _inputs(layer: Any, kernel: Array) -> Callable[[Array], Array]:
    """One number for each input channel, in the shape of a kernel's last two axes."""
    inputs, outputs = kernel.shape[-2:]
    groups = layer.groups if isinstance(layer, arch.Conv) else 1
    return lambda values: np.repeat(values.reshape(groups, inputs).T, outputs // groups, axis=1)


def _past(scale: Node, above: Node, end: Node) -> None:
    """A mean, and a change of shape, may come before the scale as well as behind it."""
    users = [node for node in _ordered(end) for before in node.inputs if before is above]
    above.inputs = [scale.inputs[0]]
    repeats = channels(above.shape) // channels(scale.shape)
    params = {name: np.tile(value, repeats) for name, value in scale.params.items()}
    behind = scaled(above, params["scale"], params["bias"], scale.sources, scale.line)
    for user in users:
        user.inputs = [behind if before is above else before for before in user.inputs]
