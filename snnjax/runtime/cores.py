"""Cores of a CPU as JAX devices."""

from __future__ import annotations

import contextlib
import os

import jax

__all__ = ["cores_are_devices", "use_cores"]

MOST_CORES = 8
"""Largest number of cores that become devices; further ones are threads of these. Chosen on two
cores: with more devices each has fewer images, and they exchange more data in training."""


def use_cores() -> None:
    """Make up to MOST_CORES cores JAX devices on a CPU; call it before anything is computed.

    XLA divides few operations of a simulation among the threads of one device, so two devices on
    two cores are faster than one device on both. A number of devices set by JAX_NUM_CPU_DEVICES or
    XLA_FLAGS is kept, and so are the devices of a process that has computed already.
    """
    is_set = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if is_set or jax.config.values["jax_num_cpu_devices"] > 0:
        return
    with contextlib.suppress(RuntimeError):  # the process has computed already
        jax.config.update("jax_num_cpu_devices", min(count_cores(), MOST_CORES))


def cores_are_devices() -> bool:
    """Return True if JAX computes on a CPU and has a device for each core of this process."""
    return jax.default_backend() == "cpu" and jax.local_device_count() >= count_cores()


def count_cores() -> int:
    """Number of cores that this process may use."""
    own = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(own(0)) if own else os.cpu_count() or 1
