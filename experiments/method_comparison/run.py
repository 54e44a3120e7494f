"""Table 2, complete: every method on Net1 and Net2, MNIST, with its own training.

`python experiments/method_comparison/run.py` trains what is not trained yet, scores all
10,000 test images after every timestep up to the source's latency, and adds one row at a
time to `results/comparison.json`, so that a run that was stopped goes on where it stopped.
`plot.py` makes the tables and the figure from the JSON. `--smoke --output DIR` does the
whole path on mnist5k.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import cyclopts
from tqdm.auto import tqdm

from snnjax import datasets, methods, metrics, pipeline, records, simulation
from snnjax.allocator import keep_freed_memory
from snnjax.evaluation import WITHIN, evaluate
from snnjax.neuron import NEURONS
from snnjax.settings import ConvertConfig, SimulateConfig, TrainConfig, settled, with_method

HERE = Path(__file__).parent

# One recipe for all, so that only what a method is made of differs. alpha is that of
# mnist_latency, chosen there on the validation split.
BASE = TrainConfig(dataset="mnist", epochs=10)
OWN: dict[str, dict[str, Any]] = {
    "sth_leaky_relu": {"alpha": 0.01, "learn_theta": "layer"},
    "sth_exact": {"alpha": 0.01, "learn_theta": "layer", "mix_levels_to": 8},
    "ter_mapping": {"alpha": 0.01},
    "aug_mapping": {"alpha": 0.01},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "net2": {},
    "net1": {"learning_rate": 1e-3, "max_shift": 1},
}
SEEDS = {"net2": (0, 1, 2), "net1": (0,)}

LATENCY = {
    "cao": 100, "data_norm": 200, "model_norm": 500,
    "ter_mapping": 750, "aug_mapping": 65, "rnl": 256,
}  # fmt: skip
"""Timesteps to run where the source needs more than STEPS; Cao's are not known for MNIST."""
STEPS = 32
SMOKE = ("sth_exact", "cao", "th_relu", "cos")
AT = (1, 2, 4, 8, 16, 32)
"""Where a method is made for one T, it is made anew for each of these."""


class Line(NamedTuple):
    """One row to measure."""

    network: str
    method: str
    encoding: str
    seed: int


def lines(seeds: dict[str, tuple[int, ...]], *, smoke: bool) -> list[Line]:
    """Net2 before Net1, and of each the short rows of every seed first."""
    found = [
        Line(network, name, encoding, seed)
        for network in seeds
        for seed in seeds[network]
        for name in (SMOKE if smoke else methods.METHODS)
        for encoding in encodings(name)
    ]
    networks = list(NETWORKS)
    return sorted(
        found, key=lambda line: (networks.index(line.network), LATENCY.get(line.method, STEPS))
    )


def encodings(name: str) -> tuple[str, ...]:
    """Constant input for all, and Bernoulli where the source has it, and for ours beside it."""
    spiking = methods.METHODS[name].encoding == "rate" or name == "sth_exact"
    return ("constant", "rate") if spiking else ("constant",)


def training(line: Line) -> TrainConfig:
    """How the network of a row is trained; methods with equal ones share it."""
    config = replace(BASE, network=line.network, seed=line.seed, **NETWORKS[line.network])
    if line.method == "rnl":  # rates are small, and learn slowly
        config = replace(config, learning_rate=10 * config.learning_rate)
    return with_method(replace(config, **OWN.get(line.method, {})), line.method)


def label(config: TrainConfig) -> str:
    """Name of a trained network, the same for the methods that share it."""
    parts = [config.network, config.activation, f"seed{config.seed}"]
    if config.bias_free:
        parts.insert(2, "bias_free")
    if config.levels:
        parts.insert(2, f"levels{config.levels}")
    return "-".join(parts)


