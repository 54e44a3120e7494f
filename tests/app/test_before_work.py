"""What can be known at the start is refused at the start, with one line and exit code 2."""

import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from examples import random_variables

from snnjax.app import cli, pipeline
from snnjax.app.configurations import ReadoutConfig, TrainConfig
from snnjax.app.stages.readout_learning import count_images
from snnjax.conversion.conversion import convert
from snnjax.io import checkpoint, datasets
from snnjax.io.folder_lock import lock_folder
from snnjax.training import fitting

pytest.importorskip("mlxtend")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(words, capsys):
    """What a command says that is refused."""
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("snnjax: ")
    return said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--method model_norm --network resnet20", "model_norm is defined for a chain of layers"),
        ("--method data_norm --network resnet20", "data_norm is defined for a chain of layers"),
        (
            "--method calibration --neuron exact-charge",
            "for double-threshold neurons, and the neur",
        ),
        ("--correct shift", "--neuron double-threshold, or convert without --correct"),
        ("--method srp --num-steps 4", "num_steps is 4, and 4 of them are pre-steps"),
        ("--pre-steps 2", "pre_steps is 2; want 0, or at least 1 with a neuron that revises"),
        ("--weight-bits 17", "weight_bits is 17; want at least 2 and at most 16, or 0 to train"),
        ("--weight-bits 4 --activation relu --levels 0", "weight_bits is 4, but relu has no theta"),
        ("--spike-penalty -1", "spike_penalty is -1.0; want it in [0, 1e+06]"),
        ("--spike-penalty 1 --activation rate_norm", "spike_penalty is 1.0, but rate_norm has no"),
        ("--shown-steps 4 --neuron offset", "shown_steps is 4; want 0, or at least 1 with the exa"),
        ("--scales largest --calibration-images 5000", "mnist5k has 4000 training images"),
        ("--readout stdp --readout-images 5000", "readout_images is 5000; want at most the 3600"),
        ("--readout stdp --readout-start random --readout-neurons 4", "each of 10 classes"),
        ("--method srp --readout stdp --readout-steps 3", "num_steps is 3, and 4 of them are"),
        ("--output /", "cannot write /config.json: it would be in the root folder"),
        ("--output ../../../../../../../../..", "config.json: it would be in the root folder"),
        ("--method opi --output file", "cannot write file/config.json: Not a directory"),
    ],
)
def test_f_nothing_is_trained_that_is_refused_afterwards(
    line, message, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(pipeline, "train", None)
    assert message in refused(["run", *line.split()], capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--max-images 3", "validation is 0.1, which holds out 0 of 3 training images"),
        ("--validation 0.9999 --max-images 200", "holds out 200 of 200 training images"),
        ("--max-images 100", "batch_size is 128; want at most the 90 training images"),
        ("--colour 0.3", "colour is 0.3, but the images have 1 channels"),
        ("--max-shift 28", "max_shift is 28; want at most 27 for images of 28 x 28 pixels"),
        ("--cutout 29", "cutout is 29; want at most 28 for images of 28 x 28 pixels"),
    ],
)
def test_f_options_that_do_not_fit_the_images_are_refused_first(line, message, tmp_path, capsys):
    assert message in refused(["train", *line.split()], capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("train", "config.json"), ("convert ann", "snn.safetensors"), ("report ann", "report.json"),
        ("simulate snn", "simulation.json"), ("learn snn", "snn.safetensors"),
        ("energy snn", "energy.json"), ("finetune snn", "config.json"),
        ("nir import graph", "snn.safetensors"),
    ],
)  # fmt: skip
def test_b11_an_output_that_cannot_be_written_is_known_before_any_file_is_read(
    line, file, tmp_path, monkeypatch, capsys
):
    (tmp_path / "taken").write_text("mine")
    monkeypatch.setattr(datasets, "load", None)
    said = refused([*line.split(), "--output", "taken"], capsys)
    assert f"cannot write taken/{file}: Not a directory; choose another --output folder" in said
    empty = refused([*line.split(), "--output", ""], capsys)
    assert "--output: an empty text; want a path, such as . for this folder. See" in empty
    assert (tmp_path / "taken").read_text() == "mine"


def test_b11_files_to_write_are_not_folders(tmp_path, capsys):
    for line in (
        ["export", "snn", "--output", str(tmp_path)],
        ["nir", "export", "a", str(tmp_path)],
        ["npz", "export", "a", "--output", str(tmp_path)],
    ):
        assert "Is a directory" in refused(line, capsys)


def test_a5_a_second_training_in_a_folder_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fitting, "fit", None)
    with lock_folder(tmp_path / "d"):
        said = refused(["train", "--seed", "1", "--output", "d"], capsys)
    assert f"d is in use: process {os.getpid()} on" in said


