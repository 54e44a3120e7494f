"""Transformers and other curved networks as spiking ones: accuracy at every timestep.

`python experiments/transformers/run.py` trains the networks that are not trained yet, smooth and
then with quantised values, simulates all 10,000 test images, and adds one row at a time to
`results/transformers.json`. A run that was stopped continues from its last complete epoch or row.
Trained parameters are in `parameters/`. `--train-only` ends after the training.
`--smoke --output DIR` runs all steps on a few images of mnist5k in a minute.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import cyclopts
import jax
import jax.numpy as jnp
import numpy as np
from cyclopts import Parameter
from forms import FORMS
from measurement import count_operations, measure
from models import MODELS
from training import Logits, Training, fit

import snnjax
from snnjax.app.comparison import measure_missing
from snnjax.app.run_files import describe_dataset
from snnjax.conversion.spiking import Spiking
from snnjax.io import checkpoint, datasets, records
from snnjax.runtime.allocator import keep_freed_memory
from snnjax.runtime.images import unit_images

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / "transformers"

SMOOTH = {
    "cct": Training(
        "smooth", "cifar10", epochs=20, learning_rate=1.2e-3, batch_size=64, max_shift=2, flip=True
    ),
    "vit": Training("smooth", "mnist", epochs=4, learning_rate=2e-3, max_shift=2),
    "lenet": Training("smooth", "mnist", epochs=4, learning_rate=2e-3, max_shift=2),
    "mobilenet": Training(
        "smooth", "mnist", epochs=4, learning_rate=4e-3, max_shift=2, max_images=22000
    ),
    "convnext": Training(
        "smooth", "mnist", epochs=6, learning_rate=4e-3, max_shift=2, max_images=22000
    ),
    "tiny": Training(
        "smooth", "mnist5k", epochs=1, learning_rate=2e-3, max_images=384, validation=128
    ),
}
LEVELS = 8
"""Levels of the sites in training with quantised values."""
TUNING: dict[str, dict[str, Any]] = {
    "cct": {"epochs": 1, "learning_rate": 3e-4},
    "vit": {"epochs": 1, "learning_rate": 3e-4},
    "lenet": {"epochs": 1, "learning_rate": 3e-4},
    "mobilenet": {"epochs": 1, "learning_rate": 3e-4},
    "convnext": {"epochs": 1, "learning_rate": 3e-4},
    "tiny": {"epochs": 1, "learning_rate": 3e-4},
}
"""Training that starts from the smooth network, with quantised values, or without as a control."""
SEEDS = {
    "cct": (0,),
    "vit": (0, 1, 2),
    "lenet": (0,),
    "mobilenet": (0,),
    "convnext": (0,),
    "tiny": (0,),
}
SETTLING = {"mean": 8, "at once": 8, "sum": 24}
"""Timesteps after the input in which a row is simulated further, for each block, by form."""
CALIBRATION = 256
"""Training images on which thetas are measured."""
OPERATIONS = 32
"""Test images whose operations are counted."""

SMOKE = {("quantised", "mean"), ("quantised", "sum")}


Name = Literal["cct", "vit", "lenet", "mobilenet", "convnext"]


class Line(NamedTuple):
    """Fields that identify a row: network, its training, levels, form of the charge, seed."""

    network: str
    training: str
    levels: int
    form: str
    seed: int


def lines(networks: tuple[str, ...]) -> list[Line]:
    """Return the rows of each network and seed."""
    wanted = [("quantised", LEVELS, form) for form in FORMS]
    wanted += [(name, LEVELS, "mean") for name in ("smooth", "control")]
    return [
        Line(network, *kind, seed)
        for network in networks
        for seed in SEEDS[network]
        for kind in wanted
    ]


def trainings(network: str, seed: int) -> dict[str, Training]:
    """Return the trainings of a network: smooth, and both that start from it."""
    smooth = replace(SMOOTH[network], seed=seed)
    tuned = replace(smooth, **TUNING[network])
    return {
        "smooth": smooth,
        "quantised": replace(tuned, name="quantised", levels=LEVELS),
        "control": replace(tuned, name="control"),
    }


class Files(NamedTuple):
    """Folders of kept parameters and of the progress of trainings."""

    kept: Path
    runs: Path


def trained(network: str, training: Training, files: Files, stages: dict[str, Training]) -> Any:
    """Return the parameters of a training: kept ones, or trained now and kept.

    Those of the training with quantised values are "params" and "log_thetas"; the others are what
    the module takes.
    """
    name = f"{network}-{training.name}-seed{training.seed}.safetensors"
    kept = files.kept / name
    if kept.is_file():
        tree, metadata = checkpoint.load(kept, kind="transformer")
        if metadata["training"] != asdict(training):
            raise ValueError(f"{kept} is of another training; remove it or choose another --output")
        return tree
    start, logits = begin(network, training, files, stages)
    data = datasets.first(datasets.load(training.dataset).train, training.max_images)
    images, held = datasets.hold_out(data, training.validation, seed=training.seed)
    best, history = fit(logits, start, images, held, training, files.runs / name)
    facts = {"network": network, "training": asdict(training), "history": history}
    checkpoint.save(kept, best, kind="transformer", metadata={**facts, **records.provenance()})
    return best


def begin(
    network: str, training: Training, files: Files, stages: dict[str, Training]
) -> tuple[Any, Logits]:
    """Return the parameters that a training starts from, and the function that it trains."""
    apply = MODELS[network].apply
    if training.name == "smooth":
        image = jnp.zeros((1, *datasets.SHAPES[training.dataset]))
        return jax.jit(MODELS[network].init)(jax.random.key(training.seed), image), apply
    smooth = trained(network, stages["smooth"], files, stages)
    if training.name == "control":
        return smooth, apply
    spiking = calibrated(network, smooth, training, training.levels)
    thetas = np.log([spiking.params["thetas"][name] for name in spiking.function.sites])
    start = {"params": smooth, "log_thetas": np.asarray(thetas, np.float32)}
    return start, partial(quantised_logits, spiking)


def quantised_logits(spiking: Spiking, params: Any, images: jax.Array) -> jax.Array:
    return spiking.quantised(spiking_params(spiking, params), images)


def spiking_params(spiking: Spiking, params: Any) -> dict[str, Any]:
    """Parameters of a spiking function from those of the training with quantised values.

    The logarithms of the thetas are trained, in one array, in the order of the sites.
    """
    thetas = jnp.exp(params["log_thetas"])
    by_site = {name: thetas[i] for i, name in enumerate(spiking.function.sites)}
    return {**spiking.params, "params": params["params"], "thetas": by_site}


def calibrated(network: str, params: Any, training: Training, levels: int) -> Spiking:
    """Make a network spiking, with thetas measured on training images."""
    images = unit_images(datasets.load(training.dataset).train.images[:CALIBRATION])
    return snnjax.spike(MODELS[network].apply, params, images, levels=levels)


def spiking_network(line: Line, files: Files, stages: dict[str, Training]) -> Spiking:
    """Return the spiking network of a row."""
    training = stages[line.training]
    params = trained(line.network, training, files, stages)
    if line.training != "quantised":
        return calibrated(line.network, params, training, line.levels)
    smooth = trained(line.network, stages["smooth"], files, stages)
    spiking = calibrated(line.network, smooth, training, line.levels)
    return replace(spiking, params=spiking_params(spiking, params))


def row_of(
    line: Line, files: Files, stages: dict[str, Training], *, images: int, batch_size: int
) -> dict[str, Any]:
    """Measure one row; `images` of the test set, 0 for all."""
    spiking, training = spiking_network(line, files, stages), stages[line.training]
    data = datasets.load(training.dataset)
    test = datasets.first(data.test, images)
    num_steps = line.levels + SETTLING[line.form] * MODELS[line.network].blocks
    scores = measure(spiking, line.form, test, num_steps=num_steps, batch_size=batch_size)
    operations = None  # of the other forms: the package cannot simulate them
    if line.form == "mean":
        few = unit_images(test.images[:OPERATIONS])
        operations = count_operations(spiking, few, num_steps=num_steps)
    thetas = {name: float(theta) for name, theta in spiking.params["thetas"].items()}
    _, metadata = checkpoint.load(
        files.kept / f"{line.network}-{line.training}-seed{line.seed}.safetensors",
        kind="transformer",
    )
    return {
        **line._asdict(),
        **scores,
        "operations": operations,
        "weights": sum(leaf.size for leaf in jax.tree.leaves(spiking.params["params"])),
        "thetas": thetas,
        "signed": dict(zip(spiking.function.sites, spiking.function.signed, strict=True)),
        "config": asdict(training),
        "history": metadata["history"],
        "dataset": describe_dataset(data),
        **records.provenance(),
    }


def main(
    *,
    networks: Annotated[tuple[Name, ...], Parameter(consume_multiple=True)] = get_args(Name),
    train_only: bool = False,
    smoke: bool = False,
    output: Path = HERE,
) -> None:
    """Train the networks and simulate the rows that are missing.

    Parameters
    ----------
    networks
        all by default
    train_only
        end after the trainings
    smoke
        a tiny ViT, one epoch, 50 test images of mnist5k
    output
        folder for results and parameters
    """
    keep_freed_memory()
    files = Files(output / "parameters", output / "runs" if smoke else RUNS)
    wanted = lines(("tiny",) if smoke else networks)
    if smoke:
        wanted = [line for line in wanted if line[1:4:2] in SMOKE]
    if train_only:
        for network, seed in dict.fromkeys((line.network, line.seed) for line in wanted):
            stages = trainings(network, seed)
            for training in stages.values():
                trained(network, training, files, stages)
        return
    path = output / "results" / "transformers.json"

    def row(line: Line) -> dict[str, Any]:
        stages = trainings(line.network, line.seed)
        return row_of(line, files, stages, images=50 if smoke else 0, batch_size=100)

    measure_missing(path, wanted, row)


if __name__ == "__main__":
    cyclopts.run(main)
