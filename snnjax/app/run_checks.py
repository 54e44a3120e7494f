"""Checks of a whole run before its first training step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from snnjax.app.configurations import (
    DEFAULT_NEURON,
    ConvertConfig,
    ReadoutConfig,
    SimulateConfig,
    TrainConfig,
    resolve_conversion,
    resolve_simulation,
)
from snnjax.app.configurations.methods import check_calibrated_neuron
from snnjax.app.run_files import hold_out_validation
from snnjax.app.stages.conversion import check_calibration_images, needs_images
from snnjax.app.stages.readout_learning import count_images
from snnjax.io import datasets
from snnjax.io.checkpoint import check_writable

__all__ = ["check_before_training"]


def check_before_training(
    train: TrainConfig,
    convert: ConvertConfig,
    simulate: SimulateConfig,
    readout: ReadoutConfig,
    output: Path,
) -> None:
    """Refuse what a later stage would refuse, before time is spent on training.

    Args:
      train: the training, with the settings of the method.
      convert: the conversion as the user gave it, with its T.
      simulate: the simulation as the user gave it.
      readout: the leaky readout and how it learns.
      output: folder for the files.

    Raises:
      ValueError: as the stages.
      OSError: if data are missing, or the folder cannot be written.
    """
    results = output / (convert.method or "")
    check_writable(output / "config.json", results / "snn.safetensors", results / "simulation.json")
    found = resolve_conversion(convert, train)
    simulate = resolve_simulation(simulate, convert.method)
    name = simulate.neuron or DEFAULT_NEURON
    check_calibrated_neuron(found.correct, name)
    network = train.architecture()
    simulate.check_steps(network)
    learns = simulate.readout in ("leaky", "stdp")
    if learns:
        replace(simulate, num_steps=readout.readout_steps).check_steps(network)
    if learns or needs_images(found):
        data = datasets.load(train.dataset)
        if needs_images(found):
            check_calibration_images(
                found.calibration_images, train.dataset, len(data.train.images)
            )
        if learns:
            training, _ = hold_out_validation(train, data)
            count_images(readout, len(training.images), data.classes)
