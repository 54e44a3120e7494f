"""The experiments' whole path on small data, and their committed results hold together."""

import hashlib
import importlib.util
import json
import os
import runpy
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from paths import EXPERIMENTS, SHARED

from snnjax.app import comparison, pipeline
from snnjax.app.comparison import Line
from snnjax.app.configurations import ConvertConfig, SimulateConfig, recorded_training
from snnjax.conversion.methods import METHODS
from snnjax.io import checkpoint
from snnjax.networks import architecture, known_networks

FOLDER = EXPERIMENTS / "mnist_latency"
COMPARISON = EXPERIMENTS / "method_comparison"
CIFAR10 = EXPERIMENTS / "cifar10_latency"
DEEP = EXPERIMENTS / "deep_networks"
ENERGY = EXPERIMENTS / "energy"
FEW = EXPERIMENTS / "few_steps"
RANGE = EXPERIMENTS / "activation_range"
NOISE = EXPERIMENTS / "noise_robustness"
CODING = EXPERIMENTS / "coding"
EVERYDAY = EXPERIMENTS / "everyday_models"
INTEGERS = EXPERIMENTS / "integer_weights"
THROUGHPUT = EXPERIMENTS / "throughput"
TRANSFORMERS = EXPERIMENTS / "transformers"
PEERS = EXPERIMENTS.parent / ".venv-peers" / "bin" / "python"

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


def start(script, *options, **how):
    """A program of an experiment in a process of its own."""
    return subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "COLUMNS": "200"}, **how,
    )  # fmt: skip


def run(script, *options):
    """Run a program of an experiment in this process, as its command line runs it.

    JAX is imported already, and compiled programs are shared. Experiments have modules of the same
    names, so those of this one are forgotten afterwards.
    """
    own = {path.stem for path in script.parent.iterdir()}
    others = {name: sys.modules.pop(name) for name in own & sys.modules.keys()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), *options])
        patch.setattr(sys, "path", [str(script.parent), *sys.path])
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            assert not end.code, end
        finally:
            for name in own & sys.modules.keys():
                del sys.modules[name]
            sys.modules.update(others)


def smoke(folder, output, *options):
    """Run an experiment's whole path on small data."""
    pytest.importorskip("mlxtend")
    run(folder / "run.py", "--smoke", *options, "--output", str(output))
    run(folder / "plot.py", "--output", str(output))


@pytest.fixture
def prepared(monkeypatch):
    """The folder of prepared data, or the reason why there is none."""
    if not os.environ.get("TFDS_DATA_DIR"):
        shared = SHARED / "tfds"
        if not shared.is_dir():
            pytest.skip("no prepared data: set TFDS_DATA_DIR")
        monkeypatch.setenv("TFDS_DATA_DIR", str(shared))


@pytest.fixture
def shallow(monkeypatch):
    """A network of two residual blocks in the place of the deep ones, which compile for long."""
    for name in ("resnet20", "vgg16_quarter"):
        build = partial(known_networks.resnet, name=name, widths=(8, 16), blocks=1)
        monkeypatch.setitem(known_networks.BUILDERS, name, build)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [CIFAR10, NOISE], ids=["table 3", "noise"])
def test_several_networks_may_be_named_and_an_unknown_one_is_refused(folder):
    done = start(folder / "run.py", "--networks", "resnet20", "resnet21")
    assert done.returncode
    assert 'Invalid value "resnet21" for --networks. Choose from:' in done.stdout + done.stderr


@pytest.mark.slow
def test_smoke_of_table_3_and_its_plots(tmp_path, prepared, shallow):
    smoke(CIFAR10, tmp_path, "--networks", "resnet20")
    (row,) = json.loads((tmp_path / "results" / "comparison.json").read_text())["rows"]
    assert (row["network"], row["method"], row["images"]) == ("resnet20", "sth_exact", 128)
    assert row["training"]["max_images"] == 128
    assert [stage["levels"] for stage in row["before"]] == [5]
    assert row["simulation"]["shown_steps"] == row["training"]["levels"] == 6
    kept = {path.stem: path for path in (tmp_path / "parameters").glob("*.safetensors")}
    before, after = (f"resnet20-sth_leaky_relu-levels{n}-seed0" for n in (5, 6))
    assert set(kept) == {before, after}
    record = json.loads(kept[after].with_suffix(".json").read_text())
    assert record["images"] == {"train": 125, "validation": 3, "test": 128}
    begun = checkpoint.load_metadata(kept[after], kind="ann")["start"]
    assert begun["sha256"] == hashlib.sha256(kept[before].read_bytes()).hexdigest()
    assert len((tmp_path / "results" / "resnet20.md").read_text().splitlines()) == 2 + 1
    assert (tmp_path / "figures" / "resnet20.png").stat().st_size > 10_000


