"""Lock of a folder, so that two processes do not write results into it at the same time."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from snnjax.io.checkpoint import check_writable, is_writer

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["NAME", "lock_folder"]

logger = logging.getLogger(__name__)

NAME = ".lock"
"""File in a locked folder: process, host and start time of the owner as JSON."""


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes from locking `folder` while the block runs; make it if it is missing.

    Choice: the operating system holds the lock and drops it when the process ends in any way, so a
    file that a killed process left behind locks nothing, and is taken over. Of several processes
    that run one command, the one that writes locks. Where a file system has no locks, a note says
    so.

    Raises:
      ValueError: if another process has locked it; the message names that process.
      OSError: if the folder cannot be written.
    """
    if not is_writer():
        yield
        return
    path = Path(folder) / NAME
    check_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _locked(path)
    try:
        owner = {"process": os.getpid(), "host": socket.gethostname(), "since": _now()}
        os.truncate(handle, 0)
        os.pwrite(handle, json.dumps(owner).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock ends, so that no other owner's file goes
        os.close(handle)


def _locked(path: Path) -> int:
    """Open and lock the file; return its handle.

    Raises:
      ValueError: if another process holds the lock.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 1000, 0)
            os.close(handle)
            raise ValueError(_refusal(path, owner)) from None
        except OSError as error:
            logger.info("note: %s cannot be locked (%s)", path.parent, error.strerror)
        if _is_at(path, handle):
            return handle
        os.close(handle)  # the owner before has deleted the file in between


def _is_at(path: Path, handle: int) -> bool:
    """Return True if `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _refusal(path: Path, content: bytes) -> str:
    """Message that names the owner of a lock."""
    try:
        who = "process {process} on {host}, since {since},".format(**json.loads(content))
    except (ValueError, KeyError, TypeError):  # it has not written its name yet
        who = "another process"
    return (
        f"{path.parent} is in use: {who} trains there; wait until it has ended, or choose another"
        " --output folder"
    )


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(" ", "seconds")