def measured(line: Line, config: TrainConfig, folder: Path, smoke: bool) -> dict[str, Any]:
    """The record of one row."""
    ann = folder / "ann.safetensors"
    steps = 12 if smoke else LATENCY.get(line.method, STEPS)
    convert = ConvertConfig(method=line.method)
    made_for_one = replace(convert, **methods.METHODS[line.method].convert).needs_steps
    data = datasets.load(config.dataset)
    start, scores, seconds = time.perf_counter(), [], 0.0
    for for_steps in [t for t in AT if t <= steps] if made_for_one else [steps]:
        begun = time.perf_counter()
        snn = pipeline.convert(ann, replace(convert, for_steps=for_steps), folder / line.method)
        seconds = time.perf_counter() - begun
        network, params, metadata = pipeline.load_network(snn)
        simulate = settled(SimulateConfig(encoding=line.encoding, num_steps=for_steps), line.method)
        scores.append(evaluate(
            network, params, data.test, simulate, levels=config.finest_levels, batch_size=500,
            seed=line.seed, ceiling=False, progress=False,
        ))  # fmt: skip
    if made_for_one:
        kept, found = [t for t in AT if t <= steps], [score["snn"][-1] for score in scores]
        rates = [score["spike_rate"][-1] for score in scores]
    else:
        kept = [t for t in range(1, steps + 1) if t <= 64 or t % 10 == 0 or t == steps]
        found, rates = ([scores[0][k][t - 1] for t in kept] for k in ("snn", "spike_rate"))
    neuron = NEURONS[simulate.neuron]
    last = scores[-1]
    return {
        **line._asdict(),
        "ann": last["ann"],
        "ann_smooth": last["ann_smooth"],
        "steps": kept,
        "snn": found,
        "spike_rate": rates,
        "latency": latency(last, kept, found) if made_for_one else last["latency"],
        "uncounted_steps": simulation.all_pre_steps(
            network, neuron, simulate.pre_steps, simulate.num_steps
        ),
        "training": asdict(config),
        "conversion": metadata["config"],
        "simulation": asdict(simulate),
        "dataset": {"name": data.name, "version": data.version, "exact_pixels": data.exact},
        "images": len(data.test.images),
        "conversion_seconds": round(seconds, 2),
        "seconds": round(time.perf_counter() - start, 1),
        **records.provenance(),
    }


def latency(score: dict[str, Any], steps: list[int], found: list[float]) -> int | None:
    """The first of the measured T from which the SNN is within 0.05 points of its ANN."""
    place = metrics.latency(score["ann"], found, within=WITHIN)
    return steps[place - 1] if place else None


def fetched(config: TrainConfig, output: Path, runs: Path) -> Path:
    """The folder with the trained network: kept from before, or trained now."""
    folder = runs / label(config)
    kept = output / "parameters" / f"{label(config)}.safetensors"
    if kept.is_file() and not (folder / "ann.safetensors").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept, folder / "ann.safetensors")
    ann = pipeline.train(config, folder)
    if config.network == "net2" and not kept.is_file():  # 120 kB; a Net1 has 10 MB
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ann, kept)
        shutil.copy(folder / "train.json", kept.with_suffix(".json"))
    return folder


def done(path: Path) -> Iterator[dict[str, Any]]:
    """Rows that are measured already."""
    if path.is_file():
        yield from json.loads(path.read_text())["rows"]


def main(*, smoke: bool = False, output: Path = HERE) -> None:
    """Train and simulate what is not there yet.

    Parameters
    ----------
    smoke
        four methods, Net2, mnist5k, one epoch, one seed, 12 timesteps
    output
        folder for results and parameters
    """
    keep_freed_memory()
    runs = output / "runs" if smoke else HERE.parents[1] / "runs" / "method_comparison"
    path = output / "results" / "comparison.json"
    rows = list(done(path))
    known = {tuple(row[field] for field in Line._fields) for row in rows}
    wanted = lines({"net2": (0,)} if smoke else SEEDS, smoke=smoke)
    for line in tqdm([line for line in wanted if line not in known], "rows", mininterval=1):
        config = training(line)
        if smoke:
            config = replace(config, dataset="mnist5k", epochs=1)
        folder = fetched(config, output, runs)
        rows.append(measured(line, config, folder, smoke))
        records.write_json(path, {"rows": rows})


if __name__ == "__main__":
    cyclopts.run(main)
