"""Rows of a comparison as they are read back, grouped by method and input."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from tqdm import tqdm

from snnjax.analysis import metrics
from snnjax.app.configurations import TrainConfig, recorded_training
from snnjax.app.evaluation import WITHIN
from snnjax.conversion import methods
from snnjax.io import records

__all__ = [
    "Group",
    "Line",
    "measure_missing",
    "measured_latency",
    "read_groups",
    "read_rows",
    "training_of",
]


class Line(NamedTuple):
    """Fields that identify a row: a method on a network, with an input encoding and a seed."""

    network: str
    method: str
    encoding: str
    seed: int


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of the JSON at `path`.

    Raises:
      OSError: if there is no such file.
      ValueError: if it is damaged, or holds no list of rows.
    """
    rows = records.read_json(path).get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} has no list of rows; restore it, or choose another --output")
    return rows


def measure_missing(
    path: Path, lines: Iterable[Any], measure: Callable[[Any], dict[str, Any]]
) -> None:
    """Measure the lines that the JSON at `path` lacks, in their order, and append their rows.

    Args:
      path: the JSON, which is written after each row.
      lines: what to measure, named tuples with fields of the rows.
      measure: returns the row of a line.

    Raises:
      OSError: if the JSON cannot be written.
      ValueError: if it is damaged.
    """
    rows = read_rows(path) if path.is_file() else []
    missing = [
        line
        for line in lines
        if not any(line == tuple(row[field] for field in line._fields) for row in rows)
    ]
    for line in tqdm(missing, "rows", mininterval=1):
        rows.append(measure(line))
        records.write_json(path, {"rows": rows})


def measured_latency(ann: float, steps: list[int], snn: list[float]) -> int | None:
    """First of the measured T from which the SNN is within 0.05 points of its ANN, or None.

    Args:
      ann: accuracy of the ANN.
      steps: the T that were measured.
      snn: accuracy of the SNN at each of them.
    """
    place = metrics.latency(ann, snn, within=WITHIN)
    return steps[place - 1] if place else None


class Group(NamedTuple):
    """Rows of a method with one network and one input, which differ in their seeds."""

    method: str
    encoding: str
    rows: list[dict[str, Any]]

    def accuracy(self, steps: int) -> list[float] | None:
        """Accuracy of each seed at T = `steps`, or None if it was not measured."""
        if any(steps not in row["steps"] for row in self.rows):
            return None
        return [row["snn"][row["steps"].index(steps)] for row in self.rows]

    def losses(self, steps: int) -> list[float] | None:
        """Accuracy of each seed's ANN minus that of its SNN at T = `steps`, or None."""
        found = self.accuracy(steps)
        return found and [ann - snn for ann, snn in zip(self.ann, found, strict=True)]

    def spikes(self, steps: int) -> float | None:
        """Mean number of spikes of a hidden neuron until T = `steps`, or None, as `accuracy`."""
        if self.accuracy(steps) is None:
            return None
        return steps * mean(row["spike_rate"][row["steps"].index(steps)] for row in self.rows)

    @property
    def steps(self) -> list[int]:
        """The T that were measured."""
        return self.rows[0]["steps"]

    @property
    def uncounted(self) -> int:
        """Number of timesteps before the first answer."""
        return self.rows[0]["uncounted_steps"]

    @property
    def curve(self) -> list[float]:
        """Mean accuracy at each of `steps`."""
        return [mean(values) for values in zip(*(row["snn"] for row in self.rows), strict=True)]

    @property
    def ann(self) -> list[float]:
        """Accuracy of each seed's ANN, as it was trained."""
        return [row["ann"] for row in self.rows]

    @property
    def latency(self) -> int | None:
        """First T at which the mean is at most 0.05 points below the mean of the ANN."""
        return measured_latency(mean(self.ann), self.steps, self.curve)


def training_of(path: Path, line: Line) -> TrainConfig:
    """Training configuration of the network of a line, as the JSON at `path` records it.

    `network_label` of it names its files.

    Raises:
      ValueError: if the line is not measured yet, or the file is damaged.
      OSError: if there is no such file.
    """
    for row in read_rows(path):
        if tuple(row[field] for field in Line._fields) == line:
            return recorded_training({"config": row["training"]})
    raise ValueError(
        f"{path} has no row of {', '.join(map(str, line))}; run the experiment that writes it first"
    )


def read_groups(path: Path) -> dict[str, dict[tuple[str, str], Group]]:
    """Groups by network, then by method and input, in the order of `methods.METHODS`.

    Raises:
      OSError: if there is no such file.
      ValueError: if it is damaged.
    """
    rows = read_rows(path)
    groups: dict[str, dict[tuple[str, str], Group]] = {}
    for row in sorted(rows, key=lambda r: (list(methods.METHODS).index(r["method"]), r["seed"])):
        key = (row["method"], row["encoding"])
        found = groups.setdefault(row["network"], {})
        found.setdefault(key, Group(*key, [])).rows.append(row)
    return groups
