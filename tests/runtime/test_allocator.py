"""Freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys, threading
from snnjax.runtime.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = int(sys.argv[2])

def use():
    blocks = [libc.malloc(size) for _ in range(2)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks:
        libc.free(block)

def faults():
    use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        use()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

if sys.argv[3] == "thread":
    thread = threading.Thread(target=faults)
    thread.start()
    thread.join()
else:
    faults()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
@pytest.mark.parametrize(("size", "where"), [(64 * 2**20, "main"), (40 * 2**20, "thread")])
def test_a_freed_block_is_used_again_without_asking_the_system(size, where):
    command = [sys.executable, "-c", PROGRAM]
    faults = {
        how: int(subprocess.check_output([*command, how, str(size), where], text=True))
        for how in ("keep", "leave")
    }
    assert faults["keep"] < 100 < faults["leave"]
