"""Another simulator's converter, run once and stored, makes the same spikes."""

import hashlib
from pathlib import Path

import numpy as np

from snnjax import architecture as arch
from snnjax.conversion import convert
from snnjax.neuron import DOUBLE_THRESHOLD
from snnjax.scaling import measure_scales
from snnjax.simulation import simulate

STORED = Path(__file__).parent / "fixtures" / "spikingjelly_counts.npz"
SHA256 = "27452c5744f790119fcfbdaecb36f650f0b5ae912ec6afefa9195f2e768f9072"


def test_spikes_are_those_of_spikingjellys_converter():
    """alpha = 0, reset by subtraction, v(0) = 0, constant input, scales by the maximum."""
    assert hashlib.sha256(STORED.read_bytes()).hexdigest() == SHA256
    stored = np.load(STORED)
    relu = arch.Activation(0.0, np.inf)
    network = arch.Network(
        "peer",
        (
            arch.Conv(4, (3, 3), padding="VALID"), relu, arch.AvgPool((2, 2)),
            arch.Conv(6, (3, 3)), relu, arch.Flatten(), arch.Dense(5),
        ),
    )  # fmt: skip
    params = {
        name: {kind: stored[f"{theirs}_{kind}"] for kind in ("kernel", "bias")}
        for name, theirs in (("00_conv", "conv1"), ("03_conv", "conv2"), ("06_dense", "dense"))
    }
    variables, images = {"params": params}, stored["images"]
    scales = measure_scales(network, variables, stored["calibration"])
    np.testing.assert_allclose(list(scales.values()), stored["scales"], rtol=1e-6)
    steps = len(stored["spikes1"])
    result = simulate(
        network, convert(network, variables, scales=scales, initial=0.0), images,
        num_steps=steps, neuron=DOUBLE_THRESHOLD, record=True,
    )  # fmt: skip
    assert stored["spikes1"].sum() > 1000
    np.testing.assert_array_equal(result.recording["01_activation"], stored["spikes1"])
    np.testing.assert_array_equal(result.recording["04_activation"], stored["spikes2"])
    mean = np.cumsum(stored["logits"], 0) / np.arange(1, steps + 1)[:, None, None]
    np.testing.assert_allclose(result.values, mean, atol=1e-5)
