"""Several processes give the results of one, and none waits for one that has ended."""

import json
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from environments import environment

from snnjax.app import cli
from snnjax.io import checkpoint
from snnjax.runtime import processes
from snnjax.runtime.processes import DeviceConfig

PATIENCE = 600
"""Seconds to wait for what takes ten on an idle machine; the limits on dying are shorter."""


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


@pytest.mark.slow
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


@pytest.mark.slow
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
        _, said = both[1 - dies].communicate(timeout=3 * processes.HEARTBEAT)
        assert both[1 - dies].returncode == 2
        assert said.count("another process of this command has ended") == 1
        assert "trace" not in said
        assert time.monotonic() - killed < 2 * processes.HEARTBEAT
    finally:
        for process in both:
            process.kill()


@pytest.mark.slow
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
    "from snnjax.runtime.processes import DeviceConfig, join; import sys\n"
    "join(DeviceConfig(coordinator='127.0.0.1:' + sys.argv[1], processes=2,"
    " process_id=int(sys.argv[2])), wait=3)"
)


JOINED = f"{ALONE.replace('wait=3', 'wait=6')}; import time; print('joined'); time.sleep(60)"


@pytest.mark.slow
@pytest.mark.parametrize("end", ["process 0 is killed", "two have one number"])
def test_f_a_lost_coordinator_or_a_second_process_of_a_number_is_one_line(end):
    port = str(free_port())

    def start(place):
        return subprocess.Popen(
            [sys.executable, "-u", "-c", JOINED, port, place], env=environment(1), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    all_of_them = [start("0"), start("1")]
    try:
        for process in all_of_them:
            while "joined" not in process.stdout.readline():
                assert process.poll() is None
        if end == "two have one number":
            all_of_them.append(start("1"))
        else:
            all_of_them[0].kill()
            all_of_them[0].communicate()
            del all_of_them[0]
        for process in all_of_them:
            _, said = process.communicate(timeout=PATIENCE)
            assert process.returncode == 2
            assert said.startswith("snnjax: ") and said.count("\n") == 1
    finally:
        for process in all_of_them:
            process.kill()


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
        processes.join(DeviceConfig())
    monkeypatch.setenv("JAX_PROCESS_ID", "5")
    with pytest.raises(ValueError, match=r"process_id is 5; want it in \[0, 2\)"):
        processes.join(DeviceConfig())
