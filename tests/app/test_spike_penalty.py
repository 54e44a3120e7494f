"""Training with a spike penalty: fewer synaptic operations, its record, and what is refused."""

import json
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import random_variables, save_columns

from snnjax.app.configurations import TrainConfig
from snnjax.app.configurations.training import ImportedConfig
from snnjax.app.evaluation import evaluate_operations
from snnjax.app.stages.trained_function import make_trained_function
from snnjax.app.stages.training import default_folder, train
from snnjax.conversion.conversion import convert
from snnjax.conversion.rounded_weights import round_weights
from snnjax.io import checkpoint, datasets
from snnjax.networks import architecture as arch
from snnjax.networks import serialisation
from snnjax.networks.ann import ANN
from snnjax.snn.neurons import NEURONS
from snnjax.training import fitting, resuming

SHAPE = (4, 4, 1)
ACTIVE = arch.Activation(0.25, 1.0, "layer")
NETWORK = arch.Network(
    "small",
    (
        arch.Conv(6, (3, 3), use_bias=False),
        arch.BatchNorm(),
        ACTIVE,
        arch.Residual((arch.Conv(6, (3, 3)), arch.BatchNorm(), ACTIVE, arch.Conv(6, (3, 3)))),
        ACTIVE,
        arch.AvgPool((2, 2)),
        arch.Flatten(),
        arch.Dense(12),
        ACTIVE,
        arch.Dense(3),
    ),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Options of a training on a user's own images, with all that a penalty meets."""
    path = tmp_path_factory.mktemp("data") / "columns.npz"
    save_columns(path, SHAPE)
    return ImportedConfig(
        dataset=str(path), blueprint=serialisation.write(NETWORK), epochs=4, batch_size=20,
        max_shift=0, levels=2, mix_levels_to=4, smooth_epochs=1, learning_rate=0.02, average=0.5,
        weight_bits=4, spike_penalty=5.0, keep="last",
    )  # fmt: skip


@pytest.fixture(scope="module")
def penalised(config, tmp_path_factory):
    """Folder of the training with the penalty."""
    folder = tmp_path_factory.mktemp("penalised")
    train(config, folder, progress=False)
    return folder


def variables_in(folder):
    return checkpoint.load(folder / "ann.safetensors", kind="ann").tree


def record_in(folder):
    return json.loads((folder / "train.json").read_text())


def operations(config, variables):
    """Synaptic operations of the converted network up to T = 4."""
    params = jax.jit(partial(convert, NETWORK))(variables)
    test = datasets.load(config.dataset).test
    return evaluate_operations(
        NETWORK, params, test, progress=False, num_steps=4, neuron=NEURONS["exact-charge"]
    )["synaptic_operations"][-1]


def test_a_penalty_lowers_the_operations_of_the_converted_network(config, penalised, tmp_path):
    free = tmp_path / "free"
    train(replace(config, spike_penalty=0.0), free, progress=False)
    few, many = (operations(config, variables_in(folder)) for folder in (penalised, free))
    assert few < 0.7 * many
    used = record_in(penalised)["synapses_in_use"]
    assert set(used) == {"trained", "smooth"} and 0 < used["trained"] < 0.5
    assert "synapses_in_use" not in record_in(free)
    assert record_in(penalised)["test_accuracy"]["trained"] > 0.5


def test_weights_are_rounded_and_statistics_updated(penalised):
    variables = variables_in(penalised)
    again = jax.jit(partial(round_weights, NETWORK, bits=4))(variables)
    for path in ("00_conv", "07_dense", "09_dense"):
        kernel = variables["params"][path]["kernel"]
        np.testing.assert_allclose(again["params"][path]["kernel"], kernel, atol=1e-6)
    assert set(variables) == {"params", "batch_stats"}
    assert all(np.all(of != 0) for of in jax.tree.leaves(variables["batch_stats"]))


def test_a_run_that_was_killed_ends_with_the_same_parameters(
    config, penalised, tmp_path, monkeypatch
):
    save = resuming.save_progress

    def save_then_stop(path, config, progress):
        save(path, config, progress)
        if len(progress.history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "PAUSE", 0.0)
    monkeypatch.setattr(resuming, "save_progress", save_then_stop)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"is of another run \(spike_penalty 5.0 not 1.0\)"):
        train(replace(config, spike_penalty=1.0), tmp_path, progress=False)
    train(config, tmp_path, progress=False)
    jax.tree.map(np.testing.assert_array_equal, variables_in(tmp_path), variables_in(penalised))
    assert record_in(tmp_path)["synapses_in_use"] == record_in(penalised)["synapses_in_use"]


def test_without_the_option_the_module_itself_is_trained():
    module, variables = ANN(NETWORK.layers), random_variables(NETWORK, SHAPE)
    function = make_trained_function(TrainConfig(), NETWORK, module.apply, variables, SHAPE)
    assert function.apply == module.apply
    assert function.rounded(variables) is variables
    assert not function.shares


def test_a_weight_of_0_is_a_synapse_too():
    config, apply = TrainConfig(spike_penalty=1.0), ANN(NETWORK.layers).apply
    some = random_variables(NETWORK, SHAPE)
    zero = jax.tree.map(jnp.zeros_like, some)
    shares, other = (
        make_trained_function(config, NETWORK, apply, variables, SHAPE).shares
        for variables in (some, zero)
    )
    jax.tree.map(np.testing.assert_array_equal, shares, other)
    assert sum(share.sum() for share in shares.values()) == pytest.approx(1)


def test_folders_of_runs_without_a_penalty_keep_their_names():
    assert default_folder(TrainConfig()).name == "mnist5k-net2-217f6f21"
    assert default_folder(TrainConfig(spike_penalty=1.0)) != default_folder(TrainConfig())


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "step_relu", "rate_norm"])
def test_activations_without_a_theta_are_refused(activation):
    with pytest.raises(ValueError, match=f"spike_penalty is 1.0, but {activation} has no theta"):
        TrainConfig(activation=activation, levels=0, spike_penalty=1.0)
