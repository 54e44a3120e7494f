"""JSON files of results, and the provenance of their figures."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from snnjax.io.checkpoint import write_whole

__all__ = ["provenance", "read_json", "write_json"]


def provenance() -> dict[str, Any]:
    """Return versions, commit, device, number of devices, instructions, and time of this run.

    "commit" names the commit of the checkout that the package runs from, with "-dirty" appended
    where code or settings were changed since. It is None where there is no checkout.
    """
    packages = ("snnjax", "jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in packages}},
        "commit": _commit(),
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "devices": jax.device_count(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "instructions": _instructions(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _instructions() -> str | None:
    """Widest vector instructions of an x86 processor, on which ratios of times depend, or None."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    flags = set(text.partition("flags")[2].partition("\n")[0].split())
    known = {"avx512f": "AVX-512", "avx2": "AVX2"}
    return next((name for flag, name in known.items() if flag in flags), None)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "*.py", "*.cfg", "*.toml", "*.txt")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, completely or not at all.

    Raises:
      OSError: if the file cannot be written.
      ValueError: if a number is NaN or Inf, which JSON does not have.
    """
    text = json.dumps(record, indent=2, allow_nan=False)
    write_whole(path, (text + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a record that `write_json` wrote.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if it holds no JSON object.
    """
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); choose another --output folder") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no record of snnjax; choose another --output folder")
    return found
