"""A method that only this test knows: one row makes it an option of every stage."""

import json

import numpy as np
import pytest

from snnjax.app import cli
from snnjax.app.configurations import ConvertConfig
from snnjax.conversion.methods import METHODS, Method
from snnjax.io import checkpoint, datasets

NEW = Method(
    "tested", "this test", "th_relu", "signed-memory",
    {"scales": "percentile", "initial_potential": 0.25, "calibration_images": 40},
    {"levels": 0, "theta": 2.0}, encoding="deterministic",
)  # fmt: skip


def split(count, seed):
    """Images whose class is the quarter that is bright."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 4, count).astype(np.int32)
    images = draw.integers(0, 60, (count, 28, 28, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[7 * label : 7 * label + 7] += 180
    return datasets.Split(images, labels)


@pytest.fixture(autouse=True)
def _tiny_data(tmp_path, monkeypatch):
    data = datasets.Dataset("mnist5k", "tiny", True, 10, train=split(80, 0), test=split(24, 1))
    monkeypatch.setattr(datasets, "load", lambda name: data)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _new_method(monkeypatch):
    monkeypatch.setitem(METHODS, NEW.name, NEW)


QUICK = ["--epochs", "1", "--batch-size", "24", "--num-steps", "3"]


@pytest.mark.slow
@pytest.mark.usefixtures("_new_method")
def test_it_trains_converts_and_simulates(tmp_path, capsys):
    assert cli.main(["run", "--method", NEW.name, *QUICK, "--output", str(tmp_path)]) == 0
    assert "signed-memory, deterministic input" in capsys.readouterr().out
    record = json.loads((tmp_path / NEW.name / "simulation.json").read_text())
    assert (record["config"]["neuron"], record["config"]["encoding"]) == (
        "signed-memory",
        "deterministic",
    )
    for stage, wanted in (("conversion", NEW.convert), ("training", NEW.train)):
        assert wanted.items() <= record[stage].items()
    assert record["training"]["activation"] == "th_relu"
    assert len(record["snn"]) == 3
    params, metadata = checkpoint.load(tmp_path / NEW.name / "snn.safetensors", kind="snn")
    assert metadata["config"]["method"] == NEW.name
    assert float(np.max(params["layers"]["01_activation"]["initial"])) == 0.25

    ann = str(tmp_path / "ann.safetensors")
    assert cli.main(["convert", ann, "--method", "calibration"]) == 2
    assert f"methods that fit it: th_relu, qcfs, srp, cos, {NEW.name}" in capsys.readouterr().err
    assert cli.main(["convert", ann, "--method", NEW.name, "--scales", "unit"]) == 2
    assert "--scales is unit, but method tested sets percentile" in capsys.readouterr().err


@pytest.mark.usefixtures("_new_method")
def test_help_lists_it(capsys):
    assert cli.main(["run", "--help"]) == 0
    assert NEW.name in capsys.readouterr().out


def test_without_its_row_it_is_refused(capsys):
    assert cli.main(["run", "--method", NEW.name]) == 2
    assert f'Invalid value "{NEW.name}" for --method' in capsys.readouterr().err
    with pytest.raises(ValueError, match=f"unknown method '{NEW.name}'"):
        ConvertConfig(method=NEW.name)
