"""`snnjax export`, `snnjax npz export`, `snnjax nir export` and `snnjax nir import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from cyclopts import Parameter

from snnjax.app import printing, program_export, run_files
from snnjax.app.commands.options import Output, Simulation, folder_of
from snnjax.app.configurations import SimulateConfig
from snnjax.app.configurations.choices import one_of
from snnjax.app.configurations.effects import refuse_unused
from snnjax.app.stages.integer_network import export_integers
from snnjax.conversion.methods import METHODS
from snnjax.io import checkpoint, nir_export, nir_import
from snnjax.io.integer_export import WHOLE_NEURONS

__all__ = ["export", "export_nir", "export_npz", "import_nir"]

GRAPH_NEURON = "double-threshold"
"""Neuron of the graphs that nir export writes."""


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
    refuse_unused("export", config, without=("exit_margin", "exit_tolerance"))
    output = output or folder_of(snn, None) / f"{snn.stem}.jaxexport"
    program = program_export.export_file(snn, config, output, platforms=platforms)
    printing.print_program(program, output)


def export_npz(
    snn: Path,
    /,
    *,
    neuron: Annotated[str | None, one_of(WHOLE_NEURONS)] = None,
    output: Output = None,
) -> None:
    """Write an integer network as whole numbers in a .npz file, for hardware.

    NumPy alone reads it; docs/files.md lists its arrays.

    Parameters
    ----------
    snn
        snn.safetensors of snnjax quantise
    neuron
        neuron model of the hidden layers [default: the method's, or exact-charge]
    output
        the file [default: snn.npz in the folder of the network]
    """
    output = output or folder_of(snn, None) / f"{snn.stem}.npz"
    printing.print_npz(output, export_integers(snn, neuron, output))


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
    checkpoint.check_writable(file)
    network, params, metadata = run_files.load_network(snn)
    _check_exact(params, metadata, coupled)
    shape = run_files.image_shape(metadata)
    nir_export.write(file, network, params, shape, coupled=coupled, metadata=metadata)
    printing.print_nir_graph(file)


def _check_exact(params: dict[str, Any], metadata: dict[str, Any], coupled: bool) -> None:
    """Refuse a network that is meant for other neurons than those of the graph.

    Raises:
      ValueError: if it is, or `coupled` has no effect because all neurons are one-sided.
    """
    method = metadata["config"]["method"]
    neuron = METHODS[method].neuron if method else GRAPH_NEURON
    if neuron != GRAPH_NEURON:
        raise ValueError(
            f"method {method} is for {neuron} neurons, and a NIR graph has {GRAPH_NEURON} ones;"
            " convert with the options of the method instead of --method"
        )
    negative = [
        leaf
        for keys, leaf in jax.tree_util.tree_leaves_with_path(params["layers"])
        if keys[-1].key == "negative"
    ]
    if coupled and all(np.isinf(leaf).all() for leaf in negative):
        raise ValueError(
            "--coupled has no effect: no neuron has a negative threshold; leave it out"
        )


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
    path = (output or file.parent) / "snn.safetensors"
    checkpoint.check_writable(path)
    _, params, metadata = nir_import.read(file)
    if "trained" not in metadata:
        raise ValueError(
            f"{file} does not say how its network was trained, which the other commands need; read"
            " it in Python with snnjax.io.nir_import.read"
        )
    checkpoint.save(path, params, kind="snn", metadata=metadata)
    printing.print_converted(path)
