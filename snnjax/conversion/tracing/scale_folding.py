"""Folding of scales: every `Scale` of a graph goes into the weights beside it where it can.

Normalisations, factors and biases of the user's program are read as scales of their own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnjax.conversion.tracing.graph import (
    Node,
    Users,
    is_layer,
    scaled,
    topological,
    users_of_all,
)
from snnjax.conversion.tracing.image_layout import reaches_input
from snnjax.conversion.tracing.indices import Array
from snnjax.networks import architecture as arch

__all__ = ["simplify"]

WEIGHTED = arch.Conv | arch.Dense
WITHOUT_WEIGHTS = arch.AvgPool | arch.Flatten
"""Linear layers that treat all channels alike, so a scale may come before or behind them."""
KINDS = WEIGHTED | WITHOUT_WEIGHTS | arch.Scale | arch.Normalise | arch.Activation | arch.Transpose


def simplify(output: Node) -> Node:
    """Fold scales into their neighbours until none can be folded; return the new output.

    The nodes of the graph are changed in place.

    Raises:
      ValueError: if the graph has a kind of layer of which it is unknown how scales pass it.
    """
    for node in topological(output):
        if not isinstance(node.layer, type) and not isinstance(node.layer, KINDS | None):
            raise ValueError(
                f"the layer {node.layer!r} made at {node.line or 'an unknown line'} has no rule for"
                " scales beside it; add its kind to scale_folding.py"
            )
    end = Node(None, [output], output.shape)
    users = users_of_all(end)
    scales = [node for node in topological(end) if is_layer(node, arch.Scale)][::-1]
    while scales:
        scale = scales.pop()
        scales += _fold(scale, users)
    return end.inputs[0]


def _fold(scale: Node, users: Users) -> list[Node]:
    """Fold a Scale into its neighbours; return the scales that may be foldable for that, the next
    one last.

    A neutral scale is removed, unless neurons need it as their synapse.
    """
    behind = users[scale]
    if not behind:
        return []
    before, user = scale.inputs[0], behind[0]
    if _is_neutral(scale) and not _is_needed_synapse(before, behind, users):
        _remove(scale, users)
    elif len(users[before]) == 1 and is_layer(before, arch.Scale | WEIGHTED):
        _fold_into_previous(before, scale)
        _remove(scale, users)
    elif len(behind) == 1 and is_layer(user, WEIGHTED):
        if not _fold_into_next(user, scale, users):
            return []
    elif len(behind) == 1 and is_layer(user, WITHOUT_WEIGHTS):
        return [_move_behind(scale, user, users)]
    else:
        return []
    return [node for node in (*behind, before) if is_layer(node, arch.Scale)]


def _is_neutral(scale: Node) -> bool:
    return bool(np.all(scale.params["scale"] == 1) and np.all(scale.params["bias"] == 0))


def _is_needed_synapse(before: Node, behind: list[Node], users: Users) -> bool:
    """Return True if a scale behind `before` is the only synapse of the neurons behind it.

    The input counts as neurons before it, and the network's output as neurons behind it. Where
    several branches begin, each has its own synapses.
    """
    if not any(is_layer(user, arch.Activation) or user.layer is None for user in behind):
        return False
    while len(users[before]) == 1 and is_layer(before, WITHOUT_WEIGHTS | arch.Transpose):
        before = before.inputs[0]
    if before.layer is None or is_layer(before, arch.Activation):
        return True
    return len(users[before]) > 1


def _remove(scale: Node, users: Users) -> None:
    before, behind = scale.inputs[0], users.pop(scale)
    for user in behind:
        user.inputs = [before if node is scale else node for node in user.inputs]
    users[scale] = []
    users[before] = [node for node in users[before] if node is not scale] + behind


def _fold_into_previous(previous: Node, scale: Node) -> None:
    """Scale the outputs of a Conv, a Dense or another Scale."""
    a, b = scale.params["scale"], scale.params["bias"]
    bias = previous.params.get("bias", 0.0) * a + b
    if is_layer(previous, arch.Scale):
        previous.params = {"scale": previous.params["scale"] * a, "bias": bias}
        previous.sources |= scale.sources
    else:
        _set_weights(previous, previous.params["kernel"] * a, bias, scale.sources)


def _fold_into_next(weights: Node, scale: Node, users: Users) -> bool:
    """Scale the inputs of a Conv or Dense; return True if that was possible.

    A bias cannot pass a padding with zeros, which it would not reach.
    """
    a, b = scale.params["scale"], scale.params["bias"]
    kernel = weights.params["kernel"]
    if np.any(b) and _is_padded(weights):
        return _make_normalise(scale)
    shift = (kernel * _by_input(weights, b)).sum(tuple(range(kernel.ndim - 1)))
    shift = shift + weights.params.get("bias", 0.0)
    _set_weights(weights, kernel * _by_input(weights, a), shift, scale.sources)
    _remove(scale, users)
    return True


def _make_normalise(scale: Node) -> bool:
    """Turn a Scale of the image into a Normalise; return True if that was possible.

    Conversion folds a Normalise into the first weights and pads with its mean.
    """
    a, b = scale.params["scale"], scale.params["bias"]
    if not reaches_input(scale) or np.any(a <= 0):
        return False
    scale.layer = arch.Normalise(tuple((-b / a).tolist()), tuple((1 / a).tolist()))
    scale.params = {}
    return True


def _move_behind(scale: Node, user: Node, users: Users) -> Node:
    """Put a Scale behind the pooling or flattening that uses it, where weights may follow.

    Returns the new scale.
    """
    later = users[user]
    _remove(scale, users)
    repeats = user.shape[-1] // scale.shape[-1]
    numbers = {name: np.tile(value, repeats) for name, value in scale.params.items()}
    behind = scaled(user, **numbers, sources=scale.sources, line=scale.line)
    for node in later:
        node.inputs = [behind if before is user else before for before in node.inputs]
    users[behind], users[user] = later, [behind]
    return behind


def _set_weights(node: Node, kernel: Array, bias: Array, sources: frozenset[str]) -> None:
    """Replace the weights of a Conv or Dense; a bias of zeros is left out."""
    assert isinstance(node.layer, WEIGHTED)
    use_bias = bool(np.any(bias))
    node.layer = replace(node.layer, use_bias=use_bias)
    node.params = {"kernel": kernel} | ({"bias": bias} if use_bias else {})
    node.sources |= sources


def _is_padded(node: Node) -> bool:
    if not isinstance(node.layer, arch.Conv):
        return False
    return bool(np.any(node.layer.spec.window.pads(node.inputs[0].shape)))


def _by_input(node: Node, values: Array) -> Array:
    """Lay out one number for each input channel like the last two axes of the kernel."""
    inputs, outputs = node.params["kernel"].shape[-2:]
    groups = node.layer.groups if isinstance(node.layer, arch.Conv) else 1
    return np.repeat(values.reshape(groups, inputs).T, outputs // groups, axis=1)
