"""Our rows of table 2: Net1 and Net2 on MNIST, accuracy at every timestep, three seeds.

`python experiments/mnist_latency/run.py` trains the networks that are not trained yet, evaluates
all 10,000 test images, and writes `results/table2.json`. It copies the trained Net2 networks and
the records of all trainings to `parameters/`. `plot.py` makes the table and the figures.
`--smoke --output DIR` runs all steps on mnist5k in a minute.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cyclopts

from snnjax.app import pipeline
from snnjax.app.configurations import ConvertConfig, SimulateConfig, TrainConfig
from snnjax.io import checkpoint, records
from snnjax.runtime.allocator import keep_freed_memory

HERE = Path(__file__).parent

# Chosen on the validation split: see results/sweep.json and README.md.
CHOSEN = TrainConfig(
    dataset="mnist", alpha=0.01, learn_theta="layer", levels=4, mix_levels_to=8, epochs=40
)
NET1 = replace(CHOSEN, network="net1", learning_rate=1e-3, max_shift=1)
NET2 = replace(CHOSEN, network="net2")


class Line(NamedTuple):
    """One line of the table: a training and the settings of the simulation."""

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


def measure(line: Line, seed: int, num_steps: int, runs: Path) -> dict[str, Any]:
    """Train, convert and simulate one line with one seed; return the record."""
    config = replace(line.train, seed=seed)
    folder = runs / pipeline.default_folder(config).name
    ann = pipeline.train(config, folder)
    output = folder / f"{line.neuron}-{line.initial:g}-{line.encoding}"
    snn = pipeline.convert(ann, ConvertConfig(initial_potential=line.initial), output)
    record = pipeline.simulate(
        snn, SimulateConfig(encoding=line.encoding, neuron=line.neuron, num_steps=num_steps),
        output, dataset=config.dataset, batch_size=500, seed=seed,
    )  # fmt: skip
    validation = checkpoint.load_metadata(ann, kind="ann")["validation_accuracy"]
    return {"label": line.label, "validation_accuracy": validation, **record}


def main(*, smoke: bool = False, output: Path = HERE) -> None:
    """Train, convert and simulate all lines of the table.

    Parameters
    ----------
    smoke
        1,000 images of mnist5k, one epoch, one seed, four timesteps
    output
        folder for results and parameters
    """
    keep_freed_memory()
    seeds, num_steps = ((0,), 4) if smoke else ((0, 1, 2), 16)
    runs = output / "runs" if smoke else HERE.parents[1] / "runs"
    rows = []
    for line in lines():
        if smoke:
            line = line._replace(train=shorten_training(line.train))
        rows += [measure(line, seed, num_steps, runs) for seed in seeds]
        records.write_json(output / "results" / "table2.json", {"rows": rows})
    for train in (NET1, NET2):
        for seed in seeds:
            config = replace(shorten_training(train) if smoke else train, seed=seed)
            folder = runs / pipeline.default_folder(config).name
            kept = output / "parameters" / f"{config.network}-seed{seed}"
            kept.parent.mkdir(exist_ok=True)
            shutil.copy(folder / "train.json", kept.with_suffix(".json"))
            if train is NET2:  # 120 kB; Net1 has 10 MB
                shutil.copy(folder / "ann.safetensors", kept.with_suffix(".safetensors"))


def shorten_training(config: TrainConfig) -> TrainConfig:
    """Return the training settings of the smoke run."""
    return replace(config, dataset="mnist5k", max_images=1000, max_test_images=200, epochs=1)


if __name__ == "__main__":
    cyclopts.run(main)
