"""`snnjax convert` and `snnjax report`."""

from __future__ import annotations

from pathlib import Path

from snnjax.app import printing
from snnjax.app.commands.options import Conversion, Dataset, Output, Simulation
from snnjax.app.configurations import ConvertConfig, SimulateConfig
from snnjax.app.stages import layer_report
from snnjax.app.stages.conversion import convert as convert_to_file

__all__ = ["convert", "report"]


def convert(ann: Path, /, *, config: Conversion = ConvertConfig(), output: Output = None) -> None:
    """Convert trained parameters to those of a spiking network; writes snn.safetensors.

    Parameters
    ----------
    ann
        ann.safetensors of a training
    output
        folder for the file [default: the folder of the trained parameters]
    """
    printing.print_converted(convert_to_file(ann, config, output or ann.parent))


def report(
    ann: Path,
    /,
    *,
    conversion: Conversion = ConvertConfig(),
    config: Simulation = SimulateConfig(),
    dataset: Dataset = None,
    images: int = 256,
    seed: int = 0,
    output: Output = None,
) -> None:
    """Show every layer after conversion, and where and why the spiking network errs.

    Writes report.json and report.html.

    Parameters
    ----------
    ann
        ann.safetensors of a training
    dataset
        whose test images to use [default: the data set the network was trained on]
    images
        number of test images, from the first
    seed
        of random input spikes
    output
        folder for the files [default: the folder of the trained parameters]
    """
    output = output or ann.parent
    found = layer_report.report(
        ann, conversion, config, output, dataset=dataset, images=images, seed=seed
    )
    printing.print_report(printing.report_tables(*found), output)
