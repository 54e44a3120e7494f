"""Fine-tuning through the simulation: its files, its refusals, and a run that was stopped."""

import json
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from examples import random_variables, save_columns

from snnjax.app import cli
from snnjax.app.commands import training
from snnjax.app.configurations import FineTuneConfig, SimulateConfig
from snnjax.app.configurations.methods import resolve_fine_tuning, resolve_for_network
from snnjax.app.run_files import describe_own
from snnjax.app.stages.fine_tuning import FORMS, fine_tune
from snnjax.conversion.conversion import convert
from snnjax.io import checkpoint, datasets
from snnjax.networks import architecture as arch
from snnjax.networks import serialisation
from snnjax.training import fitting, resuming

SHAPE = (4, 4, 1)
NETWORK = arch.Network(
    "small", (arch.Flatten(), arch.Dense(12), arch.Activation(0.25, 1.0), arch.Dense(3))
)
CONFIG = FineTuneConfig(num_steps=2, epochs=2, answers="all", learning_rate=0.02)
SAME = "--num-steps 2 --epochs 2 --answers all --learning-rate 0.02"


@pytest.fixture(scope="module")
def params():
    return jax.jit(partial(convert, NETWORK))(random_variables(NETWORK, SHAPE))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Metadata of a network that was trained with a running mean on a user's own images."""
    path = tmp_path_factory.mktemp("data") / "columns.npz"
    save_columns(path, SHAPE)
    config = {
        **describe_own(str(path), datasets.load(str(path))), "network": "small", "average": 0.9,
        "batch_size": 20, "max_shift": 0, "blueprint": serialisation.write(NETWORK),
    }  # fmt: skip
    return {"config": config, "dataset": {"name": path.name, "image_shape": SHAPE}}


def metadata(trained, **conversion):
    return {"trained": trained, "config": {"method": None, **conversion}}


@pytest.fixture(scope="module")
def snn(params, trained, tmp_path_factory):
    """File of the converted network."""
    path = tmp_path_factory.mktemp("converted") / "snn.safetensors"
    checkpoint.save(path, params, kind="snn", metadata=metadata(trained))
    return path


@pytest.fixture(scope="module")
def tuned(snn):
    """Folder and record of a fine-tuning by the command line."""
    folder = snn.parent / "finetuned-2"
    assert cli.main(f"finetune {snn} {SAME}".split()) == 0
    return folder, json.loads((folder / "finetune.json").read_text())


def networks(folder):
    """Parameters of the fine-tuned network and of the control."""
    names = ("snn.safetensors", "control.safetensors")
    return [checkpoint.load(folder / name, kind="snn").tree for name in names]


def copy(folder, to):
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def refused(capsys, *words):
    """Run a command that must fail in one line, and return the line."""
    capsys.readouterr()
    assert cli.main(list(map(str, words))) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_the_record_holds_every_timestep_of_every_network(tuned):
    _, record = tuned
    for form in FORMS:
        for name in ("accuracy", "spikes", "synaptic_operations"):
            assert len(record[form][name]) == 2
        assert record[form]["synaptic_operations"][1] > record[form]["spikes"][1] > 0
    epochs = [[row["epoch"] for row in record[form]["history"]] for form in FORMS]
    assert epochs == [[], [1, 2], [1, 2]]
    assert record["fine_tuned"]["accuracy"][-1] > record["before"]["accuracy"][-1]
    assert set(record["ann"]) == {"trained", "smooth"}


def test_weights_are_trained_and_thresholds_stay_to_the_bit(tuned, snn):
    before = checkpoint.load(snn, kind="snn").tree["layers"]
    for tree in networks(tuned[0]):
        for name, layer in tree["layers"].items():
            for entry, array in layer.items():
                same = np.array_equal(array, before[name][entry])
                assert same is (entry not in ("kernel", "bias"))


