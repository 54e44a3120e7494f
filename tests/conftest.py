"""Settings of every test: fixed seeds, one device, no time limit on the first call, no cache of
the user's.

The processes of a run share a cache of what takes long to compile, which ends with the run.
"""

import atexit
import os
import shutil
import tempfile

from hypothesis import settings

os.environ["SNNJAX_NO_CACHE"] = "1"
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "1")  # the processes of a run share the cores
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # a worker has it from the process above
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="snnjax-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

settings.register_profile("snnjax", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("snnjax")
