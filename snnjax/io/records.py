"""What a run leaves behind: a JSON that says where its figures come from, and a table."""

from __future__ import annotations

import datetime
import json
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from snnjax.io.checkpoint import write_whole

__all__ = ["markdown_table", "print_table", "provenance", "show", "spread", "write_json"]


WIDE = 160


def provenance() -> dict[str, Any]:
    """Versions, commit, device, how many of it, and time of this run.

    "commit" is that of the checkout the package runs from, with "-dirty" where code or settings
    were changed since, or None where it runs from no checkout.
    """
    packages = ("snnjax", "jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in packages}},
        "commit": _commit(),
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "devices": jax.device_count(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


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
    """Write a record, whole or not at all.

    Raises:
      OSError: if the file cannot be written.
      ValueError: if a number is NaN or Inf, which JSON does not have.
    """
    text = json.dumps(record, indent=2, allow_nan=False)
    write_whole(path, (text + "\n").encode())


def spread(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation of shares, in % or, with a `sign` of "+", in points.

    Raises:
      StatisticsError: if there are no values.
    """
    text = f"{100 * statistics.mean(values):{sign}.2f}"
    return f"{text} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else text


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as markdown, a line for each row."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of right-aligned cells to standard output."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    show(table)


def show(table: Table) -> None:
    """Print a table to standard output, as wide as it is where that is no terminal."""
    console = Console(soft_wrap=True)
    (console if console.is_terminal else Console(soft_wrap=True, width=WIDE)).print(table)