def test_a_run_that_was_killed_ends_with_the_same_parameters(snn, tuned, tmp_path, monkeypatch):
    """In its first epoch, and again in that of the control."""
    save = resuming.save_progress

    def save_then_stop(path, config, progress):
        save(path, config, progress)
        if len(progress.history) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "PAUSE", 0.0)
    monkeypatch.setattr(resuming, "save_progress", save_then_stop)
    for form in ("fine_tuned", "control"):
        with pytest.raises(KeyboardInterrupt):
            fine_tune(snn, CONFIG, tmp_path, progress=False)
        assert (tmp_path / f"{form}.training.safetensors").exists()
        begun = (tmp_path / "config.json").read_text()
        (tmp_path / "config.json").unlink()
        with pytest.raises(ValueError, match=r"training\.safetensors is of another"):
            fine_tune(snn, replace(CONFIG, spike_penalty=5.0), tmp_path, progress=False)
        (tmp_path / "config.json").write_text(begun)
    record = fine_tune(snn, CONFIG, tmp_path, progress=False)
    folder, wanted = tuned
    for form in FORMS:
        assert record[form] == wanted[form]
    jax.tree.map(np.testing.assert_array_equal, networks(tmp_path), networks(folder))


def test_a_finished_run_is_returned_at_once(snn, tuned, monkeypatch, capsys):
    folder, wanted = tuned
    monkeypatch.setattr(datasets, "load", None)
    assert fine_tune(snn, CONFIG, folder, progress=False) == wanted
    said = refused(capsys, "finetune", snn, "--output", folder)
    assert "config.json is of another run; choose another --output folder" in said


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "[]", "config.json holds no record of snnjax"),
        ("config.json", "{", "config.json is damaged"),
        ("config.json", '{"config": []}', "config.json is of another run"),
        ("finetune.json", "", "finetune.json is damaged"),
        ("finetune.json", '{"config": 1}', "finetune.json is no record of a fine-tuning"),
        ("snn.safetensors", "", "snn.safetensors is not the network that this fine-tuning wrote"),
        ("control.safetensors", "", "control.safetensors is not the network that"),
    ],
)
def test_a_finished_run_with_a_changed_file_is_refused(
    name, content, message, snn, tuned, tmp_path, capsys
):
    copied = copy(tuned[0], tmp_path)
    (copied / name).write_text(content)
    assert message in refused(capsys, "finetune", snn, "--output", copied, *SAME.split())
    assert (copied / name).read_text() == content


def test_options_that_are_newer_than_a_run_have_their_defaults_there(snn, tuned, tmp_path):
    folder, wanted = tuned
    copy(folder, tmp_path)
    own = json.loads((tmp_path / "config.json").read_text())
    del own["config"]["batch_size"]
    (tmp_path / "config.json").write_text(json.dumps(own))
    assert fine_tune(snn, CONFIG, tmp_path, progress=False) == wanted


def test_the_last_epoch_of_adamw_is_kept(snn, tmp_path, monkeypatch):
    class Stopped(Exception):
        pass

    def stop(*arguments, **_):
        raise Stopped(arguments[4])

    monkeypatch.setattr(fitting, "fit", stop)
    with pytest.raises(Stopped) as found:
        fine_tune(snn, CONFIG, tmp_path, progress=False)
    (config,) = found.value.args
    assert (config.keep, config.optimiser, config.smooth_epochs) == ("last", "adamw", 0)


def test_it_has_the_neuron_of_the_method_and_simulations_have_its_own(tuned):
    conversion = {"config": {"method": "sth_leaky_relu"}}
    found = resolve_fine_tuning(FineTuneConfig(), conversion)
    assert (found.neuron, found.encoding) == ("double-threshold", "rate")
    chosen = FineTuneConfig(neuron="exact-charge", encoding="constant")
    assert resolve_fine_tuning(chosen, conversion) == chosen
    own = {**conversion, "finetuned": {"neuron": "integrate-and-fire", "encoding": "constant"}}
    run = resolve_for_network(SimulateConfig(), own)
    assert (run.neuron, run.encoding, run.pre_steps) == ("integrate-and-fire", "constant", 0)
    assert tuned[1]["config"]["neuron"] == "exact-charge"  # and not None
    with pytest.raises(ValueError, match="unknown neuron with a surrogate gradient 'augmented'"):
        resolve_fine_tuning(FineTuneConfig(), {"config": {"method": "aug_mapping"}})


