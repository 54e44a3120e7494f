"""Settings of every test: fixed seeds, one device, no time limit on the first call, no cache of
the user's.

The processes of a run share a cache of what takes long to compile, which ends with the run. What
one of them has compiled goes every few tests: every program keeps parts of memory mapped, and with
some 65,000 of these Linux gives no more, which ends the process in a segmentation fault.
"""

import atexit
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ["SNNJAX_NO_CACHE"] = "1"
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "1")  # the processes of a run share the cores
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # a worker has it from the process above
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="snnjax-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

settings.register_profile("snnjax", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("snnjax")


KEPT = 40
"""Tests whose programs are kept; the hungriest file has some 300 parts mapped for each of its."""


@pytest.fixture(autouse=True)
def programs_of_few_tests(count=itertools.count(1)) -> Iterator[None]:
    yield
    if next(count) % KEPT == 0:
        import jax  # behind the settings above

        jax.clear_caches()
