"""Settings of every test: fixed seeds, one device, and a folder of compiled programs.

Nearly all the time of a test is compilation, so compiled programs are kept in `.jax_cache` in the
repository, from run to run. JAX's key of a program holds the program, its own version and the
compiler's options, so a changed program is compiled anew. Several processes may share the folder:
JAX takes a file that is half written, damaged or gone for a program that it has to compile.

A compiled program keeps parts of memory mapped. Linux ends a process with more than 65,530 of
these parts, so the programs in memory are dropped when there are many; the folder gives them back.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

FOLDER = Path(__file__).parent.parent / ".jax_cache"

KEPT_BYTES = 500_000_000
"""Size of the folder at which the programs written first are deleted; one run writes a fifth."""

MAPPED_PARTS = 30_000
"""Mapped parts of memory from which on programs are dropped."""

TESTS_PER_COUNT = 10
"""Tests between two counts of mapped parts; the hungriest file has some 300 for each of its."""

os.environ["SNNJAX_NO_CACHE"] = "1"  # the user's own cache stays out of it
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "1")  # the processes of a run share the cores
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(FOLDER))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

settings.register_profile("snnjax", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("snnjax")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # once, in the process that starts the workers
        delete_oldest(FOLDER, KEPT_BYTES)


def delete_oldest(folder: Path, kept_bytes: int) -> None:
    """Delete the files written first until the others have at most `kept_bytes`."""
    files = []
    for path in folder.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):  # another run may delete at the same time
            files.append((path.stat(), path))
    total = 0
    for found, path in sorted(files, key=lambda pair: -pair[0].st_mtime):
        total += found.st_size
        if total > kept_bytes:
            path.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def few_mapped_parts(count=itertools.count(1)) -> Iterator[None]:
    yield
    if next(count) % TESTS_PER_COUNT == 0 and mapped_parts() > MAPPED_PARTS:
        import jax  # behind the settings above

        jax.clear_caches()


def mapped_parts() -> int:
    """Parts of memory that this process has mapped; 0 where the system does not tell."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.is_file() else 0
