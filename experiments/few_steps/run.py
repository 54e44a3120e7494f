"""Accuracy at few timesteps: before and after training through the simulation, and a control.

`python experiments/few_steps/run.py --networks net2` fine-tunes networks that other experiments
have trained, for each T on the answer after T timesteps and once on all answers, evaluates all test
images, and adds one row at a time to `results/few_steps.json`. The control of a row is trained for
as many epochs as the quantised ANN. A run that was stopped continues from its last complete epoch
or row. `--smoke --output DIR` runs all steps on few images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import cyclopts
from cyclopts import Parameter

from snnjax.app import pipeline
from snnjax.app.comparison import measure_missing
from snnjax.app.configurations import ConvertConfig, FineTuneConfig
from snnjax.app.stages.fine_tuning import fine_tune
from snnjax.runtime import cores
from snnjax.runtime.allocator import keep_freed_memory

HERE = Path(__file__).parent
STEPS = (1, 2, 3, 4, 8)
SMOKE = {"epochs": 1, "max_images": 640}


class Plan(NamedTuple):
    """start: file of the network; seeds: that there are; options: of the fine-tuning."""

    start: str
    seeds: tuple[int, ...]
    options: dict[str, Any]


PLANS = {
    "net2": Plan(
        "mnist_latency/parameters/net2-seed{seed}.safetensors", (0, 1, 2), {"epochs": 3},
    ),
    "resnet20": Plan(
        "cifar10_latency/parameters/resnet20-sth_leaky_relu-levels4-seed{seed}.safetensors", (0,),
        {"epochs": 15},
    ),
    "resnet20_60_epochs": Plan(
        "deep_networks/parameters/resnet20-sth_leaky_relu-levels4-seed{seed}.safetensors", (0,),
        {"epochs": 3, "batch_size": 64, "learning_rate": 1e-4},
    ),
}  # fmt: skip


class Line(NamedTuple):
    """One fine-tuning: of which network, for how many timesteps, on which answers, and the
    penalty of its spikes.
    """

    network: str
    seed: int
    num_steps: int
    answers: str
    spike_penalty: float


def lines(
    network: str, seeds: tuple[int, ...], steps: tuple[int, ...], penalties: tuple[float, ...]
) -> list[Line]:
    """Rows of a network in the order of their measurement."""
    runs = [(t, "last") for t in steps] + [(t, "all") for t in (max(steps),) if t > 1]
    return [
        Line(network, seed, t, answers, penalty)
        for penalty in penalties
        for seed in PLANS[network].seeds
        if seed in (seeds or PLANS[network].seeds)
        for t, answers in runs
    ]


def measure(line: Line, runs: Path, *, smoke: bool) -> dict[str, Any]:
    """Row of a network: accuracy, spikes and synaptic operations before, after and of the control.

    Args:
      line: what to fine-tune.
      runs: folder for the files of the run.
      smoke: one epoch of 640 images of mnist5k.
    """
    plan = PLANS[line.network]
    converted = runs / f"{line.network}-seed{line.seed}"
    snn = converted / "snn.safetensors"
    if not snn.is_file():
        start = HERE.parent / plan.start.format(seed=line.seed)
        pipeline.convert(start, ConvertConfig(method="sth_exact"), converted)
    config = FineTuneConfig(
        num_steps=line.num_steps, answers=line.answers, spike_penalty=line.spike_penalty,
        seed=line.seed, **(SMOKE if smoke else plan.options),
    )  # fmt: skip
    dataset = "mnist5k" if smoke else None
    return {
        **line._asdict(),
        **fine_tune(snn, config, runs / "-".join(map(str, line)), dataset=dataset),
    }


def main(
    *,
    networks: Annotated[tuple[Literal[*PLANS], ...], Parameter(consume_multiple=True)] = ("net2",),
    seeds: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (),
    steps: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = STEPS,
    penalties: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = (0.0,),
    smoke: bool = False,
    output: Path = HERE,
) -> None:
    """Measure what is not there yet.

    Parameters
    ----------
    networks
        one or several
    seeds
        of the networks; all that there are without it
    steps
        timesteps T for each of which a network is fine-tuned; for all answers the largest
    penalties
        of spikes
    smoke
        one seed, T = 1 and 2, one epoch of 640 images of mnist5k
    output
        folder for results and runs
    """
    keep_freed_memory()
    cores.use_cores()
    if smoke:
        seeds, steps = (0,), (1, 2)
    wanted = [line for each in networks for line in lines(each, seeds, steps, penalties)]
    path, runs = output / "results" / "few_steps.json", output / "runs"
    measure_missing(path, wanted, lambda line: measure(line, runs, smoke=smoke))


if __name__ == "__main__":
    cyclopts.run(main)
