"""All stages by name, and `run`, which joins training, conversion and simulation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from snnjax.app.configurations import (
    ConvertConfig,
    ReadoutConfig,
    SimulateConfig,
    TrainConfig,
    resolve_simulation,
    resolve_training,
)
from snnjax.app.configurations.effects import refuse_unused
from snnjax.app.configurations.methods import with_method
from snnjax.app.run_checks import check_before_training
from snnjax.app.run_files import (
    describe_dataset,
    fit_to_data,
    hold_out_validation,
    load_network,
    load_trained,
)
from snnjax.app.stages.conversion import convert
from snnjax.app.stages.energy import measure_energy
from snnjax.app.stages.layer_report import report
from snnjax.app.stages.network_import import import_network
from snnjax.app.stages.quantisation import quantise
from snnjax.app.stages.readout_learning import learn
from snnjax.app.stages.simulation import simulate
from snnjax.app.stages.training import default_folder, train

__all__ = [
    "convert",
    "default_folder",
    "describe_dataset",
    "fit_to_data",
    "hold_out_validation",
    "import_network",
    "learn",
    "load_network",
    "load_trained",
    "measure_energy",
    "quantise",
    "report",
    "run",
    "simulate",
    "train",
]


def run(
    train_config: TrainConfig,
    convert_config: ConvertConfig,
    simulate_config: SimulateConfig,
    readout_config: ReadoutConfig = ReadoutConfig(),
    output: Path | None = None,
    *,
    progress: bool = True,
    device_count: int = 0,
) -> tuple[Path, dict[str, Any]]:
    """Train, convert and simulate; with a leaky readout, let it learn before the simulation.

    Methods share a folder of trained parameters; each has its results in its own subfolder.

    Returns:
      The folder of the results, and the record that `simulate` returns.

    Raises:
      ValueError: as `train`, `convert` and `simulate`, or if an option has no effect.
      OSError: as `train`, `convert` and `simulate`.
    """
    given = (train_config, convert_config, simulate_config, readout_config)
    method = convert_config.method
    train_config = resolve_training(train_config, method)
    used = (train_config, with_method(convert_config), resolve_simulation(simulate_config, method))
    refuse_unused("run", *given, used=(*used, readout_config))
    train_config = fit_to_data(train_config)
    steps = convert_config.for_steps or simulate_config.num_steps
    convert_config = replace(convert_config, for_steps=steps)
    if simulate_config.readout == "leaky":
        readout_config = replace(readout_config, readout_rule="nothing")
    output = output or default_folder(train_config)
    results = output / (convert_config.method or "")
    check_before_training(train_config, convert_config, simulate_config, readout_config, output)
    ann = train(train_config, output, progress=progress, device_count=device_count)
    snn = convert(ann, convert_config, results)
    if simulate_config.readout in ("leaky", "stdp"):
        learn(snn, readout_config, results, how=simulate_config, seed=train_config.seed)
    return results, simulate(
        snn, simulate_config, results,
        batch_size=train_config.batch_size,
        seed=train_config.seed, progress=progress, device_count=device_count,
    )  # fmt: skip
