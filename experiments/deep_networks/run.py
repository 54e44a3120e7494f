"""Table 3 on networks that are trained long enough to judge every method; made for a GPU.

`python experiments/deep_networks/run.py --networks vgg16 --seeds 0` trains the networks that are
not trained yet, evaluates all 10,000 test images after every timestep, and adds one row at a time
to `results/comparison.json`, or to `results/levels8.json` for networks trained with 8 levels. A run
that was stopped continues from its last complete epoch or row; several runs with folders of their
own (`--output`) may share a GPU, and `merge.py` joins their rows. `--smoke --output DIR` runs all
steps on 128 images.
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
from snnjax.conversion import methods
from snnjax.networks import architecture, known_networks
from snnjax.runtime.allocator import keep_freed_memory

HERE = Path(__file__).parent

BASE = TrainConfig(
    dataset="cifar10", optimiser="sgd", epochs=60, batch_size=256, learning_rate=0.1,
    weight_decay=5e-4, label_smoothing=0.1, max_shift=4, flip=True, cutout=8, dropout=0.0,
    average=0.998, keep="last",
)  # fmt: skip
"""Settings of trainings from random parameters, which have equally many epochs for all methods.

The last epoch is kept, where the learning rate has reached 0, so no images choose an epoch.
"""
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet20": {},
    "vgg16": {"batch_size": 512, "learning_rate": 0.2, "bfloat16": True},
    "resnet18": {"batch_size": 512, "learning_rate": 0.2, "bfloat16": True},
    "resnet20_wide": {"batch_size": 512, "learning_rate": 0.2, "bfloat16": True},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "sth_leaky_relu": {"alpha": 0.1, "theta": 2.0, "learn_theta": "layer"},
    "sth_exact": {"alpha": 0.1, "theta": 2.0, "learn_theta": "layer", "smooth_epochs": 20},
    "qcfs": {"smooth_epochs": 20},
}
"""Settings of a method beside its own; a network that is to be quantised has 20 smooth epochs."""
SAME = {"sth_half": "sth_leaky_relu", "srp": "qcfs", "cos": "qcfs"}
"""Methods that convert the network of another one."""

TUNED = {"epochs": 8, "learning_rate": 0.01, "smooth_epochs": 0}
"""Settings of networks of 8 levels, which go on from that of 4."""
RATES = {**TUNED, "learning_rate": 0.1, "average": 0.99}
"""Settings of RNL's network, which goes on from the network of ReLUs.

Rates have small gradients. The first steps change the network much, so the mean of the parameters
and statistics must leave them out.
"""

METHODS = (
    "sth_exact", "qcfs", "sth_half", "sth_leaky_relu", "th_relu", "robust_norm", "opi", "snm",
    "calibration", "calibration_advanced", "srp", "cos", "rnl", "data_norm",
)  # fmt: skip
BERNOULLI = ("sth_exact", "sth_leaky_relu", "data_norm")
MADE_FOR_ONE = ("th_relu", "calibration", "calibration_advanced")
"""Methods that are converted again for each T."""
FINER = ("qcfs", "srp", "cos")
"""Methods that convert QCFS's network, which its source trains with 4 and with 8 levels."""
LEVELS = (4, 8)
SHORT: dict[str, Any] = {
    "max_images": 640, "max_test_images": 128, "epochs": 1, "smooth_epochs": 0, "bfloat16": False,
    "batch_size": 32,
}  # fmt: skip
SMOKE = {("sth_exact", "constant"), ("calibration", "constant"), ("srp", "constant")}


def lines(network: str, seeds: tuple[int, ...], chosen: tuple[str, ...]) -> list[Line]:
    """Rows of a network: seed after seed, in the order of METHODS."""
    return [
        Line(network, method, encoding, seed)
        for seed in seeds
        for method in METHODS
        if method in (chosen or METHODS)
        and not (method == "data_norm" and _has_branches(network))  # defined for chains
        for encoding in (("constant", "rate") if method in BERNOULLI else ("constant",))
    ]


def _has_branches(network: str) -> bool:
    layers = known_networks.find(network).layers
    return any(isinstance(layer, architecture.Residual) for layer in layers)


def trainings(line: Line, levels: int) -> tuple[TrainConfig, ...]:
    """Trainings of a row's network, each from the network of the one before; rows with equal
    trainings share the network.
    """
    if line.method == "rnl":
        first = _training(line._replace(method="robust_norm"), levels)
        return first, replace(_training(line, levels), **RATES)
    if levels == LEVELS[0]:
        return (_training(line, levels),)
    return _training(line, LEVELS[0]), replace(_training(line, levels), **TUNED)


def _training(line: Line, levels: int) -> TrainConfig:
    method = SAME.get(line.method, line.method)
    config = replace(BASE, network=line.network, seed=line.seed, **NETWORKS[line.network])
    config = replace(config, **SETTINGS.get(method, {}))
    if methods.find(method).train.get("levels") == 0:
        return resolve_training(config, method)
    return replace(resolve_training(config, method), levels=levels)


def main(
    *,
    networks: Annotated[tuple[Literal[*NETWORKS], ...], Parameter(consume_multiple=True)] = (
        "resnet20",
    ),
    seeds: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (0,),
    only: Annotated[tuple[Literal[*METHODS], ...], Parameter(consume_multiple=True)] = (),
    levels: Annotated[tuple[Literal[*LEVELS], ...], Parameter(consume_multiple=True)] = LEVELS,
    num_steps: int = 128,
    steps_of_conversions: int = 32,
    batch_size: int = 1000,
    smoke: bool = False,
    output: Path = HERE,
) -> None:
    """Train and simulate the rows that are missing.

    Parameters
    ----------
    networks
        one or several
    seeds
        one or several
    only
        methods; all without it
    levels
        of the networks that are trained with levels; 8 for qcfs, srp and cos alone
    num_steps
        timesteps T of all rows but the next
    steps_of_conversions
        largest T of methods that are converted again for each T
    batch_size
        images at a time
    smoke
        ResNet-20 with three methods, 128 images, 6 timesteps, one epoch
    output
        folder for results and parameters
    """
    keep_freed_memory()
    runs = output / "runs"

    def configs(line: Line, at: int) -> tuple[TrainConfig, ...]:
        return tuple(replace(one, **SHORT) if smoke else one for one in trainings(line, at))

    def steps(line: Line) -> int:
        most = 6 if smoke else num_steps
        return min(most, steps_of_conversions) if line.method in MADE_FOR_ONE else most

    for at in levels:
        wanted = [
            line
            for network in networks
            for line in lines(network, seeds, only)
            if (at == LEVELS[0] or line.method in FINER)
            and (not smoke or (line.method, line.encoding) in SMOKE)
        ]
        comparison.fill(
            output / "results" / ("comparison.json" if at == LEVELS[0] else f"levels{at}.json"),
            wanted,
            trainings=lambda line, at=at: configs(line, at),
            num_steps=steps,
            shown_steps=lambda line: (
                min(LEVELS[0], steps(line)) if line[1:3] == ("sth_exact", "constant") else 0
            ),
            runs=runs,
            keep=lambda config: config.network == "resnet20",  # 1.1 MB
            batch_size=batch_size,
        )


if __name__ == "__main__":
    cyclopts.run(main)
