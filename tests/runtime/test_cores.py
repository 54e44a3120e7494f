"""Each core of a CPU is a device, unless another number was asked for."""

import os
import subprocess
import sys

import pytest
from environments import environment

from snnjax.runtime import cores

CORES = (
    "from snnjax.runtime.cores import use_cores; use_cores(); import jax; print(jax.device_count())"
)


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, min(len(os.sched_getaffinity(0)), cores.MOST_CORES)),
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
