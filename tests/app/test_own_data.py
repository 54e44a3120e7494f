"""A user's own images go through the whole command line, by a path in place of a name."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, random_variables
from PIL import Image

from snnjax.app import cli, pipeline
from snnjax.app.configurations import TrainConfig
from snnjax.app.run_files import load_data
from snnjax.io import checkpoint
from snnjax.networks import known_networks
from snnjax.networks.ann import ANN
from snnjax.training import fitting

SHAPE = (4, 6, 1)
SMALL = ["--network", "net1", "--epochs", "4", "--batch-size", "16", "--max-shift", "0"]


def stripes(count):
    """Images of three classes, each with its own third white."""
    labels = np.arange(count) % 3
    images = np.zeros((count, *SHAPE), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 2] = 255
    return images, labels


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    (x_train, y_train), (x_test, y_test) = stripes(60), stripes(12)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="module")
def trained(mine):
    """Folder of a training on the images, from a relative path."""
    folder = mine.parent / "trained"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(mine.parent)
        assert cli.main(["train", "--dataset", "mine.npz", *SMALL, "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(path):
    return json.loads(path.read_text())


def refused(capsys, *words):
    """Run a command that must fail in one line, and return the line."""
    assert cli.main(list(map(str, words))) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.slow
def test_own_data_goes_from_training_to_accuracy(trained, mine, elsewhere, capsys):
    """The later commands find the data by themselves, and the record names them."""
    ann, snn = (str(trained / f"{name}.safetensors") for name in ("ann", "snn"))
    measured = ["--scales", "percentile", "--calibration-images", "20"]
    assert cli.main(["convert", ann, *measured]) == 0
    assert cli.main(["simulate", snn, "--num-steps", "2"]) == 0
    assert "net1 on mine.npz" in capsys.readouterr().out
    record = read(trained / "simulation.json")
    assert record["snn"][-1] == record["ann"] == 1.0
    sha256 = pipeline.fit_to_data(TrainConfig(dataset=str(mine), network="net1")).data_sha256
    assert record["dataset"] == {
        "name": "mine.npz",
        "version": sha256[:12],
        "exact_pixels": True,
        "sha256": sha256,
        "images": {"train": 60, "test": 12},
        "class_names": ["0", "1", "2"],
        "image_shape": list(SHAPE),
    }
    assert read(trained / "train.json")["images"] == {"train": 54, "validation": 6, "test": 12}


def test_own_data_that_moved_or_changed_is_noticed(trained, mine, elsewhere, capsys):
    metadata = checkpoint.load_metadata(trained / "ann.safetensors", kind="ann")
    moved, other = Path("moved.npz").absolute(), Path("other.npz").absolute()
    images, labels = stripes(60)
    np.savez(other, x_train=255 - images, y_train=labels, x_test=images, y_test=labels)
    here = {**metadata, "config": {**metadata["config"], "dataset": str(moved)}}
    with pytest.raises(FileNotFoundError, match="on which the network was trained; give --dataset"):
        load_data(here)
    assert load_data(here, str(mine)).sha256 == metadata["config"]["data_sha256"]
    other.rename(moved)
    with pytest.raises(ValueError, match=r"moved.npz has changed since the network was trained"):
        load_data(here)
    ann = trained / "ann.safetensors"
    options = ["--scales", "largest", "--dataset", "mnist5k"]
    assert "10 classes, and the network was trained on 3" in refused(
        capsys, "convert", ann, *options
    )
    assert "not measured on images; leave it out" in refused(
        capsys, "convert", ann, "--dataset", mine
    )
    message = refused(capsys, "train", "--dataset", moved, *SMALL, "--output", trained)
    assert "was trained otherwise" in message


def test_own_data_is_checked_before_anything_is_written(mine, elsewhere, monkeypatch, capsys):
    monkeypatch.setattr(fitting, "fit", None)
    np.savez("bad.npz", x_train=stripes(12)[0])
    message = refused(capsys, "run", "--dataset", "bad.npz")
    assert "bad.npz holds x_train without labels" in message
    Path("bad.npz").unlink()
    for command in (["train"], ["run", "--readout", "stdp"]):
        assert "no data at nothing.npz" in refused(capsys, *command, "--dataset", "nothing.npz")
    for network, least in (("net2", "16 x 16"), ("vgg16_quarter", "32 x 32")):
        message = refused(capsys, "run", "--dataset", mine, "--network", network)
        assert f"images have 4 x 6 pixels, and network {network} pools" in message
        assert f"want at least {least}, or another network, such as net1" in message
    assert "pools them to nothing" in refused(capsys, "train", "--network", "vgg16")
    assert "Unknown option" in refused(capsys, "train", "--classes", "3")
    assert list(Path().iterdir()) == []


def test_own_data_decides_the_folder_of_a_run(mine, tmp_path):
    config = TrainConfig(dataset=str(mine), network="net1")
    fitted = pipeline.fit_to_data(config)
    assert (fitted.image_shape, fitted.classes) == (SHAPE, 3)
    assert pipeline.fit_to_data(fitted) == fitted
    folder = pipeline.default_folder(fitted)
    assert folder.name.startswith("mine-net1-")
    changed = replace(fitted, data_sha256="0" * 64)
    assert pipeline.default_folder(changed) != folder
    known = pipeline.fit_to_data(TrainConfig())
    assert known == TrainConfig()
    assert pipeline.default_folder(known).name == "mnist5k-net2-217f6f21"


@pytest.mark.parametrize("name", known_networks.NETWORKS)
def test_own_data_known_networks_are_built_for_shapes_and_classes(name):
    assert known_networks.build(name, (32, 32, 3), 10) == known_networks.find(name)
    for shape, classes in (((40, 56, 1), 7), ((33, 32, 4), 2)):
        network = known_networks.build(name, shape, classes)
        images = jnp.zeros((1, *shape))
        logits = jax.eval_shape(
            lambda x, network=network: ANN(network.layers).init_with_output(jax.random.key(0), x),
            images,
        )[0]
        assert logits.shape == (1, classes)


def test_own_data_takes_an_imported_network(mine, tmp_path):
    network = dense_network()
    variables = random_variables(network, SHAPE)
    path = pipeline.import_network(network, variables, tmp_path, dataset=str(mine))
    metadata = checkpoint.load_metadata(path, kind="ann")
    assert metadata["dataset"]["name"] == "mine.npz"
    assert load_data(metadata).classes == 3
    assert pipeline.load_trained(path)[0].layers == network.layers


@pytest.mark.slow
def test_own_data_goes_through_every_other_command(trained, mine, elsewhere, capsys):
    ann = trained / "ann.safetensors"
    short = ["--num-steps", "2"]
    few = [*short, "--images", "8", "--output", "."]
    for words in (
        ["convert", ann, "--output", "."],
        ["report", ann, *few, "--scales", "largest", "--calibration-images", "20"],
        ["energy", "snn.safetensors", *few],
        ["simulate", "snn.safetensors", *short, "--exit-tolerance", "0.1", "--dataset", mine],
        ["export", "snn.safetensors", *short],
        ["nir", "export", "snn.safetensors", "snn.nir", "--coupled"],
        ["learn", "snn.safetensors", "--readout-steps", "3", "--dataset", mine],
    ):
        assert cli.main(list(map(str, words))) == 0, words
    assert read(Path("report.json"))["dataset"]["name"] == "mine.npz"
    assert read(Path("energy.json"))["dataset"]["images"] == {"train": 60, "test": 12}


@pytest.mark.slow
def test_own_data_in_a_folder_is_trained_on_and_named(elsewhere, capsys):
    for part, count in (("train", 48), ("test", 12)):
        for place, (image, label) in enumerate(zip(*stripes(count), strict=True)):
            folder = Path("pets", part, ("cat", "dog", "owl")[label])
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(folder / f"{place}.png")
    assert cli.main(["run", "--dataset", "pets", *SMALL, "--num-steps", "2"]) == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("pets-net1-")
    record = read(folder / "simulation.json")
    assert record["dataset"]["class_names"] == ["cat", "dog", "owl"]
    assert record["snn"][-1] == 1.0
