"""Table 2, complete: every method on Net1 and Net2, MNIST, with its own training.

`python experiments/method_comparison/run.py` trains what is not trained yet, scores all
10,000 test images after every timestep up to the source's latency, and adds one row at a
time to `results/comparison.json`, so that a run that was stopped goes on where it stopped.
`plot.py` makes the tables and the figure from the JSON. `--smoke --output DIR` does the
whole path on mnist5k.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cyclopts

from snnjax.app import comparison
from snnjax.app.comparison import Line
from snnjax.app.configurations import TrainConfig, with_method
from snnjax.conversion import methods
from snnjax.runtime.allocator import keep_freed_memory

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
COMPARED = tuple(name for name in methods.METHODS if name != "sth_half")  # mnist_latency has it
SMOKE = ("sth_exact", "cao", "th_relu", "cos")
SHORT: dict[str, Any] = {
    "dataset": "mnist5k", "max_images": 1000, "max_test_images": 200, "epochs": 1,
}  # fmt: skip


def lines(seeds: dict[str, tuple[int, ...]], *, smoke: bool) -> list[Line]:
    """Net2 before Net1, and of each the short rows of every seed first."""
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
    """Constant input for all, and Bernoulli where the source has it, and for ours beside it."""
    spiking = methods.METHODS[name].encoding == "rate" or name == "sth_exact"
    return ("constant", "rate") if spiking else ("constant",)


def training(line: Line) -> TrainConfig:
    """How the network of a row is trained; methods with equal ones share it."""
    own = OWN.get(line.method, {})
    if line.method == "sth_exact" and line.network == "net1":
        own = {**own, "levels": 2}  # chosen on validation images, of from 2, 3 and 4 up to 8
    config = replace(BASE, network=line.network, seed=line.seed, **NETWORKS[line.network])
    if line.method == "rnl":  # rates are small, and learn slowly
        config = replace(config, learning_rate=10 * config.learning_rate)
    return with_method(replace(config, **own), line.method)


def main(*, smoke: bool = False, output: Path = HERE) -> None:
    """Train and simulate what is not there yet.

    Parameters
    ----------
    smoke
        four methods, Net2, 1,000 images of mnist5k, one epoch, one seed, 12 timesteps
    output
        folder for results and parameters
    """
    keep_freed_memory()
    runs = output / "runs" if smoke else HERE.parents[1] / "runs" / "method_comparison"

    def config(line: Line) -> TrainConfig:
        found = training(line)
        return replace(found, **SHORT) if smoke else found

    comparison.fill(
        output / "results" / "comparison.json",
        lines({"net2": (0,)} if smoke else SEEDS, smoke=smoke),
        training=config,
        num_steps=lambda line: 12 if smoke else LATENCY.get(line.method, STEPS),
        runs=runs,
        keep=lambda config: config.network == "net2",  # 120 kB; a Net1 has 10 MB
    )


if __name__ == "__main__":
    cyclopts.run(main)