def test_batches_may_be_smaller_than_those_of_the_training(snn, tuned, tmp_path):
    record = fine_tune(snn, replace(CONFIG, batch_size=10), tmp_path, progress=False)
    for form in FORMS[1:]:
        assert record[form]["history"] != tuned[1][form]["history"]


def test_at_one_timestep_the_loss_falls_and_a_penalty_lowers_synaptic_operations(snn, tmp_path):
    config = replace(CONFIG, num_steps=1, answers="last")
    free, penalised = (
        fine_tune(snn, replace(config, spike_penalty=of), tmp_path / str(of), progress=False)
        for of in (0.0, 20.0)
    )
    for form in FORMS[1:]:
        first, last = (row["loss"] for row in free[form]["history"])
        assert last < first
        operations = [record[form]["synaptic_operations"][0] for record in (free, penalised)]
        assert operations[1] < 0.7 * operations[0]


def test_an_interruption_says_that_the_command_resumes(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fine_tune", interrupt)
    assert cli.main(["finetune", "snn.safetensors"]) == 130
    assert "the same command resumes the training" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--spike-penalty -1", "spike_penalty is -1.0; want it in [0, 1e+06]"),
        ("--batch-size 1000", "batch_size is 1000; want at most the 180 training images"),
        ("--max-images 10", "batch_size is 20; want at most the 10 training images"),
        ("--surrogate arctangent", 'Invalid value "arctangent" for --surrogate'),
        ("--neuron augmented", 'Invalid value "augmented" for --neuron'),
        ("--dataset nowhere.npz", "no data at nowhere.npz"),
        ("--dataset {folder}/wider.npz", "images of shape (5, 5, 1) do not fit"),
        ("--output {folder}", "snn.safetensors would be overwritten; choose another --output"),
        ("--output {folder}/taken", "taken/config.json: Not a directory; choose another --output"),
    ],
)
def test_options_that_are_wrong_are_refused(options, message, snn, capsys):
    (snn.parent / "taken").write_text("mine")
    save_columns(snn.parent / "wider.npz", (5, 5, 1))
    words = options.format(folder=snn.parent).split()
    assert message in refused(capsys, "finetune", snn, *words)
    assert not (snn.parent / "finetuned-4").exists()


def test_names_that_are_wrong_are_refused_from_python():
    with pytest.raises(ValueError, match="unknown surrogate 'arctangent'"):
        FineTuneConfig(surrogate="arctangent")
    with pytest.raises(ValueError, match="unknown neuron with a surrogate gradient 'augmented'"):
        FineTuneConfig(neuron="augmented")


def test_networks_that_cannot_be_fine_tuned_are_refused(params, trained, tmp_path, capsys):
    path = tmp_path / "snn.safetensors"
    for more, conversion, message in (
        ({"integer": {"pixel": 255.0}}, {}, "is an integer network, whose weights have no gradie"),
        ({"readout": {"leak": 0.5}}, {}, "has a learnt readout; fine-tune first"),
        ({}, {"correct": "shift"}, "is calibrated (--correct shift) for double-threshold neurons"),
    ):
        of = metadata(trained, **conversion)
        checkpoint.save(path, {**params, **more}, kind="snn", metadata=of)
        assert message in refused(capsys, "finetune", path)
    assert "no checkpoint at" in refused(capsys, "finetune", tmp_path / "none")


def test_a_folder_with_another_network_is_refused(snn, tmp_path, capsys):
    other = tmp_path / "snn.safetensors"
    other.write_text("of a conversion")
    said = refused(capsys, "finetune", snn, "--output", tmp_path)
    assert "snn.safetensors would be overwritten; choose another --output folder" in said
    assert [path.name for path in tmp_path.iterdir()] == [other.name]
    assert other.read_text() == "of a conversion"
