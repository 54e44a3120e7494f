"""Whole weights of a spiking function in words, and what prevents exact sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from snnjax.conversion.spiking.function import SpikingApply, describe
from snnjax.conversion.spiking.program import Step
from snnjax.conversion.spiking.sites import Site, passes_spikes
from snnjax.conversion.spiking.summary import floating_steps
from snnjax.conversion.spiking.weights import ROUNDING, ProductWeights, find_weights, spread

__all__ = ["weight_lines"]

CUTS = {"max", "min", "clamp"}
"""Operations of transfer functions that round nothing."""


def weight_lines(
    function: SpikingApply, params: dict[str, Any], units: Mapping[str, Any]
) -> list[str]:
    """Return lines on the bits of each array of weights, and on what is computed in floats.

    Args:
      function: with neurons at its sites.
      params: "params", the user's.
      units: by name of weights.

    Raises:
      ValueError: if the function cannot be spiking with these parameters.
    """
    program, found, _ = describe(function.apply, params["params"], function.image_shape)
    sites = function.with_neurons(found)
    lines = ["weights s K with whole K, by product:"]
    for of in find_weights(function, params["params"]):
        lines.append(f"  {of.name}: {_bits(of, units.get(of.name))}")
    curved = {of.name: steps for of in sites if (steps := _curved(of))}
    floats: dict[str, list[Step]] = {}
    for step in floating_steps(program, sites):
        floats.setdefault(step.module or function.name, []).append(step)
    lines += ["computed in floats at every timestep, so that no sum behind it is exact:"]
    lines += [f"  {name}: {_operations(steps)}" for name, steps in floats.items()]
    lines += [f"  neurons of {name}: {_operations(steps)}" for name, steps in curved.items()]
    return [
        *lines,
        "  every site: the mean of its spikes, theta S / E, and every product of it with s K",
        "exact sums need a network of layers: snnjax.trace, convert, quantise",
    ]


def _bits(of: ProductWeights, unit: Any) -> str:
    """Bits that hold the weights as whole multiples of a unit, in words."""
    if unit is None:
        return "floats"
    whole = of.values / spread(np.asarray(unit), of.values.shape, of.axes)
    if not np.all(np.abs(whole - np.round(whole)) <= ROUNDING):
        return "floats, changed since quantise rounded them"
    largest = int(np.abs(np.round(whole)).max())
    return f"{max(largest.bit_length() + 1, 2)} bits, {whole.size:,} weights of {of.arrays[0]}"


def _curved(site: Site) -> list[Step]:
    """Operations of a site's transfer function that round."""
    return [step for step in site.transfer if not passes_spikes(step) and step.kind not in CUTS]


def _operations(steps: Iterable[Step]) -> str:
    """Names of operations with the user's lines, each once."""
    lines: dict[str, dict[str, None]] = {}
    for step in steps:
        lines.setdefault(step.operation.line, {})[step.kind] = None
    return "; ".join(f"{', '.join(kinds)} at {line}" for line, kinds in lines.items())
