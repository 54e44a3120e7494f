"""Blocks of integer networks: branches that meet have one unit, or each channel its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from snnjax.conversion.quantised_weights import Goal, Seen, Signal
from snnjax.conversion.weight_units import BITS
from snnjax.networks.layers import Block, Concat, Residual
from snnjax.networks.layers.base import per_channel

__all__ = ["quantise_block"]

Params = dict[str, Any]

Branches = Callable[[list[Goal]], dict[str, tuple[Params, Signal]]]
"""branches(goals) -> arrays and end of every branch, by name, with one goal for each."""


def quantise_block(
    block: Block, own: Params, goal: Goal, path: str, branches: Branches
) -> tuple[Params, Signal]:
    """Quantise the branches of a block: first each in its own unit, then in the common one.

    Args:
      block: the block.
      own: its arrays in the float network.
      goal: unit of its output.
      path: of the block, for messages.
      branches: quantises the branches.

    Raises:
      ValueError: if the block is of an unknown kind, or a branch cannot reach the common unit.
    """
    if not isinstance(block, Residual | Concat):
        raise ValueError(
            f"layer {path} is a {type(block).__name__}; integer weights are known for Residual and"
            " Concat"
        )
    weight = own.get("weight", np.float32(1))
    found = branches([goal._replace(unit=None)] * len(block.branches))
    ends = [
        _with_weight(end, own.get(f"{name}_weight"), None)[1] for name, (_, end) in found.items()
    ]
    bare = [f"{name}_weight" in own for name in found]
    units = _common_units(block, ends, bare, goal, weight)
    if any(unit is not None for unit in units):
        found = branches([goal._replace(unit=unit) for unit in units])
    result: Params = {name: inner for name, (inner, _) in found.items()}
    for place, (name, (_, end)) in enumerate(found.items()):
        given = own.get(f"{name}_weight")
        factor, ends[place] = _with_weight(end, given, units[place])
        if bare[place] and units[place] is not None:
            _check_currents(f"{path}/{name}", end, given, units[place])
        if given is not None:
            result[f"{name}_weight"] = factor
    if "weight" in own:
        result["weight"] = np.float32(1)  # it is in the unit
    return result, _join(block, ends, weight)


def _with_weight(end: Signal, weight: Any, unit: np.ndarray | None) -> tuple[np.ndarray, Signal]:
    """Whole weight behind a branch without weights at its end, and the signal behind it.

    Args:
      end: of the branch.
      weight: in the float network; None for a branch that ends with weights.
      unit: that the branch has to reach; None for any, which needs no weight.
    """
    if weight is None:
        return np.ones((), np.float32), end
    reached = np.asarray(end.unit * weight)
    if unit is None:
        seen = end.seen and Seen(*(values * weight for values in end.seen))
        return np.ones((), np.float32), end._replace(unit=reached, seen=seen)
    factor = np.round(reached / unit)
    most, back = float(np.abs(factor).max()), factor * unit / end.unit
    seen = end.seen and Seen(end.seen.exact * weight, end.seen.whole * back)
    return factor, end._replace(unit=unit, low=end.low * most, high=end.high * most, seen=seen)


def _check_currents(path: str, end: Signal, weight: Any, unit: Any) -> None:
    """Refuse a branch that sends currents on, where no whole weight keeps them.

    Raises:
      ValueError: if the unit is no whole part of that of the currents, up to 1 %.
    """
    wanted = np.asarray(end.unit * weight / unit)
    if end.weighted and np.any(np.abs(np.round(wanted) / wanted - 1) > 0.01):
        raise ValueError(
            f"branch {path} sends currents on, which no whole weight adds to the others exactly"
            " enough; put neurons before the block"
        )


def _common_units(
    block: Block, signals: list[Signal], bare: list[bool], goal: Goal, weight: np.ndarray
) -> list[np.ndarray | None]:
    """Unit that every branch of a block has to reach; None for a branch that keeps its own."""
    fine = [end.unit if end.weighted else end.unit / np.float32(2 ** (BITS - 1) - 1)
            for end in signals]  # fmt: skip
    varying = [(unit, without) for unit, without, end in zip(fine, bare, signals, strict=True)
               if not end.constant]  # fmt: skip
    own = [unit for unit, without in varying if not without]
    deciding = own or [unit for unit, _ in varying] or fine
    if isinstance(block, Residual):
        unit = goal.unit
        if unit is None:
            unit = reduce(np.maximum, deciding)
            for end, without in zip(signals, bare, strict=True):
                if without and end.weighted and own:  # a whole multiple, so the sum stays exact
                    whole = np.maximum(np.floor(end.unit / unit), 1)
                    unit = np.where(end.unit < unit, unit, end.unit / whole)
        return [unit] * len(signals)
    counts: list[Any] = [end.channels for end in signals]
    if goal.unit is not None:
        inner = goal.unit / weight
        if not np.ndim(inner):
            return [np.asarray(inner)] * len(signals)
        if None not in counts:
            return list(np.split(inner, np.cumsum(counts)[:-1]))
        raise ValueError("a Concat of unknown channels ends in a sum; put neurons between them")
    if goal.shared or None in counts:
        return [np.max([np.max(unit) for unit in deciding])] * len(signals)
    return [None if end.weighted else unit for unit, end in zip(fine, signals, strict=True)]


def _join(block: Block, signals: list[Signal], weight: np.ndarray) -> Signal:
    """Signal behind a block."""
    seen = None
    if all(end.seen for end in signals):
        ends = zip(*(end.seen for end in signals), strict=True)  # type: ignore[misc]
        joined = [block.join(outputs) for outputs in ends]
        seen = Seen(*(values * per_channel(weight, values) for values in joined))
    lows, highs = [end.low for end in signals], [end.high for end in signals]
    counts = [end.channels for end in signals]
    constant = all(end.constant for end in signals)
    if isinstance(block, Residual):
        channels = next((count for count in counts if count is not None), None)
        return Signal(signals[0].unit, sum(lows), sum(highs), channels, True, seen, constant)
    unit: Any = signals[0].unit
    if None not in counts:
        unit = np.concatenate(
            [np.broadcast_to(end.unit, (end.channels,)) for end in signals]  # type: ignore[arg-type]
        )
        unit = unit[0] if np.all(unit == unit[0]) else unit
    channels = None if None in counts else sum(counts)  # type: ignore[arg-type]
    return Signal(np.asarray(unit * weight), max(lows), max(highs), channels, True, seen, constant)