def test_b10_a_platform_that_is_not_there_is_one_line(tmp_path):
    for platform in ("cuda", "nonsense"):
        done = subprocess.run(
            [sys.executable, "-m", "snnjax", "train"], capture_output=True, text=True,
            env={**os.environ, "JAX_PLATFORMS": platform}, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 2
        assert f"no device to compute on: JAX_PLATFORMS is {platform!r}" in done.stderr
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_b12_images_to_learn_from_need_no_word_about_labels():
    assert count_images(ReadoutConfig(readout_images=100), 3600, 10) == 100
    few = ReadoutConfig(readout_images=100, readout_labels=200, readout_start="random")
    with pytest.raises(ValueError, match="readout_images is 100 and readout_labels 200"):
        count_images(few, 3600, 10)


def test_b12_pre_steps_are_whole(capsys):
    said = refused(["run", "--method", "srp", "--pre-steps", "2.5"], capsys)
    assert "2.5 is no whole number" in said


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Files of small networks that were converted with a method."""
    folder = tmp_path_factory.mktemp("converted")
    network = TrainConfig(network="net1", activation="th_relu").architecture()
    params = convert(network, random_variables(network, (28, 28, 1)))
    trained = {
        "config": {"dataset": "mnist5k", "network": "net1", "activation": "th_relu"},
        "dataset": {"name": "mnist5k"},
    }
    for method, correct in (("srp", "nothing"), ("opi", "nothing"), ("calibration", "shift")):
        metadata = {"trained": trained, "config": {"method": method, "correct": correct}}
        checkpoint.save(folder / method, params, kind="snn", metadata=metadata)
    return folder


def test_f_a_graph_of_a_network_for_another_neuron_is_refused(converted, tmp_path, capsys):
    pytest.importorskip("nir")
    said = refused(["nir", "export", str(converted / "srp"), "graph.nir"], capsys)
    assert "method srp is for residual-mask neurons, and a NIR graph has double-threshold" in said
    said = refused(["nir", "export", str(converted / "opi"), "graph.nir", "--coupled"], capsys)
    assert "--coupled has no effect: no neuron has a negative threshold; leave it out" in said
    assert list(tmp_path.iterdir()) == []
    assert cli.main(["nir", "export", str(converted / "opi"), "graph.nir"]) == 0


def test_a_network_of_floats_has_no_whole_numbers_to_export_or_to_report(
    converted, tmp_path, capsys
):
    snn = str(converted / "opi")
    said = refused(["npz", "export", snn, "--output", "whole.npz"], capsys)
    assert "network 'net1' has float weights, and this file holds whole numbers; quantise" in said
    said = refused(["report", snn, "--output", "."], capsys)
    assert "opi is a converted network with float weights; want ann.safetensors of a" in said
    for words in (["--images", "3"], ["--dataset", "mnist"], ["--gain", "0.5"]):
        said = refused(["report", snn, *words], capsys)
        assert f"{words[0]}" in said and "has no effect on" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["simulate", "energy", "learn", "export"])
def test_f_a_calibrated_network_runs_with_its_own_neuron_only(command, converted, capsys):
    line = [command, str(converted / "calibration"), "--neuron", "exact-charge"]
    assert "is calibrated (--correct shift) for double-threshold neurons" in refused(line, capsys)


def test_f_a_flipped_bit_in_a_network_is_one_line(converted, tmp_path, capsys):
    content = bytearray((converted / "opi").read_bytes())
    content[-5] ^= 4
    (tmp_path / "snn").write_bytes(content)
    for command in ("simulate", "energy", "learn", "export"):
        assert "snn is damaged: its content differs" in refused([command, "snn"], capsys)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("[1, 2]", "foreign is damaged"),
        ('{"kind": "ann"', "foreign is damaged"),
        ('{"kind": "snn"}', "foreign has no entry 'gain', which snnjax writes"),
        ('{"kind": "ann"}', "foreign has no entry 'config', which snnjax writes"),
    ],
)
def test_f_foreign_files_are_one_line(entries, message, tmp_path, caplog, capsys):
    content = safetensors.numpy.save({"x": np.ones(2)}, metadata={"snnjax": entries})
    (tmp_path / "foreign").write_bytes(content)
    caplog.set_level("ERROR")  # a note says that there is no checksum
    for command in ["convert", "report"] if "ann" in entries else ["simulate", "energy", "export"]:
        assert message in refused([command, "foreign"], capsys)


def test_f_a_network_of_nan_is_refused(converted, tmp_path, capsys):
    tree, metadata = checkpoint.load(converted / "opi", kind="snn")
    tree["gain"] = np.float32(np.nan)
    checkpoint.save(tmp_path / "snn", tree, kind="snn", metadata=metadata)
    assert "snn holds NaN; want finite numbers" in refused(["simulate", "snn"], capsys)


def test_f_an_empty_text_is_refused(capsys):
    assert "Invalid value for --coordinator: an empty text. See" in refused(
        ["train", "--coordinator", ""], capsys
    )


def test_f_memory_that_is_not_there_is_one_line(monkeypatch, capsys):
    def greedy(*_, **__):
        np.empty(2**46)

    monkeypatch.setattr(pipeline, "train", greedy)
    assert "out of memory (Unable to allocate" in refused(["train"], capsys)


@pytest.mark.parametrize("command", ["simulate", "energy"])
def test_f_timesteps_that_do_not_fit_the_neuron_are_refused_before_data_are_read(
    command, converted, monkeypatch, capsys
):
    monkeypatch.setattr(datasets, "load", None)
    line = [command, str(converted / "opi"), "--neuron", "exact-charge", "--pre-steps", "2"]
    assert "pre_steps is 2; want 0, or at least 1 with a neuron" in refused(line, capsys)


@pytest.mark.parametrize("command", ["simulate", "energy", "learn", "convert", "report", "export"])
def test_b11_a_folder_in_place_of_a_network_is_named(command, capsys):
    said = refused([command, "/tmp"], capsys)
    assert "/tmp is a folder; want a file made by snnjax" in said
