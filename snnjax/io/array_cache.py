"""Decoded images kept in files, so that a data set is decoded once.

A split is one .npy file whose name holds the CRC-32 of its contents.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs

from snnjax.io.splits import Split

__all__ = ["fingerprint", "load_or_build"]


def load_or_build(key: str, build: Callable[[], Split]) -> Split:
    """Return the split that is kept under `key`, or build it and keep it.

    A file that is damaged or holds something else is built again. Where the folder cannot be
    written, a RuntimeWarning says so once.
    """
    split = _read(key)
    if split is None:
        split = build()
        _write(key, split)
    return split


def fingerprint(folder: Path) -> str:
    """Return a hash of every file's name and contents, to tell two copies of a data set apart."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            digest.update(path.name.encode() + b"\0")
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _cache_dir() -> Path:
    folder = os.environ.get("SNNJAX_CACHE_DIR") or platformdirs.user_cache_dir("snnjax")
    return Path(folder).expanduser()


def _read(key: str) -> Split | None:
    for path in sorted(_cache_dir().glob(f"{key}-*.npy")):
        try:
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
            if path.name == _file_name(key, rows):
                return Split(*(np.array(rows[field], order="C") for field in Split._fields))
        except Exception:  # truncated, foreign or unreadable: it is built again
            continue
    return None


def _write(key: str, split: Split) -> None:
    kind = [("images", np.uint8, split.images.shape[1:]), ("labels", np.int32)]
    rows = np.empty(len(split.labels), kind)
    rows["images"], rows["labels"] = split
    folder = _cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                np.lib.format.write_array(file, rows, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())  # or a power cut leaves the name without the contents
            Path(temporary).replace(folder / _file_name(key, rows))
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        _warn_unwritable(folder, error.strerror or type(error).__name__)


def _file_name(key: str, rows: np.ndarray) -> str:
    return f"{key}-{zlib.crc32(rows.view(np.uint8).data):08x}.npy"


@functools.cache
def _warn_unwritable(folder: Path, reason: str) -> None:
    """Warn once in a process for each folder, whatever the warning filters say."""
    warnings.warn(
        f"cannot keep decoded images in {folder} ({reason}), so they are decoded again every "
        "time: set SNNJAX_CACHE_DIR to a folder that can be written",
        RuntimeWarning,
        stacklevel=2,
    )
