"""Files that an earlier version wrote are read, and compute what they computed then."""

import jax
import numpy as np
import pytest
from fixtures.earlier_files import NETWORK, NIR_NETWORK, STEPS, draw_variables
from paths import EXPERIMENTS, FIXTURES

from snnjax.app import run_files
from snnjax.io import nir_import
from snnjax.networks.ann import ANN
from snnjax.snn.neurons import DOUBLE_THRESHOLD
from snnjax.snn.readout import ACCUMULATE, LEAKY
from snnjax.snn.simulation import simulate

EARLIER = FIXTURES / "earlier"
TRAINED = sorted(  # networks of layers; those of `transformers` are the user's own functions
    path for path in EXPERIMENTS.glob("*/parameters/*seed0.safetensors")
    if path.parts[-3] != "transformers"
)  # fmt: skip


@pytest.fixture(scope="module")
def expected():
    with np.load(EARLIER / "expected.npz") as stored:
        return dict(stored)


def assert_computes_as_before(expected, name, network, params):
    """Hold spikes of every layer, and currents of the last, against those in `expected`."""
    result = simulate(
        network, params, expected["images"], num_steps=STEPS, neuron=DOUBLE_THRESHOLD,
        readout=ACCUMULATE, record=True,
    )  # fmt: skip
    np.testing.assert_array_equal(result.values, expected[f"{name}/values"])
    paths = {key.removeprefix(f"{name}/") for key in expected if key.startswith(f"{name}/")}
    assert result.recording.keys() == paths - {"values"}
    for path, spikes in result.recording.items():
        assert {-1, 0, 1} >= set(np.unique(spikes)) > {0}
        np.testing.assert_array_equal(spikes, expected[f"{name}/{path}"], err_msg=path)


def test_a_trained_network_keeps_its_logits(expected):
    network, variables, metadata = run_files.load_trained(EARLIER / "ann.safetensors")
    assert network == NETWORK
    assert metadata["dataset"]["name"] == "mnist5k"
    jax.tree.map(np.testing.assert_array_equal, variables, draw_variables(NETWORK))
    logits = ANN(network.layers).apply(variables, expected["images"])
    np.testing.assert_allclose(logits, expected["ann"], rtol=1e-6)


@pytest.mark.parametrize("name", ["snn", "snn_leak"])
def test_a_converted_network_keeps_its_spikes(expected, name):
    network, params, _ = run_files.load_network(EARLIER / f"{name}.safetensors")
    assert network == NETWORK
    assert_computes_as_before(expected, name, network, params)


def test_a_leaky_readout_keeps_its_spikes(expected):
    network, params, metadata = run_files.load_network(EARLIER / "snn.safetensors")
    assert metadata["readout"]["config"]["readout_leak"] == 0.5
    result = simulate(
        network, params, expected["images"], num_steps=STEPS, neuron=DOUBLE_THRESHOLD,
        readout=LEAKY,
    )  # fmt: skip
    assert np.ptp(expected["leaky_readout"][-1]) > 0
    np.testing.assert_allclose(result.values, expected["leaky_readout"], rtol=1e-6, atol=1e-8)


def test_a_nir_file_keeps_its_spikes(expected):
    pytest.importorskip("nir")
    network, params, metadata = nir_import.read(EARLIER / "network.nir")
    assert network == NIR_NETWORK
    assert hash(network) == hash(NIR_NETWORK)
    assert metadata == {"name": "earlier"}
    assert_computes_as_before(expected, "nir", network, params)


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_parameters_of_the_experiments_fit_their_networks(path):
    network, variables, metadata = run_files.load_trained(path)
    channels = 3 if metadata["dataset"]["name"] == "cifar10" else 1
    size = 32 if channels == 3 else 28
    image = np.zeros((1, size, size, channels), np.float32)
    wanted = jax.eval_shape(ANN(network.layers).init, jax.random.key(0), image)
    assert jax.tree.map(np.shape, variables) == jax.tree.map(lambda leaf: leaf.shape, wanted)
