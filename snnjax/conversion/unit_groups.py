"""Groups of synapses that share their unit in an integer network, from the architecture alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from snnjax.conversion.quantised_weights import PIXEL
from snnjax.conversion.weight_units import largest_whole
from snnjax.networks import architecture as arch
from snnjax.networks.layers import (
    Activation,
    AvgPool,
    BatchNorm,
    Block,
    Concat,
    Flatten,
    Layer,
    Weights,
)

__all__ = ["Groups", "Member", "group_members"]


class Member(NamedTuple):
    """Synapses of a group: the weights of a layer, or those of a shortcut without weights.

    most: largest whole weight; inf for a shortcut.
    source: value that 1 of the whole input represents, in spikes or pixels; None behind weights.
    windows: inputs of all means between the synapses and the end of the group.
    norm: path of the batch normalisation of the layer's output, or None.
    neurons: path of the neurons behind the group; None where weights or the answer follow.
    shared: True if all channels have one unit.
    """

    most: float
    source: float | None
    windows: int
    norm: str | None
    neurons: str | None
    shared: bool

    @property
    def bare(self) -> bool:
        """True for a shortcut without weights."""
        return self.most == float("inf")


Groups = dict[str, dict[str, Member]]
"""Members by path, by the name of the group."""


class _End(NamedTuple):
    """End of a stack of layers: the name of its group, and fields of its members."""

    group: str
    windows: int
    neurons: str | None
    shared: bool


def group_members(network: arch.Network, bits: Mapping[str, int]) -> Groups:
    """Return the members of every group by path, by the name of the group.

    The members of one group end in the same sum. Most groups are one layer of weights.

    Args:
      network: the architecture.
      bits: of every layer of weights, by path.

    Raises:
      ValueError: if a layer is a Concat, or weights that follow weights end in a sum.
    """
    found: Groups = {}
    _group_stack(network.layers, "", 1 / PIXEL, _End("the output", 1, None, shared=True), found)
    groups = {}
    for name, members in found.items():
        paths = [path for path, member in members.items() if not member.bare]
        if not paths:
            continue
        for path in paths:
            if members[path].source is None and len(members) > 1:
                raise ValueError(
                    f"layer {path} follows weights without neurons between them, and ends in a sum"
                    " with other branches, which is too coarse for whole weights; put neurons"
                    " between, or make one layer of both"
                )
        shared = any(member.shared for member in members.values())
        groups[name] = {
            path: member._replace(shared=shared, most=_most(member, bits.get(path)))
            for path, member in members.items()
        }
    return groups


def _most(member: Member, bits: int | None) -> float:
    return member.most if bits is None else float(largest_whole(bits))


def _group_stack(
    layers: tuple[Layer, ...], prefix: str, source: float | None, end: _End, found: Groups
) -> float | None:
    """Add the synapses of a stack to `found`; return the source behind the stack."""
    pairs = arch.named(layers)
    for place, (name, layer) in enumerate(pairs):
        path = prefix + name
        match layer:
            case Weights():
                goal = _end_of(pairs, place, prefix, end)
                follower, after = (*pairs[place + 1 : place + 2], ("", None))[0]
                norm = prefix + follower if isinstance(after, BatchNorm) else None
                member = Member(0.0, source, goal.windows, norm, goal.neurons, goal.shared)
                found.setdefault(goal.group, {})[path] = member
                source = None
            case Concat():
                raise ValueError(
                    f"layer {path} is a Concat, whose weights no training rounds yet; want Residual"
                    " blocks, or train without rounded weights"
                )
            case Block():
                goal = _end_of(pairs, place, prefix, end)
                for branch, stack in layer.branches.items():
                    sent = _group_stack(stack, f"{path}/{branch}/", source, goal, found)
                    if sent is not None:
                        member = Member(float("inf"), sent, goal.windows, None, *goal[2:])
                        found.setdefault(goal.group, {})[f"{path}/{branch}_weight"] = member
                source = None
            case Activation():
                source = 1.0
            case AvgPool() if source is not None:
                source /= layer.window[0] * layer.window[1]
    return source


def _end_of(pairs: list[tuple[str, Layer]], place: int, prefix: str, end: _End) -> _End:
    """End of the synapses at `place`, from what follows them in their stack."""
    own, shared, windows = prefix + pairs[place][0], False, 1
    for name, layer in pairs[place + 1 :]:
        if isinstance(layer, Weights | Block):
            return _End(own, 1, None, shared=True)
        if isinstance(layer, Activation):
            return _End(own, windows, prefix + name, shared)
        if isinstance(layer, AvgPool):
            windows *= layer.window[0] * layer.window[1]
        shared |= isinstance(layer, Flatten)
    return end._replace(windows=windows * end.windows, shared=shared or end.shared)
