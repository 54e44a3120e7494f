"""Energy of the memory accesses of a spiking network and of its ANN, by one analytical model.

Source: Lemaire et al. 2022, *An Analytical Estimation of Spiking Neural Networks Energy
Efficiency*, arXiv 2210.13107. Nothing is reused between operations:

| network | event | accesses |
| --- | --- | --- |
| both | product | its weight and its value; a Dense layer reads each value once (eq. 4) |
| SNN | addition for a spike | its weight; the potential is read and written (eqs. 7, 14) |
| SNN | spike | one event is written and read (eqs. 5, 13) |
| SNN | neuron and timestep | its bias; the potential is read and written |
| ANN | neuron | its bias; its activation is written (eqs. 6, 11) |

Choice: the paper updates each potential once for an image (eq. 14), and here each timestep does,
since the bias is added and the threshold compared in each. Addresses are not computed. An event is
the address of a neuron, in a memory of 8 KB; events of the input come from outside. All weights
share a memory, and so do all potentials; the activations of the ANN need that of the largest layer.
An output is a neuron.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from snnjax.analysis.synapses import INPUT, Synapses
from snnjax.analysis.synaptic_operations import Operations
from snnjax.conversion.quantised_weights import count_weights
from snnjax.networks import architecture as arch
from snnjax.snn.engine import neuron_shapes

__all__ = [
    "SRAM",
    "Contents",
    "Widths",
    "access_energy",
    "ann_traffic",
    "measure_contents",
    "spiking_traffic",
]

Params = dict[str, Any]

SRAM = {2**13: 10.0, 2**15: 20.0, 2**20: 100.0}
"""Energy in pJ of an access to 64 bits, by the bytes of the SRAM, in 45 nm (Horowitz 2014)."""

WORD = 64
"""Bits of an access."""


class Widths(NamedTuple):
    """Bits of a weight, of an activation of the ANN, of a pixel, and of a potential or bias."""

    weight: int
    value: int
    pixel: int
    sum: int


class Contents(NamedTuple):
    """Numbers that a network keeps for one image.

    weights: of all layers; neurons: hidden ones and outputs; largest: values of the largest layer
    or image.
    """

    weights: int
    neurons: int
    largest: int


def measure_contents(
    network: arch.Network, params: Params, image_shape: tuple[int, ...], outputs: int
) -> Contents:
    """Count the weights, the neurons and the values of the largest layer.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      image_shape: `(H, W, C)`.
      outputs: K, number of classes.

    Raises:
      ValueError: if images of that shape do not fit the parameters.
    """
    shapes = neuron_shapes(network, params["layers"], image_shape)
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    weights = count_weights(network, params)
    return Contents(weights, sum(sizes) + outputs, max([*sizes, int(np.prod(image_shape))]))


def access_energy(bits: int, memory_bytes: float) -> float:
    """Return the energy in pJ to read or write one number.

    Choice: numbers are packed, so that b bits cost b / 64 of an access to 64 bits. Between the
    sizes in SRAM, and beyond the largest, the energy is linear in the size, as in Lemaire et al.;
    a smaller memory costs as much as the smallest.

    Args:
      bits: of the number.
      memory_bytes: size of the memory.

    Raises:
      Nothing.
    """
    sizes, energies = np.array(list(SRAM)), np.array(list(SRAM.values()))
    beyond = max(memory_bytes - sizes[-1], 0.0) * np.diff(energies)[-1] / np.diff(sizes)[-1]
    return bits / WORD * float(np.interp(memory_bytes, sizes, energies) + beyond)


def spiking_traffic(
    found: Mapping[str, Synapses],
    counts: Mapping[str, Operations],
    contents: Contents,
    widths: Widths,
    *,
    spikes: float,
    steps: float,
) -> float:
    """Return the energy in nJ of the memory accesses of an SNN for one image.

    Args:
      found: synapses by path.
      counts: operations by path.
      contents: of the network.
      widths: of its numbers; `value` is that of an activation that is no spike.
      spikes: of all neurons.
      steps: number of timesteps, or their mean with early exit.

    Raises:
      KeyError: if `found` and `counts` belong to different networks.
    """
    weight = access_energy(widths.weight, contents.weights * widths.weight / 8)
    potential = access_energy(widths.sum, contents.neurons * widths.sum / 8)
    event = access_energy(max(contents.neurons - 1, 1).bit_length(), 0)
    total = 2 * event * spikes + 3 * potential * contents.neurons * steps
    for path, bundle in found.items():
        image = bundle.connection.source == INPUT
        bits = widths.pixel if image else widths.sum
        value = access_energy(bits, contents.largest * bits / 8)
        macs = counts[path].macs
        times = macs / bundle.products if bundle.products else 0.0
        total += (weight + 2 * potential) * counts[path].accumulates
        total += weight * macs + value * _reads(bundle, macs, times)
    return total / 1000


def ann_traffic(
    found: Mapping[str, Synapses], products: Mapping[str, float], contents: Contents, widths: Widths
) -> float:
    """Return the energy in nJ of the memory accesses of an ANN for one image.

    Args:
      found: synapses by path.
      products: number of products by path.
      contents: of the network.
      widths: of its numbers.

    Raises:
      KeyError: if `found` and `products` belong to different networks.
    """
    weight = access_energy(widths.weight, contents.weights * widths.weight / 8)
    bias = access_energy(widths.sum, contents.neurons * widths.sum / 8)
    written = access_energy(widths.value, contents.largest * widths.value / 8)
    total = (bias + written) * contents.neurons
    for path, bundle in found.items():
        image = bundle.connection.source == INPUT
        bits = widths.pixel if image else widths.value
        value = access_energy(bits, contents.largest * bits / 8)
        total += weight * products[path] + value * _reads(bundle, products[path])
    return total / 1000


def _reads(bundle: Synapses, products: float, times: float = 1.0) -> float:
    """Number of reads of values for products that are computed several times."""
    once = isinstance(bundle.connection.layer, arch.Dense) or bundle.adds
    return times * bundle.own.size if once else products
