"""Memory that XLA frees on a CPU stays with the process for the next step."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

MMAP_MAX, TRIM_THRESHOLD, ARENA_MAX = -4, -1, -8  # names of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tell the C library not to return large freed blocks to the system.

    A step of training or simulation frees the same large arrays that the next one allocates. glibc
    returns them to the system at once, which then clears every page anew: a large share of a
    step's time on a CPU. All threads share one heap, since glibc returns the heaps of single
    threads as a whole. In return the process never shrinks.

    The command line calls this at its start; other programs may.

    Returns:
      True if the C library accepted it; only glibc, on Linux, does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    wanted = {MMAP_MAX: 0, TRIM_THRESHOLD: -1, ARENA_MAX: 1}
    return all(mallopt(name, value) for name, value in wanted.items())
