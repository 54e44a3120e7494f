"""Fine-tuning with rounded weights: accuracy of integer networks by bits, beside two others.

`python experiments/integer_weights/fine_tuning.py` fine-tunes the networks of
`mnist_latency/parameters`, evaluates all test images after every timestep, adds one row at a time
to `results/fine_tuning.json`, and writes tables of it. The rows of a network are the one that it
starts from (`none`), one fine-tuned for as many epochs without rounding (`floats`), and one
fine-tuned for each number of bits (`rounded`). The first two choose their units by the least error
on 256 training images. A run that was stopped continues from its last complete epoch or row.
`--networks resnet20` does it on CIFAR-10; `--trainings none` trains nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import cyclopts
from cyclopts import Parameter

from snnjax import quantise
from snnjax.app import comparison, pipeline
from snnjax.app.configurations import SimulateConfig, recorded_training
from snnjax.app.evaluation import evaluate
from snnjax.app.printing import markdown_table
from snnjax.app.run_files import load_trained
from snnjax.app.stages.conversion import first_training_images
from snnjax.conversion.conversion import convert
from snnjax.io import checkpoint, datasets, records
from snnjax.runtime import cores
from snnjax.runtime.allocator import keep_freed_memory

HERE = Path(__file__).parent
FLOAT = 32
CALIBRATION = 256
TRAININGS = {"none": "calibrated", "floats": "trained in floats", "rounded": "trained rounded"}
"""Titles of the columns."""
SMOKE = {"epochs": 1, "max_images": 1200, "max_test_images": 250, "keep": "last"}


class Plan(NamedTuple):
    """Measurements of one network.

    start: file of the network to start from; seeds: that there are; options: of its fine-tuning;
    trained_bits: of the rows with a training; bits: of the rows without; steps: T of the table;
    keep: seeds whose rounded parameters are kept.
    """

    start: str
    seeds: tuple[int, ...]
    options: dict[str, Any]
    trained_bits: tuple[int, ...]
    bits: tuple[int, ...]
    steps: tuple[int, ...]
    keep: tuple[int, ...]


PLANS = {
    "net2": Plan(
        "mnist_latency/parameters/net2-seed{seed}.safetensors", (0, 1, 2),
        {"epochs": 2, "learning_rate": 1e-3}, (4, 3, 2), (4, 3, 2), (4,), (0,),
    ),
    "resnet20": Plan(
        "cifar10_latency/parameters/resnet20-sth_leaky_relu-levels4-seed{seed}.safetensors", (0,),
        {"epochs": 6, "learning_rate": 0.01, "smooth_epochs": 0},
        (4, 3, 2), (8, 6, 4, 3, 2), (4, 8), (),
    ),
}  # fmt: skip


class Line(NamedTuple):
    """One row: a network and its seed, how it was fine-tuned, and the bits of its weights."""

    network: str
    seed: int
    training: str
    bits: int


def lines(networks: tuple[str, ...], trainings: tuple[str, ...], smoke: bool) -> Iterator[Line]:
    """Rows in the order of their measurement; `rounded` has one training for each of its rows."""
    for network in networks:
        plan = PLANS[network]
        for seed in plan.seeds[: 1 if smoke else None]:
            for training in trainings:
                bits = plan.bits if training == "none" else plan.trained_bits
                floats = () if training == "rounded" else (FLOAT,)
                for each in (*floats, *(bits[:1] if smoke else bits)):
                    yield Line(network, seed, training, each)


def train(line: Line, smoke: bool, output: Path) -> Path:
    """File of the network of a row, which is trained if it is not there yet."""
    plan = PLANS[line.network]
    start = HERE.parent / plan.start.format(seed=line.seed)
    if line.training == "none":
        return start
    before = recorded_training(checkpoint.load_metadata(start, kind="ann"))
    rounded = line.training == "rounded"
    options = {**plan.options, **(SMOKE if smoke else {})}
    config = replace(before, **options, weight_bits=line.bits if rounded else 0)
    runs = output / "runs" if smoke else HERE.parents[1] / "runs" / "integer_weights"
    folder = runs / pipeline.default_folder(config, start).name
    ann = pipeline.train(config, folder, start=start)
    if rounded and line.seed in plan.keep:
        kept = output / "parameters" / f"{line.network}-{line.bits}bits-seed{line.seed}.safetensors"
        kept.parent.mkdir(exist_ok=True)
        shutil.copy(ann, kept)
    return ann


def measure(line: Line, smoke: bool, output: Path) -> dict[str, Any]:
    """Row of a network: its training, and the accuracy of the integer network."""
    network, variables, trained = load_trained(train(line, smoke, output))
    data = datasets.load(recorded_training(trained).dataset)
    test = datasets.first(data.test, SMOKE["max_test_images"] if smoke else None)
    params = convert(network, variables)
    if line.bits != FLOAT:
        images = None
        if line.training != "rounded":
            images = first_training_images(data, CALIBRATION)
        params = quantise(network, params, line.bits, images)
    found = evaluate(
        network, params, test, SimulateConfig(num_steps=max(PLANS[line.network].steps)),
        batch_size=250, ceiling=False, progress=False,
    )  # fmt: skip
    print(*line, *(f"{100 * right:.2f}" for right in found["snn"]), flush=True)
    return {
        **line._asdict(), "images": len(test.images), **found,
        "validation_accuracy": trained["validation_accuracy"], "config": trained["config"],
        "start": trained.get("start"), **records.provenance(),
    }  # fmt: skip


def table(network: str, rows: list[dict[str, Any]]) -> str:
    """Mean accuracy of the seeds by bits, timesteps and training, in percent."""
    rows = [row for row in rows if row["network"] == network]
    columns = [
        (steps, training) for steps in PLANS[network].steps for training in TRAININGS
        if any(row["training"] == training for row in rows)
    ]  # fmt: skip
    heads = [f"{TRAININGS[training]}, T = {steps}" for steps, training in columns]
    body = []
    for bits in sorted({row["bits"] for row in rows}, reverse=True):
        cells = ["float" if bits == FLOAT else str(bits)]
        for steps, training in columns:
            found = [row["snn"][steps - 1] for row in rows
                     if (row["bits"], row["training"]) == (bits, training)]  # fmt: skip
            cells.append(f"{100 * sum(found) / len(found):.2f}" if found else "")
        body.append(cells)
    return markdown_table(["bits of the weights", *heads], body)


def main(
    *,
    networks: Annotated[tuple[Literal[*PLANS], ...], Parameter(consume_multiple=True)] = ("net2",),
    trainings: Annotated[tuple[Literal[*TRAININGS], ...], Parameter(consume_multiple=True)] = (
        *TRAININGS,
    ),
    bits: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (),
    smoke: bool = False,
    output: Path = HERE,
) -> None:
    """Train and measure the rows that are missing.

    Parameters
    ----------
    networks
        one or several
    trainings
        of which to measure the rows
    bits
        numbers of bits of which to measure the rows, 32 for floats; all without it
    smoke
        one seed, one number of bits, an epoch of 1,200 images, 250 test images
    output
        folder for results and parameters
    """
    keep_freed_memory()
    cores.use_cores()
    path = output / "results" / "fine_tuning.json"
    rows = comparison.read_rows(path) if path.is_file() else []
    for line in lines(networks, trainings, smoke):
        if bits and line.bits not in bits:
            continue
        if not any(line == Line(*(row[name] for name in Line._fields)) for row in rows):
            rows.append(measure(line, smoke, output))
            records.write_json(path, {"calibration": CALIBRATION, "rows": rows})
    for network in {row["network"] for row in rows}:
        path.with_name(f"{network}.md").write_text(table(network, rows))


if __name__ == "__main__":
    cyclopts.run(main)
