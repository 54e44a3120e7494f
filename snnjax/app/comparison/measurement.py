"""Rows of a comparison: train, convert and evaluate, and append to a JSON."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from snnjax.app.comparison.rows import Line, measure_missing, measured_latency
from snnjax.app.configurations import (
    DEFAULT_NEURON,
    ConvertConfig,
    SimulateConfig,
    TrainConfig,
    resolve_simulation,
)
from snnjax.app.evaluation import evaluate
from snnjax.app.run_files import describe_dataset, load_network
from snnjax.app.stages.conversion import convert
from snnjax.app.stages.training import train
from snnjax.conversion import methods
from snnjax.io import datasets, records
from snnjax.networks import architecture
from snnjax.snn import simulation
from snnjax.snn.neurons import NEURONS

__all__ = ["Line", "fill", "measure", "network_label", "train_or_reuse"]

CONVERSION_STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
"""T for each of which a conversion that is made for one T is repeated."""


def fill(
    path: Path,
    lines: Iterable[Line],
    *,
    trainings: Callable[[Line], tuple[TrainConfig, ...]],
    num_steps: Callable[[Line], int],
    runs: Path,
    shown_steps: Callable[[Line], int] = lambda line: 0,
    keep: Callable[[TrainConfig], bool] = lambda config: False,
    batch_size: int = 500,
) -> None:
    """Measure the lines that the JSON at `path` lacks, in their order, and append their rows.

    Args:
      path: the JSON; parameters to keep go to the folder "parameters" beside its folder.
      lines: what to measure.
      trainings: how the network of a line is trained, in one stage or several, each starting from
        the network of the one before it; equal networks are trained once.
      num_steps: T up to which a line is simulated.
      runs: folder for the trained networks and what is made of them.
      shown_steps: timesteps for which a line's input is presented; 0 for all.
      keep: True if a network's parameters are kept, and used again, without `runs`.
      batch_size: images at a time.

    Raises:
      ValueError: if an option is out of range, or a folder holds another training.
      OSError: if data are missing, or a folder cannot be written.
    """

    def row(line: Line) -> dict[str, Any]:
        *before, config = trainings(line)
        kept = path.parents[1] / "parameters" if keep(config) else None
        start: Path | None = None
        for stage in (*before, config):
            folder = train_or_reuse(stage, runs, kept, start)
            start = folder / "ann.safetensors"
        found = measure(
            line, config, folder, num_steps(line), batch_size=batch_size,
            shown_steps=shown_steps(line),
        )  # fmt: skip
        return found | ({"before": [asdict(stage) for stage in before]} if before else {})

    measure_missing(path, lines, row)


def network_label(config: TrainConfig) -> str:
    """Name of a trained network, the same for all methods that share it."""
    parts = [config.network, config.activation, f"seed{config.seed}"]
    if config.bias_free:
        parts.insert(2, "bias_free")
    if config.levels:
        parts.insert(2, f"levels{config.levels}")
    return "-".join(parts)


def train_or_reuse(
    config: TrainConfig, runs: Path, kept: Path | None = None, start: Path | None = None
) -> Path:
    """Return the folder with a trained network: of an earlier run, out of `kept`, or trained now.

    Args:
      config: how it is trained.
      runs: folder for the folders of trained networks.
      kept: folder for parameters that are kept without `runs`, or None.
      start: the file of a network to start from, or None.

    Raises:
      ValueError: if the folder holds another training.
      OSError: if data are missing, or a folder cannot be written.
    """
    folder = runs / network_label(config)
    copy = kept / f"{network_label(config)}.safetensors" if kept else None
    if copy and copy.is_file() and not (folder / "ann.safetensors").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(copy, folder / "ann.safetensors")
    ann = train(config, folder, start=start)
    if copy and not copy.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ann, copy)
        shutil.copy(folder / "train.json", copy.with_suffix(".json"))
    return folder


class _Evaluated(NamedTuple):
    """One conversion and its scores.

    network: the architecture; conversion: its options; simulation: as simulated; scores: what
    `evaluate` returned; seconds: of the conversion.
    """

    network: architecture.Network
    conversion: dict[str, Any]
    simulation: SimulateConfig
    scores: dict[str, Any]
    seconds: float


def measure(
    line: Line,
    config: TrainConfig,
    folder: Path,
    num_steps: int,
    *,
    batch_size: int = 500,
    shown_steps: int = 0,
) -> dict[str, Any]:
    """Convert and evaluate the network in `folder`, and return the row.

    Args:
      line: the method, the input and the seed.
      config: how the network was trained.
      folder: with `ann.safetensors`; the method gets a subfolder.
      num_steps: T up to which the network is simulated.
      batch_size: images at a time.
      shown_steps: timesteps for which the input is presented; 0 for all.

    Raises:
      ValueError: if the method does not fit the network.
      OSError: if data are missing, or the folder cannot be written.
    """
    convert_config = ConvertConfig(method=line.method)
    settings = methods.METHODS[line.method].convert
    made_for_one = replace(convert_config, **settings).needs_steps
    lengths = [t for t in CONVERSION_STEPS if t <= num_steps] if made_for_one else [num_steps]
    data = datasets.load(config.dataset)
    test = datasets.first(data.test, config.max_test_images)
    start = time.perf_counter()
    found = [
        _evaluate(
            line, replace(convert_config, for_steps=steps), folder, test,
            levels=config.finest_levels, batch_size=batch_size, shown_steps=shown_steps,
        )
        for steps in lengths
    ]  # fmt: skip
    last = found[-1]
    steps = lengths if made_for_one else _recorded_steps(num_steps)
    snn, spike_rate = (_at(found, key, steps, made_for_one) for key in ("snn", "spike_rate"))
    ann, simulated = last.scores["ann"], last.simulation
    neuron, pre_steps = NEURONS[simulated.neuron or DEFAULT_NEURON], simulated.pre_steps or 0
    return {
        **line._asdict(),
        "ann": ann,
        "ann_smooth": last.scores["ann_smooth"],
        "steps": steps,
        "snn": snn,
        "spike_rate": spike_rate,
        "latency": (measured_latency(ann, steps, snn) if made_for_one else last.scores["latency"]),
        "uncounted_steps": simulation.count_pre_steps(last.network, neuron, pre_steps, num_steps),
        "training": asdict(config),
        "conversion": last.conversion,
        "simulation": asdict(simulated),
        "dataset": describe_dataset(data),
        "images": len(test.images),
        "conversion_seconds": round(last.seconds, 2),
        "seconds": round(time.perf_counter() - start, 1),
        **records.provenance(),
    }


def _recorded_steps(num_steps: int) -> list[int]:
    """Timesteps that a row keeps: every one up to 64, then every tenth, and the last."""
    return [t for t in range(1, num_steps + 1) if t <= 64 or t % 10 == 0 or t == num_steps]


def _at(found: list[_Evaluated], key: str, steps: list[int], made_for_one: bool) -> list[float]:
    """Values of a score at `steps`: the last of each conversion, or out of the only one."""
    if made_for_one:
        return [each.scores[key][-1] for each in found]
    return [found[0].scores[key][t - 1] for t in steps]


def _evaluate(
    line: Line,
    config: ConvertConfig,
    folder: Path,
    test: datasets.Split,
    *,
    levels: int,
    batch_size: int,
    shown_steps: int,
) -> _Evaluated:
    """Convert for the T in `config`, and evaluate up to it."""
    begun = time.perf_counter()
    snn = convert(folder / "ann.safetensors", config, folder / line.method)
    seconds = time.perf_counter() - begun
    network, params, metadata = load_network(snn)
    simulate_config = resolve_simulation(
        SimulateConfig(encoding=line.encoding, num_steps=config.for_steps, shown_steps=shown_steps),
        line.method,
    )
    scores = evaluate(
        network, params, test, simulate_config, levels=levels, batch_size=batch_size,
        seed=line.seed, ceiling=False, progress=False,
    )  # fmt: skip
    return _Evaluated(network, metadata["config"], simulate_config, scores, seconds)
