"""Several devices and several processes say what one says, and none waits for the dead."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from paths import TESTS

from snnjax.app import cli
from snnjax.io import checkpoint
from snnjax.runtime import devices
from snnjax.runtime.devices import DeviceConfig

PATIENCE = 600
"""Seconds for what takes ten on an idle machine; the bounds on dying are others."""


def environment(device_count):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XLA", "JAX"))}
    return {
        **kept, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(TESTS),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={device_count}",
    }  # fmt: skip


@pytest.fixture(scope="module")
def eight():
    command = [sys.executable, str(TESTS / "runtime/on_eight_devices.py")]
    done = subprocess.run(command, env=environment(8), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_eight_devices_count_what_one_counts(eight):
    assert eight["1"]["scores"] == eight["8"]["scores"]
    assert eight["1"]["exits"] == eight["8"]["exits"]
    assert len(set(eight["8"]["exits"]["stopped"])) > 2


def test_each_device_has_its_share(eight):
    assert eight["1"]["parts"] == [[3, 16, 3]]
    assert eight["8"]["parts"] == [[3, 2, 3]] * 8
    assert eight["all visible"] == 8
    assert eight["sharing 12"] == 4


def test_no_device_computes_the_images_of_another(eight):
    assert eight["gathers"] == [False, False, False]


CORES = "from snnjax import devices; devices.use_cores(); import jax; print(jax.device_count())"


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, min(len(os.sched_getaffinity(0)), devices.MOST_CORES)),
        ({"JAX_NUM_CPU_DEVICES": "3"}, 3),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, 5),
    ],
    ids=["the cores", "jax", "xla"],
)
def test_each_core_is_a_device_unless_another_number_was_asked_for(asked, count):
    own = {k: v for k, v in environment(1).items() if k != "XLA_FLAGS"} | asked
    command = [sys.executable, "-c", CORES]
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=True)
    assert int(done.stdout) == count


def test_eight_devices_train_the_network_that_one_trains(eight):
    one, all_ = eight["1"]["trained"], eight["8"]["trained"]
    for a, b in zip(one["history"], all_["history"], strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    assert set(one["variables"]) == set(all_["variables"])
    for name, value in one["variables"].items():
        np.testing.assert_allclose(value, all_["variables"][name], atol=1e-5, err_msg=name)


def test_what_cannot_be_shared_is_refused(eight):
    assert eight["refused"] == [
        "devices is 9, and 8 are visible; want at most those",
        "batch_size is 12, which 8 devices cannot share evenly; want 8 or 16, or fewer --devices",
    ]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def begin(command, folder, place, port, *, processes=2, more=()):
    """One process of several, in its folder."""
    line = [
        *command, "--coordinator", f"127.0.0.1:{port}", "--processes", str(processes),
        "--process-id", str(place), *more,
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "snnjax", *line], cwd=folder, env=environment(1), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


RUN = [
    "run", "--network", "net1", "--epochs", "1", "--num-steps", "2", "--max-images", "300",
    "--batch-size", "100", "--output", "both",
]  # fmt: skip


def test_two_processes_do_what_two_devices_do(tmp_path):
    pytest.importorskip("mlxtend")
    port = free_port()
    both = [begin(RUN, tmp_path, place, port) for place in (0, 1)]
    said = [process.communicate(timeout=PATIENCE) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "results: both/simulation.json" in said[0][0]
    others = [line for line in said[1][0].splitlines() if not line.startswith("[Gloo]")]
    assert others == []  # the second is silent
    alone = subprocess.run(
        [sys.executable, "-m", "snnjax", *RUN[:-1], "alone"], cwd=tmp_path, env=environment(2),
        capture_output=True, text=True,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    names = {name: {p.name for p in (tmp_path / name).iterdir()} for name in ("both", "alone")}
    assert names["both"] == names["alone"]
    variables = [
        checkpoint.load(tmp_path / name / "ann.safetensors", kind="ann").tree
        for name in ("both", "alone")
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), *variables)
    records = [
        json.loads((tmp_path / name / "simulation.json").read_text()) for name in ("both", "alone")
    ]
    np.testing.assert_allclose(records[0]["snn"], records[1]["snn"], atol=0.01)
    np.testing.assert_allclose(records[0]["ann"], records[1]["ann"], atol=0.01)


@pytest.mark.parametrize("dies", [0, 1])
def test_a_killed_process_ends_the_other(tmp_path, dies):
    pytest.importorskip("mlxtend")
    port = free_port()
    command = ["train", "--network", "net1", "--epochs", "10000", "--max-images", "300",
               "--output", "runs"]  # fmt: skip
    both = [begin(command, tmp_path, place, port) for place in (0, 1)]
    try:
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "runs" / "training.safetensors").exists():
            assert time.monotonic() < deadline and all(p.poll() is None for p in both)
            time.sleep(0.2)
        both[dies].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        _, said = both[1 - dies].communicate(timeout=3 * devices.HEARTBEAT)
        assert both[1 - dies].returncode != 0
        assert "another process of this command has ended" in said or "another task died" in said
        assert time.monotonic() - killed < 2 * devices.HEARTBEAT
    finally:
        for process in both:
            process.kill()


def test_processes_with_other_options_are_refused_in_each(tmp_path):
    pytest.importorskip("mlxtend")
    port = free_port()
    both = [
        begin(["train", "--output", "runs"], tmp_path, place, port, more=["--seed", str(place)])
        for place in (0, 1)
    ]
    for process in both:
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2
        assert "options and files in runs of process 1 and of process 0 differ" in said


ALONE = (
    "from snnjax.runtime.devices import DeviceConfig, start; import sys\n"
    "start(DeviceConfig(coordinator='127.0.0.1:' + sys.argv[1], processes=2,"
    " process_id=int(sys.argv[2])), wait=3)"
)


@pytest.mark.parametrize(("place", "missing"), [(0, "all others"), (1, "process 0")])
def test_who_waits_in_vain_says_so(place, missing):
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(free_port()), str(place)], env=environment(1),
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"process {place} of 2 waited 3 s at 127.0.0.1:" in done.stderr
    assert f"and {missing} did not come; start all of them" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--devices -1", "devices is -1; want at least 0"),
        ("--devices 99", "devices is 99, and 1 are visible; want at most those"),
        ("--processes 2", "there is no coordinator; give --coordinator HOST:PORT"),
        ("--coordinator 10.0.0.1:1", "processes is not given; want a whole number"),
        ("--coordinator 10.0.0.1 --processes 2 --process-id 0", "'10.0.0.1'; want HOST:PORT"),
        ("--coordinator a:1 --processes 2 --process-id 2", "process_id is 2; want it in [0, 2)"),
        ("--coordinator a:1 --processes 2 --process-id 0 --devices 1", "leave --devices out"),
    ],
)
def test_options_out_of_range_are_one_line(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *options.split()]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_environment_says_where_to_meet(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "10.0.0.1:4711")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    with pytest.raises(ValueError, match=r"process_id is not given; .* or JAX_PROCESS_ID"):
        devices.start(DeviceConfig())
    monkeypatch.setenv("JAX_PROCESS_ID", "5")
    with pytest.raises(ValueError, match=r"process_id is 5; want it in \[0, 2\)"):
        devices.start(DeviceConfig())
