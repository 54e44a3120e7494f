"""`snnjax simulate`, `snnjax learn` and `snnjax energy`."""

from __future__ import annotations

from pathlib import Path

from snnjax.app import printing
from snnjax.app.commands.options import (
    BatchSize,
    Dataset,
    Devices,
    Images,
    Output,
    Readout,
    Seed,
    Simulation,
    folder_of,
    start_devices,
)
from snnjax.app.configurations import ReadoutConfig, SimulateConfig
from snnjax.app.configurations.effects import refuse_unused
from snnjax.app.energy_texts import print_energy
from snnjax.app.stages import readout_learning, simulation
from snnjax.app.stages.energy import measure_energy
from snnjax.io import checkpoint
from snnjax.runtime.processes import DeviceConfig

__all__ = ["energy", "learn", "simulate"]

EXITS = ("exit_margin", "exit_tolerance")
"""Options of early exit."""


def simulate(
    snn: Path,
    /,
    *,
    config: Simulation = SimulateConfig(),
    where: Devices = DeviceConfig(),
    dataset: Dataset = None,
    batch_size: BatchSize = 128,
    seed: Seed = 0,
    output: Output = None,
) -> None:
    """Run a spiking network on all test images; writes simulation.json and accuracy.png.

    Parameters
    ----------
    snn
        snn.safetensors of a conversion
    dataset
        name or path of the data whose test images to use [default: those
        the network was trained on]
    batch_size
        images at a time on each device
    seed
        of random input spikes
    output
        folder for the files [default: the folder of the converted parameters]
    """
    refuse_unused("simulate", config)
    output = folder_of(snn, output)
    record = simulation.simulate(
        snn, config, output, dataset=dataset, batch_size=batch_size, seed=seed,
        **start_devices(where),
    )  # fmt: skip
    if checkpoint.is_writer():
        printing.print_simulation(record, output)


def learn(
    snn: Path,
    /,
    *,
    config: Readout = ReadoutConfig(),
    simulation: Simulation = SimulateConfig(),
    dataset: Dataset = None,
    seed: Seed = 0,
    output: Output = None,
) -> None:
    """Add a leaky readout that learns without labels; rewrites snn.safetensors.

    Parameters
    ----------
    snn
        snn.safetensors of a conversion
    dataset
        name or path of the data whose training images to learn from [default: those
        the network was trained on]
    seed
        of random weights, the order of images and random spikes
    output
        folder for the file [default: the folder of the converted parameters]
    """
    refuse_unused(
        "learn", config, simulation, without=("readout", "num_steps", "shown_steps", *EXITS)
    )
    output = folder_of(snn, output)
    record = readout_learning.learn(snn, config, output, how=simulation, dataset=dataset, seed=seed)
    printing.print_readout(record, output / "snn.safetensors")


def energy(
    snn: Path,
    /,
    *,
    config: Simulation = SimulateConfig(),
    dataset: Dataset = None,
    images: Images = 256,
    batch_size: BatchSize = 64,
    seed: Seed = 0,
    output: Output = None,
) -> None:
    """Compare the energy of a spiking network with its ANN's; writes energy.json and energy.png.

    Early exit is calibrated on validation images with a tolerance of 0.001, unless an exit option
    is given.

    Parameters
    ----------
    snn
        snn.safetensors of a conversion
    dataset
        name or path of the data whose test images to use [default: those
        the network was trained on]
    images
        number of test images, from the first
    batch_size
        images at a time
    seed
        of random input spikes
    output
        folder for the file [default: the folder of the converted parameters]
    """
    refuse_unused("energy", config)
    output = folder_of(snn, output)
    record = measure_energy(
        snn, config, output, dataset=dataset, images=images, batch_size=batch_size, seed=seed
    )
    print_energy(record, output / "energy.json")
