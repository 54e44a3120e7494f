"""Environments of processes that tests start."""

import os

from paths import TESTS


def environment(device_count):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XLA", "JAX"))}
    return {
        **kept, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(TESTS),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={device_count}",
    }  # fmt: skip
