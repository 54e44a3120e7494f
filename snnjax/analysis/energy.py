"""Energy of the operations of a spiking network beside its ANN's; NeuroBench's static metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from snnjax.analysis.synaptic_operations import INPUT, Operations, Synapses

__all__ = [
    "FLOAT32",
    "Comparison",
    "Costs",
    "activation_bits",
    "compare",
    "integer_costs",
    "static_metrics",
]

Params = dict[str, Any]


class Costs(NamedTuple):
    """pJ of an operation in 45 nm: `mac` of a product in the ANN, `image_mac` of one with a
    pixel, `ac` of an addition.
    """

    mac: float
    image_mac: float
    ac: float


FLOAT32 = Costs(mac=4.6, image_mac=4.6, ac=0.9)
"""Floats of 32 bits: product 3.7 pJ, addition 0.9 pJ (Horowitz 2014, ISSCC, 45 nm)."""


def activation_bits(num_steps: int) -> int:
    """Bits of an activation that tells as many values apart as a count of T spikes.

    Source: ceil(log2(T + 1)), Yan et al. 2024, arXiv 2409.08290. The sign is not counted.

    Raises:
      ValueError: if there is no timestep.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}; want at least 1 timestep")
    return math.ceil(math.log2(num_steps + 1))


def integer_costs(num_steps: int) -> Costs:
    """Integers: weights and pixels of 8 bits, sums of 32, `activation_bits` in the ANN.

    Source: a product of 8 bits 0.2 pJ, an addition of 32 bits 0.1 pJ (Horowitz 2014).
    Choice: a product costs in proportion to the bits of the activation. Memory and the movement
    of data are left out; with them Yan et al. want spikes rarer still than the break-even rate
    here, below 5.7 % of the neurons in a step at T = 5.

    Raises:
      ValueError: if there is no timestep.
    """
    return Costs(mac=0.2 * activation_bits(num_steps) / 8 + 0.1, image_mac=0.2 + 0.1, ac=0.1)


class Comparison(NamedTuple):
    """An SNN and its ANN in nJ an image, with the same costs.

    snn: a graded spike of coefficient c costs |c| additions.
    snn_graded_products: a spike with |c| > 1 costs a product at each neuron that it reaches.
    ann: its dense products, and an addition for each value of a residual branch.
    spike_rate: spikes of a neuron in a step, each neuron weighted with its synapses.
    break_even_rate: the spike rate at which `snn` equals `ann`; 0 where products alone cost more.
    """

    snn: float
    snn_graded_products: float
    ann: float
    spike_rate: float
    break_even_rate: float


def compare(
    found: Mapping[str, Synapses],
    counts: Mapping[str, Operations],
    costs: Costs,
    *,
    num_steps: int,
) -> Comparison:
    """Energy of operations alone: no memory, movement of data, biases or resets.

    Args:
      found: from `operations.trace`.
      counts: from `operations.count`.
      costs: FLOAT32, or from `integer_costs`.
      num_steps: T of the simulation.

    Raises:
      KeyError: if the two are of different networks.
    """
    products = ann = senders = 0.0
    for path, bundle in found.items():
        mac = costs.image_mac if bundle.wire.source == INPUT else costs.mac
        products += mac * counts[path].macs
        ann += mac * bundle.dense
        if bundle.wire.layer is None:
            ann += costs.ac * bundle.own.size
        if not counts[path].recomputed_macs:
            senders += num_steps * float(bundle.merged.sum())
    added = sum(row.accumulates for row in counts.values())
    graded = sum(costs.ac * row.units + costs.mac * row.graded for row in counts.values())
    return Comparison(
        snn=(products + costs.ac * added) / 1000,
        snn_graded_products=(products + graded) / 1000,
        ann=ann / 1000,
        spike_rate=added / senders if senders else 0.0,
        break_even_rate=max(ann - products, 0.0) / (costs.ac * senders) if senders else 0.0,
    )


def static_metrics(params: Params) -> dict[str, float]:
    """NeuroBench's metrics of a network at rest.

    "footprint" is in bytes, of every array in the parameters: NeuroBench counts the numbers of
    neurons too, as buffers. "parameter_count" is weights and biases. "connection_sparsity" is the
    share of weights of Dense and Conv that are 0, here not rounded.

    Raises:
      ValueError: if there are no weights.
    """
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    named = [(getattr(path[-1], "key", ""), np.asarray(leaf)) for path, leaf in leaves]
    kernels = [leaf for name, leaf in named if name == "kernel"]
    if not kernels:
        raise ValueError("params holds no kernel; want what convert returns")
    weights = sum(kernel.size for kernel in kernels)
    return {
        "footprint": sum(leaf.nbytes for _, leaf in named),
        "parameter_count": sum(leaf.size for name, leaf in named if name in ("kernel", "bias")),
        "connection_sparsity": sum(int((kernel == 0).sum()) for kernel in kernels) / weights,
    }
