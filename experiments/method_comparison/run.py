"""Table 2 with all methods on Net1 and Net2 for MNIST, each with its own training.

`python experiments/method_comparison/run.py` trains the networks that are not trained yet,
evaluates all 10,000 test images after every timestep up to the latency of the method's source,
and adds one row at a time to `results/comparison.json`. A run that was stopped continues with the
next row. `plot.py` makes the tables and the figures. `--smoke --output DIR` runs all steps on
mnist5k.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cyclopts

from snnjax.app import comparison
from snnjax.app.comparison import Line
from snnjax.app.configurations import TrainConfig, resolve_training
from snnjax.conversion import methods
from snnjax.runtime.allocator import keep_freed_memory

HERE = Path(__file__).parent

# All methods share these settings, so that rows differ only by the method. alpha was chosen in
# mnist_latency, on the validation split.
BASE = TrainConfig(dataset="mnist", epochs=10)
METHOD_SETTINGS: dict[str, dict[str, Any]] = {
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
"""Timesteps of methods whose source needs more than STEPS; the source of cao has none for MNIST."""
STEPS = 32
COMPARED = tuple(name for name in methods.METHODS if name != "sth_half")  # it is in mnist_latency
SMOKE = ("sth_exact", "th_relu", "cos")
SHORT: dict[str, Any] = {
    "dataset": "mnist5k", "max_images": 1000, "max_test_images": 200, "epochs": 1,
}  # fmt: skip


def lines(seeds: dict[str, tuple[int, ...]], *, smoke: bool) -> list[Line]:
    """Return the rows to measure: Net2 before Net1, and rows with few timesteps first."""
    found = [
        Line(network, name, encoding, seed)
        for network in seeds
        for seed in seeds[network]
        for name in (SMOKE if smoke else COMPARED)
        for encoding in encodings(name)
    ]
    networks = list(NETWORKS)
    return sorted(
        found, key=lambda line: (networks.index(line.network), LATENCY.get(line.method, STEPS))
    )


def encodings(name: str) -> tuple[str, ...]:
    """Return the inputs of a method: constant, and Bernoulli if its source or ours uses it."""
    spiking = methods.METHODS[name].encoding == "rate" or name == "sth_exact"
    return ("constant", "rate") if spiking else ("constant",)


def training(line: Line) -> TrainConfig:
    """Return the training of a row's network; rows with equal training share the network."""
    settings = METHOD_SETTINGS.get(line.method, {})
    if line.method == "sth_exact" and line.network == "net1":
        settings = {**settings, "levels": 2}  # better on validation images than 3 or 4
    config = replace(BASE, network=line.network, seed=line.seed, **NETWORKS[line.network])
    if line.method == "rnl":  # small rates, so small gradients
        config = replace(config, learning_rate=10 * config.learning_rate)
    return resolve_training(replace(config, **settings), line.method)


def main(*, smoke: bool = False, output: Path = HERE) -> None:
    """Train and simulate the rows that are missing.

    Parameters
    ----------
    smoke
        three methods, Net2, 1,000 images of mnist5k, one epoch, one seed, 12 timesteps
    output
        folder for results and parameters
    """
    keep_freed_memory()
    runs = output / "runs" if smoke else HERE.parents[1] / "runs" / "method_comparison"

    def trainings(line: Line) -> tuple[TrainConfig]:
        found = training(line)
        return (replace(found, **SHORT) if smoke else found,)

    comparison.fill(
        output / "results" / "comparison.json",
        lines({"net2": (0,)} if smoke else SEEDS, smoke=smoke),
        trainings=trainings,
        num_steps=lambda line: 12 if smoke else LATENCY.get(line.method, STEPS),
        runs=runs,
        keep=lambda config: config.network == "net2",  # 120 kB; a Net1 has 10 MB
    )


if __name__ == "__main__":
    cyclopts.run(main)
