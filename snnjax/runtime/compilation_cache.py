"""Cache of compiled programs on disk, so that a command that runs again starts at once."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import jax
import platformdirs

__all__ = ["enable_compilation_cache"]


def enable_compilation_cache() -> Path | None:
    """Turn on JAX's persistent compilation cache, for small programs too.

    The folder is JAX_COMPILATION_CACHE_DIR if that is set, or else `compiled` in SNNJAX_CACHE_DIR
    or in the user's cache folder. SNNJAX_NO_CACHE set to any value turns the cache off. JAX's key
    of a program covers JAX's version, the compiler's options and the device, so a changed program
    is compiled anew. snnjax never deletes anything from the folder; the user may.

    The command line calls this at its start; other programs may.

    Returns:
      The folder, or None if the cache is off or, with a warning, if the folder cannot be written.
    """
    if os.environ.get("SNNJAX_NO_CACHE"):
        return None
    own = os.environ.get("SNNJAX_CACHE_DIR") or platformdirs.user_cache_dir("snnjax")
    folder = Path(
        jax.config.values["jax_compilation_cache_dir"] or Path(own) / "compiled"
    ).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        warnings.warn(
            f"compiled programs are not kept: cannot write {folder} ({error.strerror}); set"
            " JAX_COMPILATION_CACHE_DIR to another folder, or SNNJAX_NO_CACHE=1",
            stacklevel=2,
        )
        jax.config.update("jax_enable_compilation_cache", False)
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder
