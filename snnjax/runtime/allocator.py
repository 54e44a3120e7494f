"""Memory of the process: what XLA frees on a CPU stays for its next step."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

MMAP_MAX, TRIM_THRESHOLD, ARENA_MAX = -4, -1, -8  # names of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tell the C library not to hand large freed blocks back to the system.

    A step of training or simulation frees the same large arrays that the next one asks
    for again. glibc returns them at once, and the system must then clear every page anew: a
    large share of a step's time on a CPU. The threads share one heap, since those of their own
    are handed back whole. The price: the process stays as large as it once was.

    The command line calls this at its start; other programs may.

    Returns:
      Whether the C library took it; only glibc, of Linux, does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    wanted = {MMAP_MAX: 0, TRIM_THRESHOLD: -1, ARENA_MAX: 1}
    return all(mallopt(name, value) for name, value in wanted.items())
