"""Pytrees of arrays in safetensors files, written whole or not at all; no pickle."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors
import safetensors.numpy
from jax.experimental import multihost_utils

__all__ = [
    "Checkpoint",
    "check_exists",
    "check_writable",
    "is_writer",
    "kind_of",
    "load",
    "load_metadata",
    "save",
    "write_whole",
]

logger = logging.getLogger(__name__)

Tree = dict[str, Any]

DAMAGED = "its content differs from what was written; copy it again, or make it again"


class Checkpoint(NamedTuple):
    """tree: nested dicts of arrays; metadata: JSON that was saved with them."""

    tree: Tree
    metadata: dict[str, Any]


def is_writer() -> bool:
    """Return True in the process that writes files and prints: the first one, or the only one."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def check_exists(path: Path) -> None:
    """Check that there is a file to read.

    Raises:
      FileNotFoundError: if there is none, or a folder.
    """
    if not Path(path).is_file():
        found = f"{path} is a folder" if Path(path).is_dir() else f"no checkpoint at {path}"
        raise FileNotFoundError(f"{found}; want a file made by snnjax")


def check_writable(*paths: Path) -> None:
    """Check that files could be written, before the work whose results they will hold.

    Nothing is written and no folder is made. A disk that fills up later is not foreseen.

    Raises:
      OSError: naming the first file that cannot be written, such as one in the root folder.
    """
    for path in map(Path, paths if is_writer() else ()):
        try:
            reason = _reason_against(path.absolute())
        except OSError as error:  # such as a name that is too long
            reason = error.strerror
        if reason:
            raise OSError(f"cannot write {path}: {reason}; choose another --output folder")


def _reason_against(path: Path) -> str | None:
    """Reason for which a file cannot be written, or None if there is none."""
    if path.is_dir():
        return os.strerror(errno.EISDIR)
    if path.resolve().parent == Path(path.anchor):
        return "it would be in the root folder"
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir():
        return os.strerror(errno.ENOTDIR)
    return None if os.access(folder, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file at once, so that `path` holds either its old content or all of the new.

    Where several processes run one command, all call this function: the first one writes, and
    the others continue after that.

    Raises:
      OSError: naming the file, if its folder cannot be written or the disk is full.
    """
    if is_writer():
        _write_whole(Path(path), content)
    if jax.distributed.is_initialized():
        multihost_utils.sync_global_devices(f"written: {path}")


def _write_whole(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OSError(
            f"cannot write {path}: {error.strerror}; choose another --output folder"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise OSError(
            f"cannot write {path}: {error.strerror}; free some space or choose another folder"
        ) from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save(path: Path, tree: Mapping[str, Any], *, kind: str, metadata: Mapping[str, Any]) -> None:
    """Save nested dicts of arrays, and a mapping of JSON values with them.

    The file also holds a SHA-256 of both, which `load` checks. Equal content makes equal bytes.

    Args:
      path: the file; its folder is made if missing.
      tree: nested dicts with arrays as leaves; keys contain no "/".
      kind: type of the content, such as "ann"; `load` wants the same.
      metadata: facts that a reader of the arrays needs.

    Raises:
      OSError: if the file cannot be written; an older file is then left as it was.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    arrays = {
        jax.tree_util.keystr(keys, simple=True, separator="/"): np.asarray(leaf, order="C")
        for keys, leaf in leaves
    }
    text = json.dumps({"kind": kind, **metadata}, sort_keys=True)
    header = {"snnjax": text, "sha256": _digest(arrays, text)}
    write_whole(path, _in_order(safetensors.numpy.save(arrays, metadata=header)))


def _in_order(content: bytes) -> bytes:
    """Content of a file with its header sorted, so that equal files have equal bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the arrays begin at a multiple of 8
    return len(header).to_bytes(8, "little") + header + content[end:]


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """SHA-256 of arrays with their names, dtypes and shapes, and of a text."""
    found = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        found.update(f"\0{name} {array.dtype} {array.shape}\0".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def kind_of(path: Path) -> str | None:
    """Return the kind of the content of a file that `save` wrote; None for all else."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return str(json.loads(file.metadata()["snnjax"])["kind"])
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None


def load_metadata(path: Path, *, kind: str) -> dict[str, Any]:
    """Read the metadata alone, without the arrays.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is truncated, not from snnjax, or of another kind.
    """
    return _read(path, kind, arrays=False)[1]


def load(path: Path, *, kind: str) -> Checkpoint:
    """Read a file that `save` wrote.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is truncated or damaged, not from snnjax, or of another kind.
    """
    arrays, metadata = _read(path, kind, arrays=True)
    tree: Tree = {}
    for name, array in arrays.items():
        *folders, leaf = name.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = array
    return Checkpoint(tree, metadata)


def _read(path: Path, kind: str, *, arrays: bool) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    check_exists(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            names = file.keys() if arrays else ()
            found = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is truncated or no safetensors file ({error}); make it again"
        ) from error
    if "snnjax" not in header:
        raise ValueError(f"{path} was not made by snnjax; want a checkpoint of kind {kind!r}")
    if arrays and "sha256" not in header:
        _note_missing_checksum(path)
    elif arrays and header["sha256"] != _digest(found, header["snnjax"]):
        raise ValueError(f"{path} is damaged: {DAMAGED}")
    try:
        metadata = json.loads(header["snnjax"])
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise ValueError(f"{path} is damaged: {DAMAGED}")
    if metadata.get("kind") != kind:
        raise ValueError(f"{path} is of kind {metadata.get('kind')!r}; want one of kind {kind!r}")
    return found, metadata


@cache
def _note_missing_checksum(path: Path) -> None:
    """Say once for each file that its content cannot be checked."""
    logger.info("note: %s was written without a checksum, so damage would not be noticed", path)
