"""Accuracy against energy of spiking networks, of their quantised ANNs, and of a control's.

`python experiments/energy/run.py` fine-tunes Net2 through its simulation with a penalty of spikes,
rounds its weights, measures accuracy and energy at every T and with early exit on all test images,
and adds one row at a time to `results/energy.json`. The control of a row is trained for as many
epochs as the quantised ANN with the same penalty, and its quantised ANNs are measured too. A run
that was stopped continues. `--smoke --output DIR` runs all steps on few images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import cyclopts
from cyclopts import Parameter

from snnjax.app import pipeline
from snnjax.app.comparison import measure_missing
from snnjax.app.configurations import ConvertConfig, FineTuneConfig, SimulateConfig
from snnjax.app.stages.fine_tuning import fine_tune
from snnjax.runtime import cores
from snnjax.runtime.allocator import keep_freed_memory

HERE = Path(__file__).parent
IMAGES = 10_000
LEFT_OUT = ("layers", "neurobench", "silent_channels", "energy_nj", "first_layer", "accuracy")
"""Entries of `energy.json` that rows do not keep."""
SMOKE = {"epochs": 1, "max_images": 640}


class Plan(NamedTuple):
    """start: file of the trained network; seeds: that there are; penalties: of spikes; bits: of
    the weights; tuning: options of the fine-tuning, None for none; simulation: options.
    """

    start: str
    seeds: tuple[int, ...]
    penalties: tuple[float, ...]
    bits: tuple[int, ...]
    tuning: dict[str, Any] | None
    simulation: dict[str, Any]


PLANS = {
    "net2": Plan(
        "mnist_latency/parameters/net2-seed{seed}.safetensors", (0, 1, 2), (0.3,), (8, 6, 4),
        {"num_steps": 2, "answers": "all", "epochs": 12, "learning_rate": 2e-3},
        {"num_steps": 2, "encoding": "deterministic", "exit_tolerance": 0.0},
    ),
    "resnet20": Plan(
        "deep_networks/parameters/resnet20-sth_leaky_relu-levels4-seed{seed}.safetensors", (0,),
        (0.0,), (8,), None, {"num_steps": 8, "shown_steps": 4, "exit_tolerance": 0.0},
    ),
}  # fmt: skip


class Line(NamedTuple):
    """One row: of which network, the penalty of its spikes, and the bits of its weights."""

    network: str
    seed: int
    spike_penalty: float
    weight_bits: int


def lines(network: str, seeds: tuple[int, ...], penalties: tuple[float, ...]) -> list[Line]:
    """Rows of a network in the order of their measurement."""
    plan = PLANS[network]
    return [
        Line(network, seed, penalty, bits)
        for penalty in penalties or plan.penalties
        for seed in plan.seeds
        if seed in (seeds or plan.seeds)
        for bits in plan.bits
    ]


def measure(line: Line, runs: Path, *, smoke: bool) -> dict[str, Any]:
    """Row of a network with rounded weights, and of its control.

    Args:
      line: what to measure.
      runs: folder for the files of the run.
      smoke: one epoch of 640 images of mnist5k, and 200 test images.
    """
    plan, folder = PLANS[line.network], runs / f"{line.network}-seed{line.seed}"
    snn = folder / "snn.safetensors"
    if not snn.is_file():
        start = HERE.parent / plan.start.format(seed=line.seed)
        pipeline.convert(start, ConvertConfig(method="sth_exact"), folder)
    dataset, images = ("mnist5k", 200) if smoke else (None, IMAGES)
    config = SimulateConfig(**plan.simulation)

    def energy(file: Path, config: SimulateConfig) -> dict[str, Any]:
        whole = file.parent / f"{file.stem}-{line.weight_bits}-bits"
        pipeline.quantise(file, line.weight_bits, whole, calibration_images=0)
        return pipeline.measure_energy(
            whole / "snn.safetensors", config, whole, dataset=dataset, images=images, batch_size=200
        )

    tuned: dict[str, Any] = {}
    if plan.tuning is not None:
        options = FineTuneConfig(
            spike_penalty=line.spike_penalty, seed=line.seed, encoding=str(config.encoding),
            **plan.tuning | (SMOKE if smoke else {}),
        )  # fmt: skip
        folder = runs / f"{line.network}-seed{line.seed}-penalty{line.spike_penalty}"
        tuned["fine_tuning"] = fine_tune(snn, options, folder, dataset=dataset)["config"]
        snn = folder / "snn.safetensors"
        # The ANNs alone are asked for, so one timestep is enough.
        one = SimulateConfig(num_steps=1, encoding=config.encoding)
        tuned["control"] = energy(folder / "control.safetensors", one)["quantised_ann"]
    record = energy(snn, config)
    kept = {key: of for key, of in record.items() if key not in LEFT_OUT}
    return {**line._asdict(), **tuned, **kept}


def main(
    *,
    networks: Annotated[tuple[Literal[*PLANS], ...], Parameter(consume_multiple=True)] = (*PLANS,),
    seeds: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (),
    penalties: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = (),
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
    penalties
        of spikes; those of the plan without it
    smoke
        one row of Net2, one epoch, 200 images of mnist5k
    output
        folder for results and runs
    """
    keep_freed_memory()
    cores.use_cores()
    wanted = [line for each in networks for line in lines(each, seeds, penalties)]
    if smoke:
        wanted = lines("net2", (0,), penalties)[:1]
    path, runs = output / "results" / "energy.json", output / "runs"
    measure_missing(path, wanted, lambda line: measure(line, runs, smoke=smoke))


if __name__ == "__main__":
    cyclopts.run(main)
