"""Sizes of an integer network: bits and bytes of its weights, and bits of its sums, by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from snnjax.conversion.quantised_weights import weight_names
from snnjax.networks import architecture as arch
from snnjax.snn.engine import neuron_shapes
from snnjax.snn.whole_numbers import OUTPUT, is_integer, sum_bits

__all__ = ["SizeRow", "Sizes", "measure_sizes", "size_table"]

Params = dict[str, Any]

FACTOR = "Factor"
"""Kind of the whole weights behind a branch without weights of its own."""


class SizeRow(NamedTuple):
    """One layer with weights or neurons, or the output.

    path: of the layer; kind: its class.
    weights: their number, without biases and borders.
    weight_bits: the fewest that hold each weight, sign included; 0 without weights.
    weight_bytes: of all weights, packed without gaps.
    shape: of its neurons for one image, () without neurons.
    sum_bits: that hold every sum at the neurons, sign included; 0 without neurons.
    """

    path: str
    kind: str
    weights: int = 0
    weight_bits: int = 0
    weight_bytes: int = 0
    shape: tuple[int, ...] = ()
    sum_bits: int = 0


class Sizes(NamedTuple):
    """rows: of the layers and the output; the others are of the network.

    weight_bits: of the widest weights, factors of shortcuts aside; sum_bits: of the widest sum.
    """

    rows: list[SizeRow]
    weights: int
    weight_bytes: int
    weight_bits: int
    sum_bits: int


def measure_sizes(
    network: arch.Network, params: Params, image_shape: tuple[int, ...], *, num_steps: int
) -> Sizes:
    """Return the sizes of an integer network that runs for T timesteps.

    Args:
      network: the architecture.
      params: what `quantise` returned.
      image_shape: `(H, W, C)`.
      num_steps: T, which the bits of sums depend on.

    Raises:
      ValueError: if the network is no integer network, or images of that shape do not fit it.
    """
    if not is_integer(params):
        raise ValueError(
            f"network {network.name!r} has float weights; want an integer network: quantise first"
        )
    shapes = neuron_shapes(network, params["layers"], image_shape)
    sums = sum_bits(params, num_steps)
    rows: list[SizeRow] = []
    for path, layer in arch.walk(network.layers):
        kind = type(layer).__name__
        if isinstance(layer, arch.Activation):
            rows.append(SizeRow(path, kind, shape=shapes[path], sum_bits=sums[path]))
        elif isinstance(layer, arch.Weights):
            own = arch.inside(params["layers"], path)
            rows.append(_row(path, kind, [own[name] for name in weight_names(own)]))
        elif isinstance(layer, arch.Block):
            own = arch.inside(params["layers"], path)
            rows += [
                _row(f"{path}/{branch}", FACTOR, [own[f"{branch}_weight"]])
                for branch in layer.branches
                if np.any(np.asarray(own.get(f"{branch}_weight", 1)) != 1)
            ]
    rows.append(SizeRow(OUTPUT, "Readout", sum_bits=sums[OUTPUT]))
    return Sizes(
        rows,
        weights=sum(row.weights for row in rows),
        weight_bytes=sum(row.weight_bytes for row in rows),
        weight_bits=max((row.weight_bits for row in rows if row.kind != FACTOR), default=0),
        sum_bits=max(row.sum_bits for row in rows),
    )


def _row(path: str, kind: str, arrays: list[Any]) -> SizeRow:
    """Row of the weights in these arrays."""
    count = sum(np.size(values) for values in arrays)
    bits = 1 + max(int(np.abs(values).max()).bit_length() for values in arrays)
    return SizeRow(path, kind, count, bits, -(-count * bits // 8))


def size_table(sizes: Sizes, title: str, user_names: Mapping[str, str]) -> Table:
    """Return a table with a line for each row, and one for all weights.

    Args:
      sizes: from `measure_sizes`.
      title: of the table.
      user_names: for layers by path, the names to show in place of the paths.
    """
    table = Table(title=title, title_justify="left")
    for name in ("layer", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("weights", "bits", "bytes", "neurons", "bits of sums"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in sizes.rows:
        numbers = (row.weights, row.weight_bits, row.weight_bytes)
        table.add_row(
            user_names.get(row.path) or row.path, row.kind,
            *(f"{number:,}" if row.weights else "" for number in numbers),
            " x ".join(map(str, row.shape)), str(row.sum_bits or ""),
        )  # fmt: skip
    table.add_row(
        "all", "", f"{sizes.weights:,}", str(sizes.weight_bits), f"{sizes.weight_bytes:,}", "",
        str(sizes.sum_bits),
    )  # fmt: skip
    return table
