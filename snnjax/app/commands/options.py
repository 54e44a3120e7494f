"""Groups of options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from snnjax.app.configurations import (
    ConvertConfig,
    FineTuneConfig,
    ReadoutConfig,
    SimulateConfig,
    TrainConfig,
)
from snnjax.app.configurations.choices import show_ranges, within
from snnjax.io import checkpoint
from snnjax.runtime import processes, ranges
from snnjax.runtime.processes import DeviceConfig

__all__ = [
    "BatchSize",
    "Conversion",
    "Dataset",
    "Devices",
    "FineTuning",
    "Images",
    "Output",
    "Readout",
    "Seed",
    "Simulation",
    "Training",
    "folder_of",
    "start_devices",
]

show_ranges(DeviceConfig)

Training = Annotated[TrainConfig, Parameter(name="*", group=Group("Training", sort_key=1))]
FineTuning = Annotated[FineTuneConfig, Parameter(name="*", group=Group("Fine-tuning", sort_key=1))]
Conversion = Annotated[ConvertConfig, Parameter(name="*", group=Group("Conversion", sort_key=2))]
Simulation = Annotated[SimulateConfig, Parameter(name="*", group=Group("Simulation", sort_key=3))]
Readout = Annotated[ReadoutConfig, Parameter(name="*", group=Group("Readout", sort_key=4))]
Devices = Annotated[DeviceConfig, Parameter(name="*", group=Group("Devices", sort_key=5))]
Output = Annotated[Path | None, Parameter(name="--output")]
Dataset = str | None
Seed = Annotated[int, within(ranges.SEEDS)]
Images = Annotated[int, within(ranges.IMAGES)]
BatchSize = Annotated[int, within(ranges.BATCHES)]


def start_devices(where: DeviceConfig) -> dict[str, Any]:
    """Join the other processes of this command, if any.

    Returns:
      The arguments `device_count` and `progress` of a stage.

    Raises:
      ValueError: as `runtime.processes.join`.
      OSError: as `runtime.processes.join`.
    """
    processes.join(where)
    return {"device_count": where.devices, "progress": checkpoint.is_writer()}


def folder_of(file: Path, output: Path | None) -> Path:
    """Folder for the files of a command: `output`, or else the folder of the file that it reads.

    Raises:
      FileNotFoundError: if the file is a folder, whose own folder is not meant.
    """
    if output is None and file.is_dir():
        checkpoint.check_exists(file)
    return output or file.parent
