"""Several devices, of one machine or many: a batch is shared among them, parameters are copied."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

__all__ = [
    "DeviceConfig",
    "at_once",
    "check_divides",
    "check_same",
    "copied",
    "cores_are_devices",
    "everywhere",
    "fetch",
    "leave",
    "lost_another",
    "make_mesh",
    "share",
    "share_filled",
    "start",
    "use_cores",
]

AXIS = "images"
WAIT = 120
"""Seconds until all processes must have come."""
MOST_CORES = 8
"""Cores that become devices; further ones are threads of these. Chosen with two at hand: the more
devices, the fewer images each has, and the more they tell each other in training."""
HEARTBEAT = 20
"""Seconds after which a process that says nothing counts as dead."""


@dataclass(frozen=True, kw_only=True)
class DeviceConfig:
    """Where to compute.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    devices: int = 0
    """share every batch among so many devices; 0 for all that are visible, and on a CPU for as many
    of its cores as can share a batch evenly"""
    coordinator: str | None = None
    """HOST:PORT of the first process, where the same command runs in several
    [default: JAX_COORDINATOR_ADDRESS, or one process alone]"""
    processes: int | None = None
    """how many processes run it [default: JAX_NUM_PROCESSES]"""
    process_id: int | None = None
    """which of them this is, from 0 [default: JAX_PROCESS_ID]"""

    def __post_init__(self) -> None:
        if self.devices < 0:
            raise ValueError(f"devices is {self.devices}; want at least 0")


