"""Table 3: seven methods on deep networks for CIFAR-10, T up to 128, or 32 on a CPU.

`python experiments/cifar10_latency/run.py` trains the networks that are not trained yet, evaluates
all 10,000 test images after every timestep, and adds one row at a time to
`results/comparison.json`. A run that was stopped continues from its last complete epoch or row.
The default is the two networks that a CPU can train; `--networks vgg16 resnet20_wide resnet18`
needs a GPU. `--smoke --output DIR` runs all steps on 128 images.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
import jax
from cyclopts import Parameter

from snnjax.app import comparison
from snnjax.app.comparison import Line
from snnjax.app.configurations import TrainConfig, resolve_training
from snnjax.runtime import cores
from snnjax.runtime.allocator import keep_freed_memory

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / "cifar10_latency"

BASE = TrainConfig(
    dataset="cifar10", optimiser="sgd", learning_rate=0.1, weight_decay=5e-4,
    label_smoothing=0.1, max_shift=4, flip=True, dropout=0.0, average=0.999,
)  # fmt: skip
"""Training settings that all methods share, so that rows differ only by the method."""

NETWORKS: dict[str, dict[str, Any]] = {
    "resnet20": {"epochs": 15},
    "vgg16_quarter": {"epochs": 5, "label_smoothing": 0.0, "average": 0.995},
    "vgg16": {"epochs": 60, "cutout": 8, "bfloat16": True},
    "resnet20_wide": {"epochs": 60, "cutout": 8, "bfloat16": True},
    "resnet18": {"epochs": 60, "cutout": 8, "bfloat16": True},
}
SMOOTH: dict[str, Any] = {"alpha": 0.1, "theta": 2.0, "learn_theta": "layer"}
"""The paper's network; training for sth_exact starts from it."""
QUANTISED: dict[str, Any] = {"learning_rate": 0.05, "label_smoothing": 0.0, "levels": 4}
STAGES: dict[str, tuple[dict[str, Any], ...]] = {
    "resnet20": (
        {"epochs": 30, "smooth_epochs": 6, "batch_size": 64, "average": 0.998},
        {
            "epochs": 24, "batch_size": 64, "average": 0.998, "levels": 5,
            "learning_rate": 0.03, "weight_decay": 1e-4, "validation": 0.02,
        },
        {
            "epochs": 50, "batch_size": 64, "average": 0.998, "levels": 6,
            "validation": 0.02, "keep": "last",
        },
    ),
    "vgg16_quarter": ({"epochs": 3, "average": 0.995},),
}  # fmt: skip
"""Stages that quantise the network of sth_leaky_relu for sth_exact; 30 epochs by default.

A running mean over three epochs lags behind a network that still improves, and label smoothing
slows it down. ResNet-20 underfits. It therefore gets small batches, for twice the number of steps;
smooth epochs first, since the 15 of its smooth training are few; and two further stages with more
levels and nearly all training images. A thousand validation images are too few to choose an epoch:
they chose the 18th of the second stage, while the loss still fell. The small learning rate and
decay of the second stage lowered the loss more than the errors, so the third has those of the
first, and keeps its last epoch.
"""

SEEDS = {"vgg16": (0, 1, 2), "resnet20_wide": (0, 1, 2)}
ONLY = {"resnet20": ("sth_exact", "sth_half", "sth_leaky_relu")}
"""Methods of a network whose training takes hours on a CPU; other networks run all methods."""
METHODS = ("sth_exact", "sth_half", "sth_leaky_relu", "qcfs", "th_relu", "rnl", "data_norm")
BERNOULLI = ("sth_exact", "sth_leaky_relu", "data_norm")
STEPS = {"cpu": 32}
"""Timesteps by platform; 128 on others, which would take hours on a CPU."""
SHORT: dict[str, Any] = {
    "max_images": 128, "max_test_images": 128, "epochs": 1, "smooth_epochs": 0, "bfloat16": False,
}  # fmt: skip
SMOKE = {("sth_exact", "constant", 0), ("data_norm", "rate", 0)}


def lines(networks: tuple[str, ...]) -> list[Line]:
    """Return the rows of each network and seed, in the order of METHODS."""
    return [
        Line(network, method, encoding, seed)
        for network in networks
        for seed in SEEDS.get(network, (0,))
        for method in ONLY.get(network, METHODS)
        if not (method == "data_norm" and network.startswith("resnet"))  # defined for chains
        for encoding in (("constant", "rate") if method in BERNOULLI else ("constant",))
    ]


def trainings(line: Line) -> tuple[TrainConfig, ...]:
    """Return the training stages of a row's network; rows with equal stages share the network."""
    config = replace(BASE, network=line.network, seed=line.seed, **NETWORKS[line.network])
    if line.method.startswith("sth"):
        config = replace(config, **SMOOTH)
    if line.method == "sth_exact":
        smooth = resolve_training(config, "sth_leaky_relu")
        quantised = replace(resolve_training(config, "sth_exact"), **QUANTISED)
        stages = STAGES.get(line.network, ({"epochs": 30},))
        return (smooth, *(replace(quantised, **stage) for stage in stages))
    if line.method == "qcfs":
        config = replace(config, smooth_epochs=config.epochs // 3)
    return (resolve_training(config, line.method),)


def shown_steps(line: Line) -> int:
    """Return the number of timesteps with input; 0 for all.

    sth_exact gets a constant input for as many timesteps as it has levels. Its spike counts then
    settle to the quantised activations, in more timesteps the deeper the network is. Random
    spikes are shown in all timesteps, because a few of them carry little information.
    """
    exact = (line.method, line.encoding) == ("sth_exact", "constant")
    return trainings(line)[-1].levels if exact else 0


def main(
    *,
    networks: Annotated[tuple[Literal[*NETWORKS], ...], Parameter(consume_multiple=True)] = (
        "resnet20",
        "vgg16_quarter",
    ),
    smoke: bool = False,
    output: Path = HERE,
) -> None:
    """Train and simulate the rows that are missing.

    Parameters
    ----------
    networks
        one or several
    smoke
        two methods, 128 images, 8 timesteps; the last two stages of training, an epoch each
    output
        folder for results and parameters
    """
    keep_freed_memory()
    cores.use_cores()

    def stages(line: Line) -> tuple[TrainConfig, ...]:
        configs = trainings(line)
        if smoke:
            configs = tuple(replace(config, **SHORT) for config in configs[-2:])
        return configs

    wanted = lines(networks)
    if smoke:
        wanted = [line for line in wanted if line[1:] in SMOKE]
    comparison.fill(
        output / "results" / "comparison.json",
        wanted,
        training=lambda line: stages(line)[-1],
        before=lambda line: stages(line)[:-1],
        num_steps=lambda line: 8 if smoke else STEPS.get(jax.default_backend(), 128),
        shown_steps=shown_steps,
        runs=output / "runs" if smoke else RUNS,
        keep=lambda config: config.network == "resnet20",  # 1.1 MB
        batch_size=128 if jax.default_backend() == "cpu" else 1000,
    )


if __name__ == "__main__":
    cyclopts.run(main)
