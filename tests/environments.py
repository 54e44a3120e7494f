"""Environments of processes that tests start."""

import os

from paths import TESTS

QUICK_XLA = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
"""Flags for small programs, whose compilation takes longer than their computation."""


def environment(device_count):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XLA", "JAX"))}
    return {
        **kept, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(TESTS),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={device_count} {QUICK_XLA}",
    }  # fmt: skip
