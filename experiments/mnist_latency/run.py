"""Our rows of table 2: Net1 and Net2 on MNIST, accuracy at every timestep, three seeds.

`python experiments/mnist_latency/run.py` trains what is not trained yet, scores all 10,000
test images, and writes `results/table2.json`, `results/table2.md` and the trained Net2s in
`parameters/`. `plot.py` draws the figures from the JSON. `--smoke` does the whole path on
mnist5k in a minute, into a folder of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import cyclopts

from snnjax import checkpoint, pipeline, records
from snnjax.pipeline import ConvertConfig, SimulateConfig, TrainConfig

HERE = Path(__file__).parent
STEPS = (1, 2, 3, 4, 6, 8, 16)

# Chosen on the validation split: see results/sweep.json and README.md.
CHOSEN = TrainConfig(
    dataset="mnist", alpha=0.01, learn_theta="layer", levels=4, mix_levels_to=8, epochs=40
)
NET1, NET2 = replace(CHOSEN, network="net1"), replace(CHOSEN, network="net2")


class Line(NamedTuple):
    """One line of the table: a training, and how it is simulated."""

    label: str
    train: TrainConfig
    neuron: str
    initial: float
    encoding: str


def lines() -> Iterator[Line]:
    for encoding in ("constant", "rate"):
        for train in (NET2, NET1):
            yield Line("exact-charge", train, "exact-charge", 0.5, encoding)
            yield Line("double threshold", train, "double-threshold", 0.5, encoding)
            yield Line("double threshold, v(0) = 0", train, "double-threshold", 0.0, encoding)


def simulated(line: Line, seed: int, num_steps: int, runs: Path) -> dict[str, Any]:
    """The record of one line and seed."""
    config = replace(line.train, seed=seed)
    folder = runs / pipeline.default_folder(config).name
    ann = pipeline.train(config, folder)
    output = folder / f"{line.neuron}-{line.initial:g}-{line.encoding}"
    snn = pipeline.convert(ann, ConvertConfig(initial_potential=line.initial), output)
    record = pipeline.simulate(
        snn, SimulateConfig(encoding=line.encoding, neuron=line.neuron, num_steps=num_steps),
        output, dataset=config.dataset, batch_size=500, seed=seed,
    )  # fmt: skip
    validation = checkpoint.load(ann, kind="ann").metadata["validation_accuracy"]
    return {"label": line.label, "validation_accuracy": validation, **record}


def spread(values: list[float], digits: int = 2, signed: bool = False) -> str:
    """Mean and standard deviation in %, or in points where signed."""
    sign = "+" if signed else ""
    middle = f"{100 * mean(values):{sign}.{digits}f}"
    return f"{middle} ± {100 * stdev(values):.{digits}f}" if len(values) > 1 else middle


def table(rows: list[dict[str, Any]]) -> str:
    """The records as markdown: a line for each network, neuron and input."""
    steps = [t for t in STEPS if t <= len(rows[0]["snn"])]
    head = ["network", "input", "neuron", "ANN %", *(f"T={t}" for t in steps)]
    head += [f"loss at T={t}" for t in (4, 8) if t in steps]
    text = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        name = (row["training"]["network"], row["config"]["encoding"], row["label"])
        groups.setdefault(name, []).append(row)
    for (network, encoding, label), group in groups.items():
        cells = [network.capitalize(), encoding, label, spread([row["ann"] for row in group])]
        cells += [spread([row["snn"][t - 1] for row in group]) for t in steps]
        cells += [
            spread([row["loss"][t - 1] for row in group], signed=True)
            for t in (4, 8) if t in steps
        ]  # fmt: skip
        text.append("| " + " | ".join(cells) + " |")
    for (network, encoding, _), group in groups.items():
        if not group[0]["ceiling"]:
            continue
        cells = [network.capitalize(), encoding, "*ANN on the mean of the frames*"]
        cells += [spread([row["ann"] for row in group])]
        cells += [spread([row["ceiling"][t - 1] for row in group]) for t in steps]
        cells += [""] * (len(head) - len(cells))
        line = "| " + " | ".join(cells) + " |"
        if line not in text:
            text.append(line)
    return "\n".join(text) + "\n"


def main(*, smoke: bool = False, output: Path = HERE) -> None:
    """Train, simulate and tabulate.

    Parameters
    ----------
    smoke
        mnist5k, one epoch, one seed, four timesteps
    output
        folder for results and parameters
    """
    seeds, num_steps = ((0,), 4) if smoke else ((0, 1, 2), 16)
    runs = output / "runs" if smoke else HERE.parents[1] / "runs"
    rows = []
    for line in lines():
        if smoke:
            line = line._replace(train=replace(line.train, dataset="mnist5k", epochs=1))
        rows += [simulated(line, seed, num_steps, runs) for seed in seeds]
        records.write_json(output / "results" / "table2.json", {"rows": rows})
    checkpoint.write_whole(output / "results" / "table2.md", table(rows).encode())
    print((output / "results" / "table2.md").read_text())
    for seed in seeds:
        config = replace(NET2, seed=seed, **({"dataset": "mnist5k", "epochs": 1} if smoke else {}))
        kept = output / "parameters" / f"net2-seed{seed}.safetensors"
        kept.parent.mkdir(exist_ok=True)
        shutil.copy(runs / pipeline.default_folder(config).name / "ann.safetensors", kept)


def load(output: Path = HERE) -> list[dict[str, Any]]:
    """The rows of the JSON."""
    return json.loads((output / "results" / "table2.json").read_text())["rows"]


if __name__ == "__main__":
    cyclopts.run(main)
