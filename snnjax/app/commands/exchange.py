"""`snnjax export`, `snnjax nir export` and `snnjax nir import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from snnjax.app import printing, program_export, run_files
from snnjax.app.commands.options import Output, Simulation
from snnjax.app.configurations import SimulateConfig
from snnjax.io import checkpoint, nir_export, nir_import

__all__ = ["export", "export_nir", "import_nir"]


def export(
    snn: Path,
    /,
    *,
    config: Simulation = SimulateConfig(),
    platforms: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ("cpu",),
    output: Output = None,
) -> None:
    """Write a spiking network to one file that JAX runs without this package.

    Parameters
    ----------
    snn
        snn.safetensors of a conversion
    platforms
        platforms to run it on: cpu, cuda, rocm, tpu
    output
        the file [default: snn.jaxexport in the folder of the converted parameters]
    """
    output = output or snn.with_suffix(".jaxexport")
    program = program_export.export_file(snn, config, output, platforms=platforms)
    printing.print_program(program, output)


def export_nir(snn: Path, file: Path, /, *, coupled: bool = False) -> None:
    """Write a spiking network as a NIR graph, for other simulators.

    The graph describes double-threshold neurons with soft reset. A network that NIR cannot
    describe exactly is refused.

    Parameters
    ----------
    snn
        snn.safetensors of a conversion
    file
        the NIR file to write
    coupled
        write neurons with two thresholds as two populations with feedback
    """
    network, params, metadata = run_files.load_network(snn)
    shape = run_files.image_shape(metadata)
    nir_export.write(file, network, params, shape, coupled=coupled, metadata=metadata)
    printing.print_nir_graph(file)


def import_nir(file: Path, /, *, output: Output = None) -> None:
    """Read a NIR graph that nir export wrote; writes snn.safetensors.

    Graphs of other programs are read in Python, with snnjax.io.nir_import.read, if they are chains
    of layers.

    Parameters
    ----------
    file
        the NIR file
    output
        folder for snn.safetensors [default: the folder of the NIR file]
    """
    _, params, metadata = nir_import.read(file)
    if "trained" not in metadata:
        raise ValueError(
            f"{file} does not say how its network was trained, which the other commands need; read"
            " it in Python with snnjax.io.nir_import.read"
        )
    path = (output or file.parent) / "snn.safetensors"
    checkpoint.save(path, params, kind="snn", metadata=metadata)
    printing.print_converted(path)
