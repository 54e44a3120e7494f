"""A spiking function in words: its sites, and what is computed in floats."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from snnjax.conversion.spiking.function import SpikingApply, describe
from snnjax.conversion.spiking.operations import LAYOUT, is_product
from snnjax.conversion.spiking.products import count_products
from snnjax.conversion.spiking.program import RecordedFunction, Step
from snnjax.conversion.spiking.sites import Site, passes_spikes

__all__ = ["ann_floating_steps", "floating_steps", "floats_of", "summarise"]

SUMS = {"add", "add_any", "sub"}
"""Sums of two currents: no operation of their own in a spiking network."""

TRANSFER_NAMES = {
    ("max",): "ReLU", (): "identity", ("logistic", "mul"): "SiLU", ("clamp",): "clip",
    ("max", "min"): "clip", ("min", "max"): "clip", ("tanh",): "tanh", ("logistic",): "sigmoid",
}  # fmt: skip
"""Common names of transfer functions by their operations, shifts and scales apart."""


def floating_steps(program: RecordedFunction, sites: tuple[Site, ...]) -> tuple[Step, ...]:
    """Return the operations that are computed in floats at every timestep.

    These depend on spikes, and are no products of spikes, no layout, no sums of two currents, no
    scale that a product's weights could hold, and not part of a neuron's transfer function. A
    product that reads something else than spikes, such as a site without neurons, is one of them.

    Args:
      program: of the function.
      sites: those with neurons.
    """
    return _floating_from({site.value.number for site in sites}, program, sites)


def ann_floating_steps(program: RecordedFunction, sites: tuple[Site, ...]) -> tuple[Step, ...]:
    """Return the operations of the ANN on floats: as `floating_steps`, but fed by the input too.

    Args:
      program: of the function.
      sites: all of its sites.
    """
    return _floating_from({0, *(site.value.number for site in sites)}, program, sites)


def _floating_from(
    sources: set[int], program: RecordedFunction, sites: tuple[Site, ...]
) -> tuple[Step, ...]:
    """Return the operations on floats that depend on sources, which count as spikes."""
    local = {step.outputs[0].number for site in sites for step in site.transfer}
    spikes, fed, currents = set(sources), set(sources), set[int]()
    found = []
    for step in program.steps:
        reads = {value.number for value in step.reads} & fed
        made = {value.number for value in step.outputs}
        if not reads:
            continue
        fed |= made
        if reads <= spikes and passes_spikes(step):
            spikes |= made
        elif is_product(step):
            currents |= made
            if not reads <= spikes:
                found.append(step)
        elif reads <= currents | spikes and _keeps_currents(step):
            currents |= made
        elif step.kind not in LAYOUT | SUMS and made.isdisjoint(local):
            found.append(step)
    return tuple(found)


def _keeps_currents(step: Step) -> bool:
    """Return True for layout, sums and scales by known numbers."""
    scales = step.kind in {"mul", "div", "neg"} and passes_spikes(step)
    return scales or step.kind in LAYOUT | SUMS


def floats_of(steps: Iterable[Step], batch: int) -> dict[str, float]:
    """Return the number of operations on floats per image, by module.

    A product counts its multiply-accumulates; any other operation counts as many times as the
    largest of its operands and outputs has entries.

    Args:
      steps: from `floating_steps` or `ann_floating_steps`.
      batch: number of images of the program.
    """
    counts: dict[str, float] = {}
    for step in steps:
        entries = max(math.prod(x.shape) for x in (*step.reads, *step.outputs))
        size = count_products(step) if is_product(step) else entries
        name = step.module or step.kind
        counts[name] = counts.get(name, 0.0) + size / batch
    return counts


def summarise(function: SpikingApply, params: dict[str, Any]) -> str:
    """Return a table of the sites and a list of the modules that compute in floats.

    Args:
      function: with neurons at its sites.
      params: "params", the user's; "thetas" by site.

    Raises:
      ValueError: if the parameters are not those of the function.
    """
    program, found, _ = describe(function.apply, params["params"], function.image_shape)
    sites = function.with_neurons(found)
    rows = [("site", "neurons", "theta", "spikes", "transfer function", "read by")]
    for site, signed in zip(sites, function.signed, strict=True):
        neurons = math.prod(site.value.shape) // 2
        ends = {f"{of(params['thetas'][site.name]):.4g}": None for of in (np.min, np.max)}
        theta = " to ".join(ends)
        transfer = _transfer_name(site)
        rows.append(
            (site.name, f"{neurons:,}", theta, "+ -" if signed else "+", transfer,
             ", ".join(site.readers))
        )  # fmt: skip
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    counts = floats_of(floating_steps(program, sites), batch=2)
    floats = [f"  {module}: {count:,.0f}" for module, count in counts.items()] or ["  none"]
    head = (
        f"{function.name}: {len(sites)} sites, {params['levels']} levels, input for"
        f" {function.input_steps} timesteps"
    )
    left = ", ".join(name for name in function.found if name not in function.sites)
    return "\n".join(
        [head, *(line.rstrip() for line in lines), *([f"without neurons: {left}"] if left else []),
         "operations on floats per image and timestep, by module:", *floats]
    )  # fmt: skip


def _transfer_name(site: Site) -> str:
    kinds = tuple(step.kind for step in site.transfer if not passes_spikes(step))
    return TRANSFER_NAMES.get(kinds, "curved")
