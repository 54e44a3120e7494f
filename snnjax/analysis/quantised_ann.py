"""Accuracy, products and energy of the ANN of a spiking network, quantised to several levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.analysis.energy import activation_bits, integer_costs
from snnjax.analysis.memory_traffic import Contents, Widths, ann_traffic
from snnjax.analysis.synapses import INPUT, Connection, Synapses
from snnjax.networks.architecture import Network, activations
from snnjax.runtime.images import check_dataset_images, unit_images
from snnjax.snn.answers import classify
from snnjax.snn.rates import firing_rates

__all__ = [
    "LEVELS",
    "PIXEL_BITS",
    "MeasuredANN",
    "levels_to_try",
    "measure_anns",
    "quantised_energy",
]

Params = dict[str, Any]

LEVELS = (1, 2, 3, 4, 6, 8, 15, 255)
"""Numbers of levels to try: activations of 1 to 4 bits, and of 8."""

PIXEL_BITS = 8
"""Bits of a pixel in integer arithmetic."""


class MeasuredANN(NamedTuple):
    """An ANN on some images.

    levels: of its activations; None for smooth ones.
    accuracy: share of correct answers.
    products: by path of the weights, products of an image with activations other than 0.
    """

    levels: int | None
    accuracy: float
    products: dict[str, float]


def levels_to_try(network: Network, trained_levels: int) -> tuple[int, ...]:
    """Return the numbers of levels of the quantised ANNs to compare with, in increasing order.

    They are LEVELS, and the levels of the training. Of a network whose activations are staircases
    of their own, only the ANN with activations of 8 bits is compared.

    Args:
      network: the architecture.
      trained_levels: levels by which training quantised the activations; 0 for smooth ones.
    """
    if any(spec.step for spec in activations(network).values()):
        return LEVELS[-1:]
    return tuple(sorted({*LEVELS, trained_levels} - {0}))


def measure_anns(
    network: Network,
    params: Params,
    found: Mapping[str, Synapses],
    images: ArrayLike,
    labels: ArrayLike,
    *,
    levels: Sequence[int | None],
    batch_size: int,
    skip_pixels: bool = False,
) -> list[MeasuredANN]:
    """Measure the ANN behind converted parameters, with its activations quantised to levels.

    Nothing is trained again: the weights are those of the spiking network.
    Choice: quantised activations without a bound end at the activation that a firing rate of 1
    stands for.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      found: synapses by path, from `synapses.find_synapses`.
      images: bytes or floats `[N, H, W, C]`.
      labels: `[N]`.
      levels: numbers of levels; None for smooth activations.
      batch_size: images at a time.
      skip_pixels: leave out products with pixels of 0, as a spiking network does whose input is
        spikes; one with constant input computes them.

    Raises:
      ValueError: if there are no images, or they do not fit the parameters.
    """
    whole = (None,) if skip_pixels else (None, INPUT)
    connections = tuple(
        (path, bundle.connection)
        for path, bundle in found.items()
        if bundle.connection.source not in whole and bundle.connection.layer is not None
    )
    fan_outs = {path: np.asarray(bundle.own, np.int32) for path, bundle in found.items()}
    shown, labels, measured = check_dataset_images(images), np.asarray(labels), []
    bounded = jax.tree_util.tree_map_with_path(_with_bound, params)
    for count in levels:
        of = params if count is None else bounded
        right, sums = 0, dict.fromkeys(found, 0)
        for first in range(0, len(shown), batch_size):
            batch = slice(first, first + batch_size)
            answers, products = jax.device_get(
                _run(network, of, fan_outs, unit_images(shown[batch]), count, connections)
            )
            right += int((answers == labels[batch]).sum())
            for path, each in products.items():
                sums[path] += int(each.sum(dtype=np.int64))
        means = {
            path: sums[path] / len(shown) if path in products else float(bundle.dense)
            for path, bundle in found.items()
        }
        measured.append(MeasuredANN(count, right / len(shown), means))
    return measured


def _with_bound(path: Any, leaf: Any) -> Any:
    """Return 1 in place of an infinite bound of activations; other parameters are kept."""
    if getattr(path[-1], "key", "") != "bound":
        return leaf
    return np.where(np.isinf(leaf), np.float32(1), leaf)


@partial(jax.jit, static_argnames=("network", "connections"))
def _run(
    network: Network,
    params: Params,
    fan_outs: dict[str, jax.Array],
    images: jax.Array,
    levels: Any,
    connections: tuple[tuple[str, Connection], ...],
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Answers `[B]`, and products with activations other than 0 by path, each `[B]`."""
    rates, logits = firing_rates(network, params, images, levels=levels)
    products = {}
    for path, connection in connections:
        x = images if connection.source == INPUT else rates[str(connection.source)]
        for passed in connection.between:
            x = passed.linear({}, x)
        axes = tuple(range(1, x.ndim))
        products[path] = jnp.sum((x != 0) * fan_outs[path], axes, jnp.int32)
    return classify(logits), products


def quantised_energy(
    found: Mapping[str, Synapses],
    products: Mapping[str, float],
    contents: Contents,
    *,
    levels: int,
    weight_bits: int,
    sum_bits: int,
) -> tuple[float, float]:
    """Return the energy of an ANN in integers in nJ per image: of operations, and with memory.

    The mean of a pooling of k values of L levels has k L levels, and its products as many bits.
    The additions of a pooling are not counted.
    Choice: activations of one level are 0 and ±1, so that their products are additions.

    Args:
      found: synapses by path.
      products: number of products by path.
      contents: of the network.
      levels: L of the activations.
      weight_bits: of the weights, sign included.
      sum_bits: of the sums, sign included.

    Raises:
      ValueError: if a number is below 1.
    """
    total = 0.0
    for path, bundle in found.items():
        pooled = round(bundle.merged.sum() / bundle.own.sum()) if bundle.own.any() else 1
        costs = integer_costs(levels * max(pooled, 1), weight_bits, sum_bits)
        mac = costs.ac if levels * pooled == 1 else costs.mac
        total += products[path] * (costs.image_mac if bundle.connection.source == INPUT else mac)
        total += costs.ac * bundle.own.size * bundle.adds
    widths = Widths(weight_bits, activation_bits(levels), PIXEL_BITS, sum_bits)
    return total / 1000, total / 1000 + ann_traffic(found, products, contents, widths)
