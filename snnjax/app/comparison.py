"""Methods compared on equal terms: a table that grows row by row, and what is read from it.

Every row trains its own network, unless another row has trained the same, and scores all
test images after every timestep. A row is written when it is measured, so a comparison that
was stopped goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from tqdm import tqdm

from snnjax.analysis import figures, metrics, plots
from snnjax.app import pipeline, printing
from snnjax.app.configurations import (
    DEFAULT_NEURON,
    ConvertConfig,
    SimulateConfig,
    TrainConfig,
    recorded,
    settled,
)
from snnjax.app.evaluation import WITHIN, evaluate
from snnjax.conversion import methods
from snnjax.io import datasets, records
from snnjax.io.checkpoint import write_whole
from snnjax.snn import simulation
from snnjax.snn.neurons import NEURONS

__all__ = [
    "AT",
    "Group",
    "Line",
    "Published",
    "beside",
    "figure",
    "fill",
    "label",
    "publish",
    "read",
    "recipe",
    "table",
    "trained",
]

BELOW = 0.15
"""Points below a published accuracy from which a table says so."""

AT = (1, 2, 4, 8, 16, 32, 64, 128)
"""Where a conversion is made for one T, it is made anew for each of these."""


class Line(NamedTuple):
    """What one row measures: a method on a network, with an input and a seed."""

    network: str
    method: str
    encoding: str
    seed: int


def fill(
    path: Path,
    lines: Iterable[Line],
    *,
    training: Callable[[Line], TrainConfig],
    num_steps: Callable[[Line], int],
    runs: Path,
    before: Callable[[Line], tuple[TrainConfig, ...]] = lambda line: (),
    shown_steps: Callable[[Line], int] = lambda line: 0,
    keep: Callable[[TrainConfig], bool] = lambda config: False,
    batch_size: int = 500,
) -> None:
    """Measure the lines that the JSON at `path` does not have yet, in their order.

    Args:
      path: the JSON; parameters to keep go to the folder "parameters" beside its own.
      lines: what to measure.
      training: how the network of a line is trained; equal ones are trained once.
      num_steps: T up to which a line is simulated.
      runs: folder for the trained networks and what is made of them.
      before: trainings that come first, each from the network of the one before it.
      shown_steps: timesteps for which a line's input is shown; 0 for all.
      keep: whether a network's parameters are kept, and used again, without `runs`.
      batch_size: images at a time.

    Raises:
      ValueError: if a setting is out of range, or a folder holds another training.
      OSError: if data are missing, or a folder cannot be written.
    """
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    known = {tuple(row[field] for field in Line._fields) for row in rows}
    missing = [line for line in lines if line not in known]
    for line in tqdm(missing, "rows", mininterval=1):
        config = training(line)
        kept = path.parents[1] / "parameters" if keep(config) else None
        begun: Path | None = None
        for stage in (*before(line), config):
            folder = trained(stage, runs, kept, begun)
            begun = folder / "ann.safetensors"
        rows.append(
            measure(
                line, config, folder, num_steps(line), batch_size=batch_size,
                shown_steps=shown_steps(line),
            )
        )  # fmt: skip
        records.write_json(path, {"rows": rows})


def label(config: TrainConfig) -> str:
    """Name of a trained network, the same for the methods that share it."""
    parts = [config.network, config.activation, f"seed{config.seed}"]
    if config.bias_free:
        parts.insert(2, "bias_free")
    if config.levels:
        parts.insert(2, f"levels{config.levels}")
    return "-".join(parts)


def trained(
    config: TrainConfig, runs: Path, kept: Path | None = None, start: Path | None = None
) -> Path:
    """The folder with a trained network: there from before, out of `kept`, or trained now.

    Args:
      config: how it is trained.
      runs: folder for the folders of trained networks.
      kept: folder for parameters that are kept without `runs`, or None.
      start: the file of a network to begin from, or None.

    Raises:
      ValueError: if the folder holds another training.
      OSError: if data are missing, or a folder cannot be written.
    """
    folder = runs / label(config)
    copy = kept / f"{label(config)}.safetensors" if kept else None
    if copy and copy.is_file() and not (folder / "ann.safetensors").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(copy, folder / "ann.safetensors")
    ann = pipeline.train(config, folder, start=start)
    if copy and not copy.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ann, copy)
        shutil.copy(folder / "train.json", copy.with_suffix(".json"))
    return folder


def measure(
    line: Line,
    config: TrainConfig,
    folder: Path,
    num_steps: int,
    *,
    batch_size: int = 500,
    shown_steps: int = 0,
) -> dict[str, Any]:
    """The record of one row, of the network in `folder`.

    Raises:
      ValueError: if the method does not fit the network.
      OSError: if data are missing, or the folder cannot be written.
    """
    ann = folder / "ann.safetensors"
    convert = ConvertConfig(method=line.method)  # type: ignore[arg-type]
    made_for_one = replace(convert, **methods.METHODS[line.method].convert).needs_steps
    data = datasets.load(config.dataset)
    test = datasets.first(data.test, config.max_test_images)
    start, scores, seconds = time.perf_counter(), [], 0.0
    for for_steps in [t for t in AT if t <= num_steps] if made_for_one else [num_steps]:
        begun = time.perf_counter()
        snn = pipeline.convert(ann, replace(convert, for_steps=for_steps), folder / line.method)
        seconds = time.perf_counter() - begun
        network, params, metadata = pipeline.load_network(snn)
        simulate = settled(
            SimulateConfig(
                encoding=line.encoding,  # type: ignore[arg-type]
                num_steps=for_steps,
                shown_steps=shown_steps,
            ),
            line.method,  # type: ignore[arg-type]
        )
        scores.append(evaluate(
            network, params, test, simulate, levels=config.finest_levels,
            batch_size=batch_size, seed=line.seed, ceiling=False, progress=False,
        ))  # fmt: skip
    last = scores[-1]
    if made_for_one:
        kept = [t for t in AT if t <= num_steps]
        found, rates = ([score[k][-1] for score in scores] for k in ("snn", "spike_rate"))
    else:
        kept = [t for t in range(1, num_steps + 1) if t <= 64 or t % 10 == 0 or t == num_steps]
        found, rates = ([last[k][t - 1] for t in kept] for k in ("snn", "spike_rate"))
    neuron, pre_steps = NEURONS[simulate.neuron or DEFAULT_NEURON], simulate.pre_steps or 0
    return {
        **line._asdict(),
        "ann": last["ann"],
        "ann_smooth": last["ann_smooth"],
        "steps": kept,
        "snn": found,
        "spike_rate": rates,
        "latency": _latency(last["ann"], kept, found) if made_for_one else last["latency"],
        "uncounted_steps": simulation.count_pre_steps(network, neuron, pre_steps, num_steps),
        "training": asdict(config),
        "conversion": metadata["config"],
        "simulation": asdict(simulate),
        "dataset": pipeline.describe(data),
        "images": len(test.images),
        "conversion_seconds": round(seconds, 2),
        "seconds": round(time.perf_counter() - start, 1),
        **records.provenance(),
    }


def _latency(ann: float, steps: list[int], found: list[float]) -> int | None:
    """The first of the measured T from which the SNN is within 0.05 points of its ANN."""
    place = metrics.latency(ann, found, within=WITHIN)
    return steps[place - 1] if place else None


class Group(NamedTuple):
    """The seeds of a method with one network and input: means over them."""

    method: str
    encoding: str
    rows: list[dict[str, Any]]

    def accuracy(self, steps: int) -> list[float] | None:
        """Of each seed at a T, or None where it was not measured."""
        if any(steps not in row["steps"] for row in self.rows):
            return None
        return [row["snn"][row["steps"].index(steps)] for row in self.rows]

    def losses(self, steps: int) -> list[float] | None:
        """Of each seed at a T, against its ANN, or None where it was not measured."""
        found = self.accuracy(steps)
        return found and [ann - snn for ann, snn in zip(self.ann, found, strict=True)]

    def shown(self, steps: int) -> str:
        """Accuracy at a T for the table; "--" before the first answer."""
        found = self.accuracy(steps)
        if steps <= self.uncounted:
            return "--"
        return printing.mean_and_deviation(found) if found else ""

    @property
    def steps(self) -> list[int]:
        """The T that were measured."""
        return self.rows[0]["steps"]

    @property
    def uncounted(self) -> int:
        """Timesteps that pass before the first that gives an answer."""
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
        return _latency(mean(self.ann), self.steps, self.curve)


def recipe(path: Path, line: Line) -> TrainConfig:
    """How the network of a line was trained, by the JSON at `path`; `label` names its files.

    Raises:
      ValueError: if the line is not measured yet.
      OSError: if there is no such file.
    """
    for row in json.loads(path.read_text())["rows"]:
        if tuple(row[field] for field in Line._fields) == line:
            return recorded({"config": row["training"]})
    raise ValueError(
        f"{path} has no row of {', '.join(map(str, line))}; run the experiment that writes it first"
    )


def read(path: Path) -> dict[str, dict[tuple[str, str], Group]]:
    """By network, then by method and input, in the order of the methods.

    Raises:
      OSError: if there is no such file.
    """
    rows = json.loads(path.read_text())["rows"]
    groups: dict[str, dict[tuple[str, str], Group]] = {}
    for row in sorted(rows, key=lambda r: (list(methods.METHODS).index(r["method"]), r["seed"])):
        key = (row["method"], row["encoding"])
        found = groups.setdefault(row["network"], {})
        found.setdefault(key, Group(*key, [])).rows.append(row)
    return groups


def table(groups: Iterable[Group], steps: Iterable[int]) -> str:
    """A line of markdown for each group: accuracy at those of `steps` that were measured, every
    timestep counted.
    """
    groups = tuple(groups)
    shown = tuple(t for t in steps if any(t in group.steps for group in groups))
    head = ["method", "input", "ANN %", *(f"T={t}" for t in shown), "longest"]
    head += ["within 0.05 at T", "as its source counts", "spikes"]
    lines = []
    for group in groups:
        last, latency = group.steps[-1], group.latency
        lines.append(
            [
                f"`{group.method}`",
                group.encoding,
                printing.mean_and_deviation(group.ann),
                *(group.shown(t) for t in shown),
                f"{group.shown(last)} (T={last})" if last > shown[-1] else "",
                str(latency or "--"),
                str(latency - group.uncounted if latency else "--"),
                f"{mean(row['spike_rate'][-1] for row in group.rows):.3f}",
            ]
        )
    return printing.markdown_table(head, lines)


class Published(NamedTuple):
    """A published row, and the network and method that we measure beside it.

    snn: accuracy in %; loss: in points; steps: T, or None where it is not given.
    """

    name: str
    network: str
    snn: float
    loss: float
    steps: int | None
    ours: tuple[str, str]
    remark: str = ""


def beside(published: Iterable[Published], groups: dict[str, dict[tuple[str, str], Group]]) -> str:
    """A line of markdown for each published row that was measured, with the source's input.

    Where the source gives no T, or a longer one than was run, it is the longest that was run.
    """
    head = ["method", "network", "published: SNN %", "loss", "T", "here: ANN %", "SNN %", "loss"]
    head += ["T", "input", "difference", "remark"]
    lines = []
    for row in published:
        network, method = row.ours
        group = groups.get(network, {}).get((method, methods.METHODS[method].encoding))
        if group is None:
            continue
        steps = row.steps if row.steps in group.steps else group.steps[-1]
        found, losses = group.accuracy(steps) or [], group.losses(steps) or []
        difference = 100 * mean(found) - row.snn
        verdict = f"more than {BELOW} below" if difference < -BELOW else ""
        lines.append(
            [
                row.name,
                row.network,
                f"{row.snn:.2f}",
                f"{row.loss:.2f}",
                str(row.steps or "--"),
                printing.mean_and_deviation(group.ann),
                printing.mean_and_deviation(found),
                printing.mean_and_deviation(losses, "+"),
                str(steps),
                group.encoding,
                f"{difference:+.2f}",
                "; ".join(filter(None, (row.remark, verdict))),
            ]
        )
    return printing.markdown_table(head, lines)


def figure(groups: Iterable[Group], *, title: str, lowest: float) -> Figure:
    """Mean accuracy with constant input against T, on a log axis, the soonest to its ANN first.

    Raises:
      ValueError: if no group has constant input, or there are more than colours and line styles.
    """
    curves, steps = {}, {}
    constant = [group for group in groups if group.encoding == "constant"]
    for group in sorted(constant, key=lambda group: group.latency or float("inf")):
        answered = [
            (t, 100 * at)
            for t, at in zip(group.steps, group.curve, strict=True)
            if t > group.uncounted
        ]
        steps[group.method] = [t for t, _ in answered]
        curves[group.method] = [at for _, at in answered]
    return plots.accuracy_against_time(curves, ann={}, title=title, steps=steps, lowest=lowest)


def publish(folder: Path, tables: Mapping[str, str], pictures: Mapping[str, Figure]) -> None:
    """Write `results/<name>.md` and `figures/<name>.png`, and print the tables.

    Raises:
      OSError: if the folder cannot be written.
    """
    for name, text in tables.items():
        print(text)
        write_whole(folder / "results" / f"{name}.md", text.encode())
    for name, picture in pictures.items():
        path = folder / "figures" / f"{name}.png"
        figures.save(picture, path)
        print(path)