@pytest.mark.slow
def test_smoke_of_figure_7(tmp_path, prepared, shallow):
    smoke(RANGE, tmp_path)
    record = json.loads((tmp_path / "results" / "activation_range.json").read_text())
    assert set(record["largest"]) == {"sthLeakyReLU", "LeakyReLU"}
    network = known_networks.build("vgg16_quarter", (32, 32, 3), 10)
    for layers in record["largest"].values():
        assert set(layers) == set(architecture.activations(network)) and len(layers) == 5
    assert record["test_images"] == 256
    table = (tmp_path / "results" / "activation_range.md").read_text().splitlines()
    assert [line.split("`")[1] for line in table[2:]] == ["sthLeakyReLU", "LeakyReLU"]
    assert (tmp_path / "figures" / "activation_range.png").stat().st_size > 10_000


@pytest.mark.slow
def test_smoke_of_the_transformers_settles_to_the_quantised_network_in_both_forms(tmp_path):
    smoke(TRANSFORMERS, tmp_path)
    rows = json.loads((tmp_path / "results" / "transformers.json").read_text())["rows"]
    assert [(row["training"], row["form"]) for row in rows] == [
        ("quantised", "mean"), ("quantised", "sum"),
    ]  # fmt: skip
    for row in rows:
        assert row["images"] == 50 and row["config"]["levels"] == row["levels"] == 8
        assert row["other_answers_than_quantised"] == 0
        assert row["largest_difference_to_quantised"] < 1e-5
        assert row["snn"][-1] == row["quantised_ann"]
    ours = rows[0]["operations"]
    assert ours["num_steps"] == len(rows[0]["snn"]) and sum(ours["accumulates"].values()) > 0
    kept = tmp_path / "parameters" / "tiny-quantised-seed0.safetensors"
    assert checkpoint.load_metadata(kept, kind="transformer")["training"] == rows[0]["config"]
    assert len((tmp_path / "results" / "tiny.md").read_text().splitlines()) == 2 + 2
    assert (tmp_path / "figures" / "tiny.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_speed_of_a_function_is_measured_and_its_memory_does_not_grow_with_time():
    small = ("--network", "tiny", "--batch", "2", "--repeats", "1")
    row = json.loads(start(TRANSFORMERS / "speed.py", *small, check=True).stdout.splitlines()[-1])
    assert row["sites"] == 10 and row["timestep_ms"] > 0 and row["rounded_ann_ms"] > 0
    short, long = row["memory_bytes"]["8"], row["memory_bytes"]["64"]
    assert short <= long < 1.02 * short  # by the number of the timestep alone


@pytest.mark.slow
def test_smoke_of_figures_8_and_9(tmp_path):
    smoke(NOISE, tmp_path)
    (row,) = json.loads((tmp_path / "results" / "noise.json").read_text())["rows"]
    accuracy = row["accuracy"]
    assert np.shape(accuracy["ann"]) == (7,)
    assert np.shape(accuracy["STDP + WTA from random"]) == (7, 5)
    assert accuracy["ann"][0] > accuracy["ann"][-1] + 0.3
    assert accuracy["count"][0] > accuracy["count"][-1]
    table = (tmp_path / "results" / "net2-2_of_5_steps.md").read_text()
    assert len(table.splitlines()) == 2 + 3 + 5 * 5
    for name in ("net2", "net2-images"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_figures_4_and_5_are_drawn_from_spikes_and_the_rule(tmp_path):
    pytest.importorskip("mlxtend")
    for script in ("run.py", "plot.py"):  # from the command line, as every experiment is
        start(CODING / script, "--output", str(tmp_path), check=True, cwd=tmp_path)
    record = json.loads((tmp_path / "results" / "coding.json").read_text())
    counts = {name: sum(map(len, steps)) for name, steps in record["spikes"].items()}
    bright = sum(value > 0 for value in record["values"])
    assert counts["temporal"] == bright
    assert counts["rate"] == pytest.approx(28 * sum(record["values"]), rel=0.05)
    assert record["changes"][record["delays"].index(0)] == pytest.approx(record["stdp"]["a_plus"])
    for name in ("coding", "stdp"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000


def measured(output, *options, script="run.py"):
    """The JSON that a tiny run of the benchmark writes."""
    start(THROUGHPUT / script, "--smoke", "--output", str(output), *options, check=True)
    (path,) = (output / "results").glob("*.json")
    return path


def rows_of_net1():
    """Committed rows as the tiny run has them for Net1, all but one."""
    rows = json.loads((THROUGHPUT / "results" / "throughput.json").read_text())["rows"]
    found = [
        {**row, "num_steps": 2} for row in rows
        if (row["network"], row["batch"], row["num_steps"]) == ("net1", 1, 8)
        and (row["neuron"], row["order"]) != ("exact-charge", "chosen")
    ]  # fmt: skip
    assert len(found) == 3
    return found


@pytest.mark.slow
def test_smoke_of_the_benchmark_adds_what_is_missing(tmp_path):
    there = rows_of_net1()
    begun = tmp_path / "results" / "throughput.json"
    begun.parent.mkdir()
    begun.write_text(json.dumps({"rows": there}))
    record = json.loads(measured(tmp_path).read_text())
    assert record["rows"][: len(there)] == there  # what was there is not measured again
    record["rows"] = record["rows"][len(there) :]
    kinds = ("rows", "memory", "thresholds", "cores", "training", "profile", "products", "whole",
             "silent_inputs")  # fmt: skip
    assert [len(record[kind]) for kind in kinds] == [5, 1, 1, 1, 1, 2, 3, 3, 2]
    assert {row["chunk_steps"] for row in record["rows"] if row["network"] == "net2"} == {1, 4}
    (missing,) = (row for row in record["rows"] if row["network"] == "net1")
    assert (missing["neuron"], missing["order"], missing["chunk_steps"]) == (
        "exact-charge", "chosen", 2,
    )  # fmt: skip
    for row in record["rows"]:
        assert row["seconds"]["repeats"] == 2
        assert row["to_ann"] > 0 < row["memory_bytes"]
        assert row["answers_to_steps_of_ann"] > 0
        assert row["spike_rate"] > 0
    (at_once,) = record["thresholds"]
    assert at_once["largest_difference"] < 1e-4
    (alone,) = record["cores"]
    assert alone["one_to"] == {"1": 1.0} and alone["seconds"]["1"]["median"] > 0
    for entry in record["silent_inputs"]:
        assert 0 < entry["active"]["02_activation"] < 0.5
        assert entry["dense_to_skipping"] > 0 and entry["images_that_differ"] <= entry["images"]
    products = ["float32", "bfloat16x3", "integer-bfloat16"]
    assert [row["products"] for row in record["products"]] == products
    assert [record["products"][place]["moved"] for place in (0, 2)] == [0, 0]
    for part in record["profile"]:
        assert part["macs"] == 2 * (24**2 * 12 * 25 + 4 * (8**2 * 64 * 25 * 12 + 1024 * 10))
    for name in ("throughput", *kinds[1:]):
        assert (tmp_path / "results" / f"{name}.md").read_text().startswith("| ")
    assert (tmp_path / "figures" / "throughput.png").stat().st_size > 10_000


@pytest.mark.slow
def test_smoke_of_the_benchmark_beside_peers(tmp_path):
    """Every peer computes what we compute; a peer that does not would be a row that says so."""
    if not PEERS.is_file():
        pytest.skip("no other simulators here: `make peers` installs them")
    record = json.loads(measured(tmp_path, "--peers", str(PEERS)).read_text())
    found = {(row["peer"], row["network"]): row for row in record["peers"]}
    modes = {"SpikingJelly, step by step", "SpikingJelly, layer by layer"}
    deep = {(mode, "resnet20") for mode in modes}
    assert set(found) == {(peer, "net2") for peer in (*modes, "Spyx", "jaxpike")} | deep
    for row in found.values():
        assert row.get("reason") is None
        assert row["agreement"]["agrees"]
        assert row["peer_seconds"]["repeats"] == row["seconds"]["repeats"] == 2
    (training,) = record["training"]
    assert training["first_losses_difference"] < 1e-3
    (through_time,) = record["training_step"]
    assert through_time["first_losses_difference"] < 1e-3


@pytest.mark.slow
def test_an_environment_of_peers_that_is_not_there_is_refused_at_once(tmp_path):
    options = ["--smoke", "--peers", "nowhere/python", "--output", str(tmp_path)]
    done = start(THROUGHPUT / "run.py", *options)
    assert done.returncode
    assert "nowhere/python, which is no file; run `make peers`" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_smoke_of_the_lowerings(tmp_path):
    path = measured(tmp_path, script="lowering.py")
    entries = json.loads(path.read_text())["entries"]
    assert [entry["gradient"] for entry in entries] == [False, True] * 2
    ways = {"xla", "patches", "pairs", "shifts", "rows", "matrix", "winograd"}
    assert set(entries[0]["seconds"]) == ways | {"matrix, made before", "winograd, made before"}
    assert [entry["taken"] for entry in entries] == ["patches"] * 4
    assert entries[2]["groups"] == 64
    assert len((tmp_path / "results" / "lowering.md").read_text().splitlines()) == 2 + 4


@pytest.mark.slow
def test_smoke_of_the_comparison_and_its_plots(tmp_path):
    smoke(COMPARISON, tmp_path)
    path = tmp_path / "results" / "comparison.json"
    rows = json.loads(path.read_text())["rows"]
    found = {(row["method"], row["encoding"]) for row in rows}
    assert found == {
        ("sth_exact", "constant"), ("sth_exact", "rate"), ("th_relu", "constant"),
        ("cos", "constant"),
    }  # fmt: skip
    by_name = {row["method"]: row for row in rows}
    assert by_name["th_relu"]["steps"] == [1, 2, 4, 8]
    assert by_name["cos"]["uncounted_steps"] == 8
    assert len((tmp_path / "results" / "net2.md").read_text().splitlines()) == 2 + 4
    assert (tmp_path / "figures" / "net2.png").stat().st_size > 10_000
    before = path.read_text()
    run(COMPARISON / "run.py", "--smoke", "--output", str(tmp_path))
    assert path.read_text() == before  # all rows are there: nothing is done again


@pytest.mark.slow
def test_smoke_of_table_2_and_its_plots(tmp_path):
    smoke(FOLDER, tmp_path)
    rows = json.loads((tmp_path / "results" / "table2.json").read_text())["rows"]
    assert len(rows) == 12
    assert {row["training"]["network"] for row in rows} == {"net1", "net2"}
    assert len((tmp_path / "results" / "table2.md").read_text().splitlines()) == 2 + 12 + 2
    assert (tmp_path / "parameters" / "net2-seed0.safetensors").stat().st_size < 150_000
    for name in ("net1-constant", "net1-rate", "net2-constant", "net2-rate"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000


def committed():
    return json.loads((FOLDER / "results" / "table2.json").read_text())["rows"]


def test_committed_rows_have_three_seeds_and_every_test_image():
    rows = committed()
    groups = {}
    for row in rows:
        name = (row["training"]["network"], row["config"]["encoding"], row["label"])
        groups.setdefault(name, set()).add(row["training"]["seed"])
        assert row["images"] == 10_000
        assert row["dataset"]["exact_pixels"]
        assert row["commit"]
    assert set(map(len, groups.values())) == {3}


COMPARED = comparison.read_groups(COMPARISON / "results" / "comparison.json")
GROUPS = [group for found in COMPARED.values() for group in found.values()]


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: f"{g.rows[0]['network']}-{g.method}")
def test_committed_rows_of_the_comparison_are_whole(group):
    """What is there belongs together; a method that was never measured needs no row."""
    method = METHODS[group.method]
    network = group.rows[0]["network"]
    assert [row["seed"] for row in group.rows] == ([0, 1, 2] if network == "net2" else [0])
    for row in group.rows:
        assert row["images"] == 10_000
        assert row["dataset"]["exact_pixels"]
        assert row["commit"]
        assert (row["network"], row["training"]["network"]) == (network, network)
        assert row["seed"] == row["training"]["seed"]
        assert row["training"]["activation"] == method.activation
        assert method.train.items() <= row["training"].items()
        assert row["conversion"]["method"] == group.method
        assert method.convert.items() <= row["conversion"].items()
        assert row["simulation"]["neuron"] == method.neuron
        assert row["simulation"]["encoding"] == group.encoding
        assert len(row["steps"]) == len(row["snn"]) == len(row["spike_rate"])
        assert sorted(set(row["steps"])) == row["steps"] == group.steps
        assert 0 < min(row["snn"]) <= max(row["snn"]) <= 1 and 0.9 < row["ann"] < 1
        reached = row["latency"]
        assert reached is None or reached <= row["steps"][-1]
    if network == "net2":
        assert {row["dataset"]["name"] for row in group.rows} == {"mnist"}
        assert all("dirty" not in row["commit"] for row in group.rows)


def test_the_committed_figure_7_has_every_activation_of_both_networks():
    record = json.loads((RANGE / "results" / "activation_range.json").read_text())
    assert {len(layers) for layers in record["largest"].values()} == {15}


def test_no_committed_method_is_sooner_at_its_ann_than_exact_charge():
    net1, net2 = COMPARED["net1"], COMPARED["net2"]
    assert {name for name, _ in net1} == {name for name, _ in net2}
    for network in (net1, net2):
        soonest = network["sth_exact", "constant"].latency
        others = [g for (name, _), g in network.items() if name not in ("sth_exact", "wang2023")]
        assert all((group.latency or 1000) >= soonest for group in others)


def test_the_committed_resnet20_is_the_one_of_its_row_and_loses_little():
    path = CIFAR10 / "results" / "comparison.json"
    config = comparison.training_of(path, Line("resnet20", "sth_exact", "constant", 0))
    kept = CIFAR10 / "parameters" / f"{comparison.network_label(config)}.safetensors"
    assert kept.stat().st_size < 1_300_000
    assert recorded_training(checkpoint.load_metadata(kept, kind="ann")) == config
    group = comparison.read_groups(path)["resnet20"]["sth_exact", "constant"]
    (row,) = group.rows
    assert row["ann_smooth"] >= 0.86
    late = [group.accuracy(steps)[0] for steps in group.steps if steps >= 8]
    assert min(late) >= max(row["ann"], row["ann_smooth"]) - 0.003
    with pytest.raises(ValueError, match="no row of resnet20, cos, constant, 0; run"):
        comparison.training_of(path, Line("resnet20", "cos", "constant", 0))


@pytest.mark.parametrize("text", ["{}", '{"rows": 3}', '{"rows": [3]}', "[]", '{"rows": ['])
def test_a_damaged_json_is_named(tmp_path, text):
    path = tmp_path / "comparison.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^{path} (has no list of rows|is damaged|holds no)"):
        comparison.measure_missing(path, [Line("net2", "qcfs", "constant", 0)], None)


def check_rows_of_deep_networks(program, file, levels):
    """Check that rows are of the experiment's lines and trainings, and return them in groups."""
    groups = comparison.read_groups(DEEP / "results" / file)
    for network, found in groups.items():
        known = set(program["lines"](network, (0, 1, 2), ()))
        for row in (row for group in found.values() for row in group.rows):
            line = Line(*(row[field] for field in Line._fields))
            assert line in known and row["images"] == 10_000
            assert row["commit"] and "dirty" not in row["commit"]
            stages = [*row.get("before", []), row["training"]]
            recorded = tuple(recorded_training({"config": stage}) for stage in stages)
            assert recorded == program["trainings"](line, levels=levels)
    return groups


def test_the_committed_deep_networks_are_those_of_the_experiment():
    program = runpy.run_path(str(DEEP / "run.py"), run_name="read")
    groups = check_rows_of_deep_networks(program, "comparison.json", 4)
    for found in groups.values():
        exact, other = (found[name, "constant"] for name in ("sth_exact", "qcfs"))
        assert exact.latency < other.latency
    (loss,) = groups["vgg16"]["sth_exact", "constant"].losses(4)
    assert loss <= 0.001
    finer = check_rows_of_deep_networks(program, "levels8.json", 8)["resnet20"]
    assert {method for method, _ in finer} <= set(program["FINER"])


def test_the_committed_few_steps_gain_more_than_their_control():
    rows = json.loads((FEW / "results" / "few_steps.json").read_text())["rows"]
    for row in rows:
        assert row["images"] == 10_000 and len(row["control"]["history"]) == row["config"]["epochs"]
        assert row["commit"] and "dirty" not in row["commit"]
    for network in ("net2", "resnet20", "resnet20_60_epochs"):
        last = [row for row in rows if (row["network"], row["answers"]) == (network, "last")]
        own = [row for row in last if not row["spike_penalty"]]
        first = [row for row in own if row["num_steps"] == min(r["num_steps"] for r in own)]
        before, tuned, control = (
            np.mean([row[form]["accuracy"][-1] for row in first])
            for form in ("before", "fine_tuned", "control")
        )
        assert tuned > max(before, control)
    net2 = [row for row in rows if (row["network"], row["answers"]) == ("net2", "last")]
    for steps, most in ((1, 0.001), (2, 0.0002)):
        own = [row for row in net2 if row["num_steps"] == steps and not row["spike_penalty"]]
        assert len(own) == 3
        lost = [row["ann"]["trained"] - row["fine_tuned"]["accuracy"][-1] for row in own]
        assert np.mean(lost) <= most
    for network, steps, least in (("resnet20", 2, 0.8), ("resnet20_60_epochs", 4, 0.85)):
        (row,) = (row for row in rows if (row["network"], row["num_steps"]) == (network, steps))
        assert row["fine_tuned"]["accuracy"][-1] >= least


def test_a_committed_net2_needs_less_energy_than_its_quantised_ann_and_than_the_control():
    rows = json.loads((ENERGY / "results" / "energy.json").read_text())["rows"]
    ratio = runpy.run_path(str(ENERGY / "plot.py"))["ratio"]
    for row in rows:
        assert row["images"] == 10_000
        assert row["commit"] and "dirty" not in row["commit"]
    six = [row for row in rows if (row["network"], row["weight_bits"]) == ("net2", 6)]
    assert {row["seed"] for row in six} == {0, 1, 2}
    assert np.mean([row["early_exit"]["accuracy"] for row in six]) >= 0.993
    for row in six:
        point = row["early_exit"]
        assert point["to_ann"]["operations"] < 0.2
        assert point["to_quantised_ann"]["operations"]["ratio"] < 1
        assert (
            ratio(point, row["quantised_ann"]) == point["to_quantised_ann"]["operations"]["ratio"]
        )
        assert ratio(point, row["control"]) < 1


@pytest.mark.slow
def test_smoke_of_the_energies_and_their_plots(tmp_path, prepared):
    smoke(ENERGY, tmp_path)
    rows = json.loads((tmp_path / "results" / "energy.json").read_text())["rows"]
    (row,) = rows
    assert (row["weight_bits"], row["dataset"]["name"], row["images"]) == (8, "mnist5k", 200)
    assert row["control"] and row["early_exit"]
    assert (tmp_path / "figures" / "net2.png").stat().st_size > 10_000


def test_the_committed_transformers_settle_and_the_charge_of_means_is_soonest():
    rows = json.loads((TRANSFORMERS / "results" / "transformers.json").read_text())["rows"]
    forms = {}
    for row in rows:
        assert row["images"] == 10_000
        assert row["commit"] and "dirty" not in row["commit"]
        assert row["snn"][-1] == row["quantised_ann"]
        if row["form"] == "mean":
            # Some image of the CCT sends a spike in the last timestep simulated.
            assert row["settled"] or row["network"] == "cct"
            # For one image two programs round a value to both sides of a step between two counts.
            is_split = (row["network"], row["training"]) == ("mobilenet", "control")
            most = 0.8 if is_split else 0 if row["settled"] else 0.01
            assert row["largest_difference_to_quantised"] <= most
            assert row["other_answers_than_quantised"] == 0
        key = (row["network"], row["training"], row["levels"], row["seed"])
        forms.setdefault(key, {})[row["form"]] = row["snn"]
    assert {"mean", "at once", "sum"} <= set(forms["vit", "quantised", 8, 0])
    for (network, *_), curves in forms.items():
        least = 0.0005 if network == "lenet" else 0.0  # all forms are within 0.1 points there
        assert all(curves["mean"][3] >= curve[3] - least for curve in curves.values())


@pytest.mark.computes
@pytest.mark.slow
def test_committed_parameters_give_the_committed_figures(tmp_path, prepared):
    """To the image on the machine of the record, and to three images elsewhere."""
    (wanted,) = [
        row for row in committed()
        if row["label"] == "exact-charge" and row["config"]["encoding"] == "constant"
        and row["training"]["network"] == "net2" and row["training"]["seed"] == 0
    ]  # fmt: skip
    snn = pipeline.convert(
        FOLDER / "parameters" / "net2-seed0.safetensors", ConvertConfig(), tmp_path
    )
    found = pipeline.simulate(
        snn, SimulateConfig(), tmp_path, dataset="mnist", batch_size=500, progress=False
    )
    for name in ("snn", "ann"):
        assert found[name] == pytest.approx(wanted[name], abs=3e-4)


@pytest.mark.slow
def test_models_of_every_library_settle_to_their_quantised_functions(tmp_path):
    names = ["CNN in bfloat16", "U-Net", "NNX CNN", "Equinox CNN, channels first"]
    options = [word for name in names for word in ("--models", name)]
    run(EVERYDAY / "run.py", *options, "--output", str(tmp_path))
    rows = json.loads((tmp_path / "results" / "everyday_models.json").read_text())["rows"]
    assert [(row["model"], row["settled"]) for row in rows] == [(name, True) for name in names]
    assert all(row["difference"] <= 1e-5 for row in rows)


def test_the_table_of_whole_weights_is_the_mean_of_the_committed_rows():
    rows = json.loads((INTEGERS / "results" / "integer_weights.json").read_text())["rows"]
    assert {(row["seed"], row["images"]) for row in rows} == {(seed, 10_000) for seed in range(3)}

    def mean(bits, unit):
        found = [row["snn"][3] for row in rows if (row["bits"], row["unit"]) == (bits, unit)]
        return f"{100 * sum(found) / 3:.2f}"

    page = (EXPERIMENTS.parent / "docs" / "results.md").read_text()
    for bits in (8, 6, 5, 4, 3, 2):
        line = f"| {bits} | {mean(bits, 'largest weight')} | {mean(bits, 'least error')} |"
        assert line in page, line
    assert f"The float network has {mean(32, 'float')} %." in page


@pytest.mark.slow
def test_whole_weights_by_the_script(tmp_path, prepared):
    small = ["--seeds", "0", "--max-images", "250", "--calibration", "16"]
    run(INTEGERS / "run.py", *small, "--output", str(tmp_path))
    rows = json.loads((tmp_path / "results" / "integer_weights.json").read_text())["rows"]
    accuracy = {(row["bits"], row["unit"]): row["snn"][3] for row in rows}
    assert len(rows) == 13
    assert accuracy[8, "largest weight"] > 0.97
    assert accuracy[3, "least error"] > accuracy[3, "largest weight"]


def test_the_rows_of_fine_tuning_are_whole_runs_and_their_tables_are_of_them():
    spec = importlib.util.spec_from_file_location("fine_tuning", INTEGERS / "fine_tuning.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    rows = json.loads((INTEGERS / "results" / "fine_tuning.json").read_text())["rows"]
    for row in rows:
        assert row["images"] == 10_000
        assert row["commit"] and "dirty" not in row["commit"]
        rounded = row["bits"] if row["training"] == "rounded" else 0
        assert row["config"].get("weight_bits", 0) == rounded
    for network in ("net2", "resnet20"):
        found = (INTEGERS / "results" / f"{network}.md").read_text()
        assert found == script.table(network, rows)


@pytest.mark.slow
def test_fine_tuning_by_the_script(tmp_path, prepared):
    some = ("--smoke", "--trainings", "none", "rounded")
    run(INTEGERS / "fine_tuning.py", *some, "--output", str(tmp_path))
    rows = json.loads((tmp_path / "results" / "fine_tuning.json").read_text())["rows"]
    assert [(row["training"], row["bits"]) for row in rows] == [
        ("none", 32), ("none", 4), ("rounded", 4),
    ]  # fmt: skip
    assert all(row["snn"][3] > 0.9 for row in rows)
    assert len((tmp_path / "results" / "net2.md").read_text().splitlines()) == 2 + 2
    kept = tmp_path / "parameters" / "net2-4bits-seed0.safetensors"
    assert checkpoint.load_metadata(kept, kind="ann")["config"]["weight_bits"] == 4
