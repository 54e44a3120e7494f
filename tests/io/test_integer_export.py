"""Files of integer networks for hardware: NumPy alone makes the same spikes and values."""

import integer_networks
import numpy as np
import pytest
from examples import dense_network, random_variables

from snnjax.conversion.conversion import convert
from snnjax.conversion.quantisation import quantise
from snnjax.io import integer_export
from snnjax.networks import architecture as arch
from snnjax.snn.neurons import DOUBLE_THRESHOLD
from snnjax.snn.simulation import simulate

STEPS = 3


def small_net2():
    """Net2 with fewer channels: two convolutions, each with a pooling, and two dense layers."""
    active = arch.Activation(0.5, 1.0)
    layers = (
        arch.Conv(3, (5, 5), padding="VALID"), active, arch.AvgPool((2, 2)),
        arch.Conv(6, (3, 3)), active, arch.AvgPool((2, 2)),
        arch.Flatten(), arch.Dense(12), active, arch.Dense(10),
    )  # fmt: skip
    return arch.Network("small-net2", layers)


def small_residual():
    """A block with an identity, one with weights of its own, and borders of the mean pixel."""
    active = arch.Activation(0.25, 1.0)
    layers = (
        arch.Normalise((0.5,), (0.25,)), arch.Conv(4, (3, 3)), active,
        arch.Residual((arch.Conv(4, (3, 3)), active, arch.Conv(4, (3, 3)))), active,
        arch.Residual((arch.Conv(6, (3, 3), (2, 2)),), (arch.Conv(6, (1, 1), (2, 2)),)), active,
        arch.Flatten(), arch.Dense(3),
    )  # fmt: skip
    return arch.Network("small-residual", layers)


@pytest.mark.slow
@pytest.mark.parametrize("network", [small_net2(), small_residual()], ids=["net2", "residual"])
def test_numpy_alone_makes_the_same_spikes_and_values_from_the_file(network, tmp_path):
    shape = (12, 12, 1)
    whole = quantise(network, convert(network, random_variables(network, shape)), 5)
    path = tmp_path / "whole.npz"
    integer_export.write(path, network, whole, shape, neuron="double-threshold")
    file = dict(np.load(path, allow_pickle=False))
    images = np.random.default_rng(0).integers(0, 256, (5, *shape))
    spikes, values = integer_networks.simulate(file, [images] * STEPS)
    found = simulate(
        network, whole, np.float32(images) / np.float32(255), num_steps=STEPS, record=True,
        neuron=DOUBLE_THRESHOLD,
    )  # fmt: skip
    assert found.recording.keys() == spikes.keys()
    for layer, sent in spikes.items():
        assert np.any(sent > 0) and np.any(sent < 0)
        np.testing.assert_array_equal(found.recording[layer], sent, err_msg=layer)
    np.testing.assert_array_equal(found.values, values)


def test_numbers_have_the_types_that_are_documented(tmp_path):
    network = dense_network(alpha=0.0)
    params = convert(network, random_variables(network, (4, 4, 1)), output_scale=4.0)
    whole = quantise(network, params, {"01_dense": 4, "03_dense": 8, "05_dense": 11})
    integer_export.write(tmp_path / "whole.npz", network, whole, (4, 4, 1))
    file = dict(np.load(tmp_path / "whole.npz", allow_pickle=False))
    assert [str(name) for name in file["layers"]] == [
        "00_flatten", "01_dense", "02_activation", "03_dense", "04_activation", "05_dense",
    ]  # fmt: skip
    kinds = {name: array.dtype for name, array in file.items() if array.dtype.kind != "U"}
    assert kinds.pop("logit") == np.float32
    weights = [kinds.pop(f"{name}/weights") for name in ("01_dense", "03_dense", "05_dense")]
    assert weights == [np.int8, np.int8, np.int16]
    assert set(kinds.values()) == {np.dtype(np.int32)}
    assert set(file["02_activation/initial"]) == {1}  # v(0) is half a threshold
    assert set(file["02_activation/negative"]) == {integer_export.NEVER}
    assert file["output_threshold"] >= 1


def test_what_no_file_holds_is_refused_and_nothing_written(tmp_path):
    network = dense_network()
    params = convert(network, random_variables(network, (4, 4, 1)))
    whole, path = quantise(network, params), tmp_path / "whole.npz"
    with pytest.raises(ValueError, match=r"'dense' has float weights, .*; quantise first"):
        integer_export.write(path, network, params, (4, 4, 1))
    with pytest.raises(ValueError, match="neuron is 'offset'; want one that keeps"):
        integer_export.write(path, network, whole, (4, 4, 1), neuron="offset")
    with pytest.raises(ValueError, match=r"images of shape \(5, 4, 1\) do not fit"):
        integer_export.write(path, network, whole, (5, 4, 1))
    for bad in (0.5, 2.0**40):
        dense = {**whole["layers"]["01_dense"], "bias": np.full(8, bad)}
        broken = {**whole, "layers": {**whole["layers"], "01_dense": dense}}
        with pytest.raises(ValueError, match=f"01_dense/bias holds {bad:.17g}; want whole"):
            integer_export.write(path, network, broken, (4, 4, 1))
    assert list(tmp_path.iterdir()) == []


def test_neurons_that_start_below_0_are_refused():
    network = arch.Network("below", (arch.Dense(2), arch.Activation(1.0, 1.0), arch.Dense(2)))
    params = quantise(network, convert(network, random_variables(network, (3,)), initial=-0.5))
    with pytest.raises(ValueError, match=r"initial is -0.5, and the file has potentials from 0"):
        integer_export.to_arrays(network, params, (3,), neuron="double-threshold")
