"""Settings of every test: fixed seeds, one device, no time limit on the first call, no cache of
the user's.

The processes of a run share a cache of what takes long to compile, which ends with the run. What
one of them has compiled goes with each file of tests: every program keeps parts of memory mapped,
and with some 65,000 of these Linux gives no more, which ends the process in a segmentation fault.
"""

import atexit
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


@pytest.fixture(autouse=True, scope="module")
def programs_of_one_file() -> Iterator[None]:
    yield
    import jax  # behind the settings above

    jax.clear_caches()
