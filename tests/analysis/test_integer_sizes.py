"""Sizes of integer networks by hand."""

import io

import numpy as np
import pytest
from rich.console import Console

from snnjax.analysis.integer_sizes import FACTOR, measure_sizes, size_table
from snnjax.networks import architecture as arch


def by_hand():
    """Weights of 4 and 3 bits, a shortcut of factor 9, and thresholds that are odd."""
    active = arch.Activation(1.0, 1.0)
    block = arch.Residual((arch.Dense(3), active, arch.Dense(3)))
    network = arch.Network("hand", (arch.Flatten(), arch.Dense(3), active, block, active,
                                    arch.Dense(2)))  # fmt: skip

    def weights(largest, *shape):
        return {"kernel": np.full(shape, largest, np.float32), "bias": np.zeros(shape[-1])}

    def neurons(initial, magnitude):
        return {"positive": np.float32(5), "negative": np.float32(5), "leak": None,
                "initial": np.float32(initial), "shift": np.float32(0), "bound": np.float32(1),
                "magnitude": np.float32(magnitude)}  # fmt: skip

    layers = {
        "01_dense": weights(-7, 4, 3), "02_activation": neurons(0.5, 100),
        "03_residual": {
            "body": {"00_dense": weights(3, 3, 3), "01_activation": neurons(0.0, 30),
                     "02_dense": weights(1, 3, 3)},
            "shortcut_weight": np.float32(9),
        },
        "04_activation": neurons(1.0, 12), "05_dense": weights(2, 3, 2),
    }  # fmt: skip
    whole = {"pixel": 255.0, "logit": 0.1, "magnitude": 6.0}
    return network, {"gain": 1.0, "layers": layers, "output_leak": 1.0, "integer": whole}


def test_bits_and_bytes_by_hand():
    """At T = 4 sums reach 402.5, counted in halves, then 120, 53 and 24."""
    network, params = by_hand()
    sizes = measure_sizes(network, params, (2, 2, 1), num_steps=4)
    weights = [
        (row.path, row.weights, row.weight_bits, row.weight_bytes)
        for row in sizes.rows if row.weights
    ]  # fmt: skip
    assert weights == [
        ("01_dense", 12, 4, 6), ("03_residual/shortcut", 1, 5, 1),
        ("03_residual/body/00_dense", 9, 3, 4), ("03_residual/body/02_dense", 9, 2, 3),
        ("05_dense", 6, 3, 3),
    ]  # fmt: skip
    sums = {row.path: row.sum_bits for row in sizes.rows if row.sum_bits}
    assert sums == {
        "02_activation": 11, "03_residual/body/01_activation": 8, "04_activation": 7,
        "the output": 6,
    }  # fmt: skip
    assert sizes[1:] == (37, 17, 4, 11)  # the factor of the shortcut is no weight of 5 bits
    text = io.StringIO()
    Console(file=text, width=120).print(size_table(sizes, "sizes", {"01_dense": "first"}))
    rows = [line.replace("│", " ").split() for line in text.getvalue().splitlines()]
    assert ["first", "Dense", "12", "4", "6"] in rows
    assert ["03_residual/shortcut", FACTOR, "1", "5", "1"] in rows
    assert ["all", "37", "4", "17", "11"] in rows


def test_a_network_of_floats_has_no_such_sizes():
    network, params = by_hand()
    del params["integer"]
    with pytest.raises(ValueError, match="'hand' has float weights; want an integer network"):
        measure_sizes(network, params, (2, 2, 1), num_steps=4)
