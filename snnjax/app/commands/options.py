"""Groups of options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from snnjax.app.configurations import ConvertConfig, ReadoutConfig, SimulateConfig, TrainConfig
from snnjax.app.configurations.choices import one_of
from snnjax.io import checkpoint
from snnjax.io.datasets import NAMES
from snnjax.runtime import processes
from snnjax.runtime.processes import DeviceConfig

__all__ = [
    "Conversion",
    "Dataset",
    "Devices",
    "Output",
    "Readout",
    "Simulation",
    "Training",
    "start_devices",
]

Training = Annotated[TrainConfig, Parameter(name="*", group=Group("Training", sort_key=1))]
Conversion = Annotated[ConvertConfig, Parameter(name="*", group=Group("Conversion", sort_key=2))]
Simulation = Annotated[SimulateConfig, Parameter(name="*", group=Group("Simulation", sort_key=3))]
Readout = Annotated[ReadoutConfig, Parameter(name="*", group=Group("Readout", sort_key=4))]
Devices = Annotated[DeviceConfig, Parameter(name="*", group=Group("Devices", sort_key=5))]
Output = Annotated[Path | None, Parameter(name="--output")]
Dataset = Annotated[str | None, one_of(NAMES)]


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