def start(config: DeviceConfig, *, wait: float = WAIT) -> None:
    """Join the other processes of this command, or use the cores alone; before anything is
    computed.

    Choice: who waits in vain for the others ends with one line and exit code 2, where JAX would
    abort with a trace.

    Args:
      config: where the first process listens, how many there are and which this is.
      wait: seconds until all must have come.

    Raises:
      ValueError: if the address, the number or the place is missing or out of its range, or
        `devices` is given with several processes, each of which uses all of its own.
    """
    address = config.coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if not address:
        if (config.processes, config.process_id) != (None, None):
            raise ValueError("there is no coordinator; give --coordinator HOST:PORT")
        use_cores()
        return
    processes = _number("processes", config.processes, "JAX_NUM_PROCESSES")
    place = _number("process_id", config.process_id, "JAX_PROCESS_ID")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"coordinator is {address!r}; want HOST:PORT, such as 10.0.0.1:4711")
    if not 0 <= place < processes:
        raise ValueError(
            f"process_id is {place}; want it in [0, {processes}), for each process one"
        )
    if config.devices:
        raise ValueError(
            f"devices is {config.devices}, but each of several processes uses all of its own;"
            " leave --devices out"
        )

    def give_up() -> None:
        missing = "all others" if place == 0 else "process 0"
        print(
            f"snnjax: process {place} of {processes} waited {wait:g} s at {address}, and {missing}"
            " did not come; start all of them, with the same address",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        os._exit(2)

    waiting = threading.Timer(wait, give_up)
    waiting.daemon = True
    waiting.start()
    try:
        jax.distributed.initialize(
            address, processes, place, initialization_timeout=int(wait) + 60,
            heartbeat_timeout_seconds=HEARTBEAT, shutdown_timeout_seconds=HEARTBEAT,
        )  # fmt: skip
        jax.device_count()  # the processes tell each other of their devices
    except (RuntimeError, ValueError) as error:
        raise OSError(
            f"process {place} of {processes} cannot join at {address} ({error});"
            " choose another port"
        ) from error
    finally:
        waiting.cancel()


def _number(name: str, value: int | None, variable: str) -> int:
    found = os.environ.get(variable, "") if value is None else str(value)
    if not found.isdigit():
        raise ValueError(
            f"{name} is {found or 'not given'}; want a whole number of at least 0, by"
            f" --{name.replace('_', '-')} or {variable}"
        )
    return int(found)


def leave(code: int) -> None:
    """End this process among several at once, if it failed; wait for the others if it did not.

    Without this a process that failed would wait for the others, and they for it.
    """
    if not jax.distributed.is_initialized():
        return
    if code:
        sys.stderr.flush()
        os._exit(code)
    jax.distributed.shutdown()


def lost_another(error: BaseException) -> bool:
    """Whether an error says that another process of this command has ended."""
    signs = ("Gloo", "NCCL", "coordination service", "Connection reset", "heartbeat")
    return jax.distributed.is_initialized() and any(sign in str(error) for sign in signs)


def use_cores() -> None:
    """Make up to MOST_CORES cores devices where JAX computes on a CPU; before it computes anything.

    XLA divides few operations of a simulation among the threads of one device, so two devices on
    two cores are faster than one device on both. A number of devices that was asked for by
    JAX_NUM_CPU_DEVICES or XLA_FLAGS stays, and so do the devices of a process that has computed
    already.
    """
    asked = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if asked or jax.config.values["jax_num_cpu_devices"] > 0:
        return
    with contextlib.suppress(RuntimeError):  # of a process that knows its devices already
        jax.config.update("jax_num_cpu_devices", min(_count_cores(), MOST_CORES))


def cores_are_devices() -> bool:
    """Whether JAX computes on a CPU with a device for each core that this process may use."""
    return jax.default_backend() == "cpu" and jax.local_device_count() >= _count_cores()


def _count_cores() -> int:
    own = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(own(0)) if own else os.cpu_count() or 1


def make_mesh(count: int = 0, *, batch_size: int = 0) -> Mesh:
    """So many of the visible devices, of all processes, in one row; 0 for all.

    Args:
      count: how many.
      batch_size: where it is given and `count` is 0, cores of a CPU are taken that can share it
        evenly; other devices that cannot are for `check_divides` to refuse.

    Raises:
      ValueError: if there are not so many.
    """
    visible = jax.devices()
    if not 0 <= count <= len(visible):
        raise ValueError(f"devices is {count}, and {len(visible)} are visible; want at most those")
    if not count and _are_cores(visible):
        count = math.gcd(len(visible), batch_size)  # all where it is 0
    chosen = visible[: count or None]
    return jax.make_mesh((len(chosen),), (AXIS,), axis_types=(AxisType.Auto,), devices=chosen)


def _are_cores(found: Iterable[jax.Device]) -> bool:
    """Whether devices are cores of this machine, which share its memory."""
    return jax.process_count() == 1 and all(device.platform == "cpu" for device in found)


def at_once(mesh: Mesh, batch_size: int) -> int:
    """How many images all devices get at a time: `batch_size` each, but the cores of a CPU share
    them, as they share its memory.
    """
    if _are_cores(mesh.devices.flat):
        return -(-batch_size // mesh.size) * mesh.size
    return batch_size * mesh.size


def check_divides(batch_size: int, mesh: Mesh) -> None:
    """Refuse a batch that cannot be shared evenly.

    Raises:
      ValueError: naming the nearest sizes that can.
    """
    if batch_size % mesh.size:
        less = batch_size // mesh.size * mesh.size
        sizes = " or ".join(str(n) for n in (less, less + mesh.size) if n)
        raise ValueError(
            f"batch_size is {batch_size}, which {mesh.size} devices cannot share evenly; want"
            f" {sizes}, or fewer --devices"
        )


def share(mesh: Mesh, array: np.ndarray) -> jax.Array:
    """An array whose first axis is divided among the devices; every process has all of it."""
    places = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.make_array_from_callback(array.shape, places, lambda index: array[index])


def share_filled(mesh: Mesh, images: np.ndarray, labels: np.ndarray) -> list[jax.Array]:
    """Images and labels, shared; filled up to an even number with images whose label is -1."""
    missing = -len(images) % mesh.size
    return [
        share(mesh, np.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)], constant_values=v))
        for array, v in ((images, 0), (labels, -1))
    ]


def everywhere(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that is whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def copied(mesh: Mesh, tree: Any) -> Any:
    """A pytree of arrays, whole on every device; every process has the same."""
    places = everywhere(mesh)

    def copy(leaf: Any) -> jax.Array:
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, places, lambda index: array[index])

    return jax.tree.map(copy, tree)


def fetch(tree: Any) -> Any:
    """A pytree of arrays, wherever they are, as NumPy's in every process."""

    def whole(leaf: jax.Array) -> np.ndarray:
        if not leaf.is_fully_addressable:
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(leaf)

    return jax.tree.map(whole, tree)


def check_same(what: str, *values: Any) -> None:
    """Refuse to go on where the processes do not have the same.

    Raises:
      ValueError: in every process, naming what differs.
    """
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256(repr(values).encode()).digest()
    every = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8))
    if (every != every[0]).any():
        different = np.flatnonzero((every != every[0]).any(-1)).tolist()
        raise ValueError(
            f"{what} of process {', '.join(map(str, different))} and of process 0 differ; want the"
            " same options everywhere, and folders that all processes see"
        )
