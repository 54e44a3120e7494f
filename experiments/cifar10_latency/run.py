"""ResNet-20 for CIFAR-10, trained in stages on a CPU, and a small VGG16 for Figure 7.

`python experiments/cifar10_latency/run.py` trains the networks that are not trained yet, evaluates
all 10,000 test images after every timestep, and adds one row at a time to
`results/comparison.json`. A run that was stopped continues from its last complete epoch or row.
`--smoke --output DIR` runs all steps on 128 images. Every method on larger networks is in
`deep_networks`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
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
}  # fmt: skip
"""Stages that quantise the network of sth_leaky_relu for sth_exact.

A running mean over three epochs lags behind a network that still improves, and label smoothing
slows it down. ResNet-20 underfits. It therefore gets small batches, for twice the number of steps;
smooth epochs first, since the 15 of its smooth training are few; and two further stages with more
levels and nearly all training images. A thousand validation images are too few to choose an epoch:
they chose the 18th of the second stage, while the loss still fell. The small learning rate and
decay of the second stage lowered the loss more than the errors, so the third has those of the
first, and keeps its last epoch.
"""

METHODS = {
    "resnet20": ("sth_exact", "sth_half", "sth_leaky_relu"), "vgg16_quarter": ("sth_leaky_relu",),
}  # fmt: skip
BERNOULLI = ("sth_exact", "sth_leaky_relu")
STEPS = 32
SHORT: dict[str, Any] = {
    "max_images": 128, "max_test_images": 128, "epochs": 1, "smooth_epochs": 0, "bfloat16": False,
}  # fmt: skip
SMOKE = {("sth_exact", "constant", 0)}


def lines(networks: tuple[str, ...]) -> list[Line]:
    """Return the rows of each network, in the order of METHODS."""
    return [
        Line(network, method, encoding, 0)
        for network in networks
        for method in METHODS[network]
        for encoding in (("constant", "rate") if method in BERNOULLI else ("constant",))
    ]


def trainings(line: Line) -> tuple[TrainConfig, ...]:
    """Return the training stages of a row's network; rows with equal stages share the network."""
    config = replace(BASE, network=line.network, seed=line.seed, **SMOOTH, **NETWORKS[line.network])
    if line.method == "sth_exact":
        smooth = resolve_training(config, "sth_leaky_relu")
        quantised = replace(resolve_training(config, "sth_exact"), **QUANTISED)
        return (smooth, *(replace(quantised, **stage) for stage in STAGES[line.network]))
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
        one method, 128 images, 8 timesteps; the last two stages of training, an epoch each
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
        trainings=stages,
        num_steps=lambda line: 8 if smoke else STEPS,
        shown_steps=shown_steps,
        runs=output / "runs" if smoke else RUNS,
        keep=lambda config: config.network == "resnet20",  # 1.1 MB
        batch_size=128,
    )


if __name__ == "__main__":
    cyclopts.run(main)
