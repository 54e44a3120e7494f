"""`snnjax train` and `snnjax run`."""

from __future__ import annotations

from pathlib import Path

from snnjax.app import pipeline, printing
from snnjax.app.commands.options import (
    Conversion,
    Dataset,
    Devices,
    FineTuning,
    Output,
    Readout,
    Simulation,
    Training,
    folder_of,
    start_devices,
)
from snnjax.app.configurations import (
    ConvertConfig,
    FineTuneConfig,
    ReadoutConfig,
    SimulateConfig,
    TrainConfig,
)
from snnjax.app.configurations.effects import refuse_unused
from snnjax.app.stages.fine_tuning import fine_tune
from snnjax.io import checkpoint
from snnjax.runtime.processes import DeviceConfig

__all__ = ["finetune", "run", "train"]


def train(
    *,
    config: Training = TrainConfig(),
    where: Devices = DeviceConfig(),
    start: Path | None = None,
    output: Output = None,
) -> None:
    """Train a network; writes ann.safetensors and train.json.

    A training that was stopped resumes when the same command is given again.

    Parameters
    ----------
    start
        ann.safetensors of a network of the same architecture to start from, such as a smooth one
        that is to be quantised, or one of ReLUs that get bounds [default: random parameters]
    output
        folder for the files [default: runs/ and a name made from the options]
    """
    refuse_unused("train", config)
    config = pipeline.fit_to_data(config)
    output = output or pipeline.default_folder(config, start)
    path = pipeline.train(config, output, start=start, **start_devices(where))
    if checkpoint.is_writer():
        printing.print_trained(path)


def run(
    *,
    train_config: Training = TrainConfig(),
    convert_config: Conversion = ConvertConfig(),
    simulate_config: Simulation = SimulateConfig(),
    readout_config: Readout = ReadoutConfig(),
    where: Devices = DeviceConfig(),
    output: Output = None,
) -> None:
    """Train, convert and simulate; prints a table and writes a JSON and a picture.

    Parameters
    ----------
    output
        folder for the files [default: runs/ and a name made from the options]
    """
    results, record = pipeline.run(
        train_config, convert_config, simulate_config, readout_config, output,
        **start_devices(where),
    )  # fmt: skip
    if checkpoint.is_writer():
        printing.print_simulation(record, results)


def finetune(
    snn: Path,
    /,
    *,
    config: FineTuning = FineTuneConfig(),
    where: Devices = DeviceConfig(),
    dataset: Dataset = None,
    output: Output = None,
) -> None:
    """Train a spiking network through its simulation; writes snn.safetensors and finetune.json.

    A control, control.safetensors, is trained as the quantised ANN for as many epochs. A
    fine-tuning that was stopped resumes when the same command is given again.

    Parameters
    ----------
    snn
        snn.safetensors of a conversion
    dataset
        name or path of the data whose images to use [default: those the network was trained on]
    output
        folder for the files [default: the folder finetuned-4, or another T, beside the converted
        parameters]
    """
    folder = output or folder_of(snn, None) / f"finetuned-{config.num_steps}"
    record = fine_tune(snn, config, folder, dataset=dataset, **start_devices(where))
    if checkpoint.is_writer():
        printing.print_fine_tuning(record, folder)
