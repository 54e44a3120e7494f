"""Several processes that run one command together, on one machine or on many."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from snnjax.runtime.cores import use_cores
from snnjax.runtime.ranges import check_ranges, whole

__all__ = [
    "LOST",
    "DeviceConfig",
    "another_process_ended",
    "check_same",
    "join",
    "leave",
    "why_no_device",
]

WAIT = 120
"""Seconds to wait until all processes have joined."""
HEARTBEAT = 20
"""Seconds without a sign of life after which a process counts as ended."""
LOST = (
    "another process of this command has ended, or has the same process_id; see its message, and"
    " start all processes again"
)


@dataclass(frozen=True, kw_only=True)
class DeviceConfig:
    """Devices and processes to compute on.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    devices: Annotated[int, whole(0, 2**16)] = 0
    """number of devices that share every batch; 0 for all that are visible, and on a CPU for as
    many of its cores as can share a batch evenly"""
    coordinator: str | None = None
    """HOST:PORT of the first process, if the same command runs in several processes
    [default: JAX_COORDINATOR_ADDRESS, or one process alone]"""
    processes: Annotated[int | None, whole(1, 2**16)] = None
    """number of processes that run the command [default: JAX_NUM_PROCESSES]"""
    process_id: Annotated[int | None, whole(0, 2**16 - 1)] = None
    """number of this process among them, from 0 [default: JAX_PROCESS_ID]"""

    def __post_init__(self) -> None:
        check_ranges(self)


class _Place(NamedTuple):
    """One process among several.

    address: HOST:PORT of the first process; processes: how many; number: of this one, from 0.
    """

    address: str
    processes: int
    number: int


def join(config: DeviceConfig, *, wait: float = WAIT) -> None:
    """Join the other processes of this command, or use the cores of this machine alone.

    Call it before anything is computed.

    Choice: a process that waits in vain, or loses the others, ends with one line on stderr and
    exit code 2, where JAX would abort with a trace. With SNNJAX_TRACEBACK set JAX does so.

    Args:
      config: address of the first process, number of processes, and number of this one.
      wait: seconds until all must have joined.

    Raises:
      ValueError: if the address or a number is missing or out of its range, or `devices` is given
        with several processes, each of which uses all of its own.
      OSError: if the process cannot join at the address.
    """
    place = _read_place(config)
    if place is None:
        use_cores()
        return

    if not os.environ.get("SNNJAX_TRACEBACK"):
        _end_on_abort()
    waiting = threading.Timer(wait, _give_up, (place, wait))
    waiting.daemon = True
    waiting.start()
    try:
        jax.distributed.initialize(
            place.address, place.processes, place.number, initialization_timeout=int(wait) + 60,
            heartbeat_timeout_seconds=HEARTBEAT, shutdown_timeout_seconds=HEARTBEAT,
        )  # fmt: skip
        jax.device_count()  # the processes exchange their lists of devices
    except (RuntimeError, ValueError) as error:
        raise OSError(
            f"process {place.number} of {place.processes} cannot join at {place.address} ({error});"
            " choose another port"
        ) from error
    finally:
        waiting.cancel()


def _read_place(config: DeviceConfig) -> _Place | None:
    """Place of this process by its options and the environment; None if it runs alone."""
    address = config.coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if not address:
        if (config.processes, config.process_id) != (None, None):
            raise ValueError("there is no coordinator; give --coordinator HOST:PORT")
        return None
    count = _read_number("processes", config.processes, "JAX_NUM_PROCESSES")
    number = _read_number("process_id", config.process_id, "JAX_PROCESS_ID")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"coordinator is {address!r}; want HOST:PORT, such as 10.0.0.1:4711")
    if not 0 <= number < count:
        raise ValueError(
            f"process_id is {number}; want it in [0, {count}), a different one for each process"
        )
    if config.devices:
        raise ValueError(
            f"devices is {config.devices}, but each of several processes uses all of its own;"
            " leave --devices out"
        )
    return _Place(address, count, number)


def _read_number(name: str, value: int | None, variable: str) -> int:
    found = os.environ.get(variable, "") if value is None else str(value)
    if not found.isdecimal():
        raise ValueError(
            f"{name} is {found or 'not given'}; want a whole number of at least 0, by"
            f" --{name.replace('_', '-')} or {variable}"
        )
    return int(found)


def _give_up(place: _Place, wait: float) -> None:
    """End this process, which has waited in vain for the others."""
    missing = "all others" if place.number == 0 else "process 0"
    print(
        f"snnjax: process {place.number} of {place.processes} waited {wait:g} s at"
        f" {place.address}, and {missing} did not come; start all of them, with the same address",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    os._exit(2)


def _end_on_abort() -> None:
    """Make an abort of the JAX runtime end this process with one line and exit code 2.

    The runtime aborts when process 0 is gone or two processes have one number, and Python is not
    asked before. Its log and its trace go to the file descriptor 2, which is therefore closed to
    it; Python keeps standard error under another number.

    Source: `jax.distributed.initialize` leaves no choice: the callback that its client could take
    for this case is not among its arguments, and fails in jaxlib 0.10.
    """
    python = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    for handler in logging.getLogger().handlers:
        if getattr(handler, "stream", None) is sys.stderr:
            handler.setStream(python)  # type: ignore[attr-defined]
    sys.stderr = python
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    ctypes.pythonapi.PyOS_setsig(signal.SIGABRT, ctypes.cast(_ABORT, ctypes.c_void_p))


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _ABORT(number: int) -> None:
    """Handle SIGABRT in the thread that aborts, where Python's own handlers come too late."""
    del number
    print(f"snnjax: {LOST}", file=sys.stderr, flush=True)
    os._exit(2)


def why_no_device() -> str | None:
    """Return why JAX cannot start on its devices, or None if it can.

    JAX_PLATFORMS=cuda on a machine without a GPU is one reason.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # AssertionError where a plugin is missing
        reason = " ".join(str(error).split()) or "no such device was found"
        return f"JAX_PLATFORMS is {os.environ.get('JAX_PLATFORMS', '')!r}; {reason}"
    return None


def leave(code: int) -> None:
    """End this process at once if it failed; wait for the others if it succeeded.

    Otherwise a process that failed would wait for the others, and they for it. A process that runs
    alone just returns.

    Args:
      code: exit code; 0 is success.
    """
    if not jax.distributed.is_initialized():
        return
    if code:
        sys.stderr.flush()
        os._exit(code)
    jax.distributed.shutdown()


def another_process_ended(error: BaseException) -> bool:
    """Return True if an error says that another process of this command has ended."""
    signs = ("Gloo", "NCCL", "coordination service", "Connection reset", "heartbeat")
    return jax.distributed.is_initialized() and any(sign in str(error) for sign in signs)


def check_same(what: str, *values: Any) -> None:
    """Check that all processes have equal values.

    Args:
      what: the values in words, for the message.
      values: anything whose `repr` shows all of it.

    Raises:
      ValueError: in every process, naming the processes that differ.
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
