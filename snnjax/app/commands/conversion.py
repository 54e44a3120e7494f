"""`snnjax convert`, `snnjax quantise` and `snnjax report`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

from snnjax.app import printing
from snnjax.app.commands.options import (
    Conversion,
    Dataset,
    Images,
    Output,
    Seed,
    Simulation,
    folder_of,
)
from snnjax.app.configurations import ConvertConfig, SimulateConfig, resolve_simulation
from snnjax.app.configurations.choices import within
from snnjax.app.configurations.effects import refuse_unused
from snnjax.app.configurations.methods import check_calibrated_neuron, with_method
from snnjax.app.stages import layer_report
from snnjax.app.stages.conversion import convert as convert_to_file
from snnjax.app.stages.integer_network import report_sizes
from snnjax.app.stages.quantisation import quantise as quantise_file
from snnjax.io import checkpoint
from snnjax.runtime import ranges

__all__ = ["convert", "quantise", "report"]

WITHOUT = ("pre_steps", "readout", "shown_steps", "exit_margin", "exit_tolerance")
"""Options of a simulation that a report does not use."""

REPORT_IMAGES = 256
"""Default of --images of a report."""


def convert(
    ann: Path,
    /,
    *,
    config: Conversion = ConvertConfig(),
    dataset: Dataset = None,
    output: Output = None,
) -> None:
    """Convert trained parameters to those of a spiking network; writes snn.safetensors.

    Parameters
    ----------
    ann
        ann.safetensors of a training
    dataset
        name or path of the data whose training images to measure on [default: those
        the network was trained on]
    output
        folder for the file [default: the folder of the trained parameters]
    """
    refuse_unused("convert", config)
    path = convert_to_file(ann, config, folder_of(ann, output), dataset=dataset)
    printing.print_converted(path)


def quantise(
    snn: Path,
    /,
    *,
    weight_bits: Annotated[int, within(ranges.WEIGHT_BITS)] = 8,
    calibration_images: Annotated[int, within(ranges.UP_TO_IMAGES)] = 256,
    dataset: Dataset = None,
    output: Output = None,
) -> None:
    """Make weights, biases and thresholds whole numbers; writes snn.safetensors.

    Parameters
    ----------
    snn
        snn.safetensors of a conversion
    weight_bits
        of the weights, sign included
    calibration_images
        training images on which the units of the weights are chosen; 0 for none
    dataset
        name or path of the data whose training images to use [default: those
        the network was trained on]
    output
        folder for the file [default: the folder bits-8, or another number, beside
        the converted parameters]
    """
    folder = output or folder_of(snn, None) / f"bits-{weight_bits}"
    found = quantise_file(
        snn, weight_bits, folder, calibration_images=calibration_images, dataset=dataset
    )
    printing.print_quantised(folder / "snn.safetensors", found)


def report(
    ann: Path,
    /,
    *,
    conversion: Conversion = ConvertConfig(),
    config: Simulation = SimulateConfig(),
    dataset: Dataset = None,
    images: Images = REPORT_IMAGES,
    seed: Seed = 0,
    output: Output = None,
) -> None:
    """Show every layer after conversion, and where and why the spiking network errs.

    Of an integer network, show the sizes of weights and sums. Writes report.json and report.html.

    Parameters
    ----------
    ann
        ann.safetensors of a training, or snn.safetensors of snnjax quantise
    dataset
        name or path of the data whose test images to use [default: those
        the network was trained on]
    images
        number of test images, from the first
    seed
        of random input spikes
    output
        folder for the files [default: the folder of the trained parameters]
    """
    if checkpoint.kind_of(ann) == "snn":
        _refuse_unsized(conversion, config, dataset, images)
        folder = folder_of(ann, output)
        printing.print_report([report_sizes(ann, config.num_steps, folder)], folder)
        return
    refuse_unused(
        "report", conversion, config, without=WITHOUT, always=("calibration_images",)
    )  # fmt: skip
    neuron = resolve_simulation(config, conversion.method).neuron
    check_calibrated_neuron(with_method(conversion).correct, str(neuron))
    output = folder_of(ann, output)
    found = layer_report.report(
        ann, conversion, config, output, dataset=dataset, images=images, seed=seed
    )
    printing.print_report(printing.report_tables(*found), output)


def _refuse_unsized(
    conversion: ConvertConfig, config: SimulateConfig, dataset: str | None, images: int
) -> None:
    """Refuse options without an effect on the sizes of an integer network.

    Raises:
      ValueError: naming the first one.
    """
    unused = [field.name for each in (conversion, config) for field in fields(each)]
    unused.remove("num_steps")
    refuse_unused("report of an integer network", conversion, config, without=unused)
    for name, given in (("dataset", dataset is not None), ("images", images != REPORT_IMAGES)):
        if given:
            raise ValueError(f"--{name} has no effect on the sizes of a network; leave it out")
