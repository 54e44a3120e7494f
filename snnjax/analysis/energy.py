"""Energy of the operations of a spiking network and of its ANN; NeuroBench's static metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from snnjax.analysis.synapses import INPUT, Synapses
from snnjax.analysis.synaptic_operations import Operations

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
    """Energy of one operation in pJ, in 45 nm.

    mac: multiply-accumulate in the ANN; image_mac: multiply-accumulate with a pixel;
    ac: accumulate (addition) in the SNN.
    """

    mac: float
    image_mac: float
    ac: float


FLOAT32 = Costs(mac=4.6, image_mac=4.6, ac=0.9)
"""32-bit floats: multiplication 3.7 pJ, addition 0.9 pJ (Horowitz 2014, ISSCC, 45 nm)."""


def activation_bits(num_steps: int) -> int:
    """Return the bits of an activation with as many values as a spike count over T timesteps.

    Source: ceil(log2(T + 1)), Yan et al. 2024, arXiv 2409.08290. The sign bit is not included.

    Raises:
      ValueError: if `num_steps` is below 1.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}; want at least 1 timestep")
    return math.ceil(math.log2(num_steps + 1))


def integer_costs(num_steps: int, weight_bits: int = 8, sum_bits: int = 32) -> Costs:
    """Return the costs of integer arithmetic.

    Pixels have 8 bits, and the ANN's activations `activation_bits`. Both networks add in sums of
    the same bits, because a sum with counts of up to T spikes is the sum of T timesteps.

    Source: an 8-bit multiplication 0.2 pJ, additions of 8 and 32 bits 0.03 and 0.1 pJ (Horowitz
    2014).
    Choice: the cost of a multiplication is proportional to the bits of both factors (3.2 pJ at 32
    bits, where Horowitz has 3.1), and that of an addition is linear in its bits. Memory
    and data movement are not included. With them, Yan et al. find a lower break-even rate than
    `compare` does: at T = 5, fewer than 5.7 % of the neurons may spike in a timestep.

    Args:
      num_steps: T.
      weight_bits: of the weights, sign included.
      sum_bits: of the sums, sign included.

    Raises:
      ValueError: if a number is below 1.
    """
    for name, bits in (("weight_bits", weight_bits), ("sum_bits", sum_bits)):
        if bits < 1:
            raise ValueError(f"{name} is {bits}; want at least 1 bit")
    product, addition = 0.2 * weight_bits / 8, 0.03 + 0.07 * (sum_bits - 8) / 24
    return Costs(
        mac=product * activation_bits(num_steps) / 8 + addition,
        image_mac=product + addition,
        ac=addition,
    )


class Comparison(NamedTuple):
    """Energy of an SNN and of its ANN in nJ per image, with the same costs of an operation.

    snn: SNN in which a graded spike of coefficient c costs |c| accumulates at each target neuron.
    snn_graded_products: SNN in which a spike with |c| > 1 costs one multiply-accumulate instead.
    ann: dense multiply-accumulates, and one addition for each value of a residual branch.
    spike_rate: mean spikes per neuron and timestep, each neuron weighted by its fan-out.
    break_even_rate: the `spike_rate` at which `snn` equals `ann`; 0 where the SNN's
    multiply-accumulates alone cost more than the ANN.
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
    """Return the energy of all operations of an SNN and of its ANN.

    Memory accesses, data movement, biases and resets are not included.

    Args:
      found: synapses by path, from `synapses.find_synapses`.
      counts: operations by path, from `synaptic_operations.count_operations`.
      costs: FLOAT32, or from `integer_costs`.
      num_steps: T of the simulation.

    Raises:
      KeyError: if `found` and `counts` belong to different networks.
    """
    products = ann = senders = 0.0
    for path, bundle in found.items():
        mac = costs.image_mac if bundle.connection.source == INPUT else costs.mac
        products += mac * counts[path].macs
        ann += mac * bundle.dense
        if bundle.adds:
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
    """Return NeuroBench's metrics that need no simulation.

    "footprint": bytes of all arrays in `params`; NeuroBench includes the parameters of neurons,
    as buffers. "parameter_count": number of weights and biases. "connection_sparsity": share of
    the weights of Dense and Conv layers that are 0, not rounded.

    Args:
      params: what `conversion.convert` returned.

    Raises:
      ValueError: if there are no weights.
    """
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    named = [
        (getattr(path[-1], "key", getattr(path[-1], "name", "")), np.asarray(leaf))
        for path, leaf in leaves
    ]
    kernels = [leaf for name, leaf in named if name == "kernel"]
    if not kernels:
        raise ValueError("params holds no kernel; want what convert returns")
    weights = sum(kernel.size for kernel in kernels)
    return {
        "footprint": sum(leaf.nbytes for _, leaf in named),
        "parameter_count": sum(leaf.size for name, leaf in named if name in ("kernel", "bias")),
        "connection_sparsity": sum(int((kernel == 0).sum()) for kernel in kernels) / weights,
    }
