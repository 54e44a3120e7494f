"""Settings of every test: fixed seeds, one device, and a folder of compiled programs.

Nearly all the time of a test is compilation, so compiled programs are kept in `.jax_cache` in the
repository, from run to run. JAX's key of a program holds the program, its own version and the
compiler's options, so a changed program is compiled anew. Several processes may share the folder:
JAX takes a file that is half written, damaged or gone for a program that it has to compile.

A compiled program keeps parts of memory mapped. Linux ends a process with more than 65,530 of
these parts, so the programs in memory are dropped every few tests; the folder gives them back.
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

TESTS_PER_CLEARING = 40
"""Tests between two clearings; the hungriest file has some 300 parts mapped for each of its."""

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
def programs_of_few_tests(count=itertools.count(1)) -> Iterator[None]:
    yield
    if next(count) % TESTS_PER_CLEARING == 0:
        import jax  # behind the settings above

        jax.clear_caches()
