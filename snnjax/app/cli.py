"""The command line: each stage of the pipeline, and all of them in one."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import jax
from cyclopts import App, Group, Parameter

from snnjax import __version__
from snnjax.app import pipeline, printing, program_export, report_stages, run_files
from snnjax.app.configurations import (
    ConvertConfig,
    DatasetName,
    ReadoutConfig,
    SimulateConfig,
    TrainConfig,
    recorded,
)
from snnjax.app.evaluation import WITHIN
from snnjax.io import checkpoint, nir_export, nir_import, preparation
from snnjax.runtime import processes
from snnjax.runtime.allocator import keep_freed_memory
from snnjax.runtime.compilation_cache import enable_compilation_cache
from snnjax.runtime.processes import DeviceConfig

__all__ = ["main"]


def _strict(kind: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """Cyclopts' own conversion, but 1.5 is no whole number, where it would round."""
    if kind is int and "." in tokens[0].value:
        raise ValueError(f"{tokens[0].value} is no whole number")
    return cyclopts.convert(kind, tokens)


app = App(
    name="snnjax",
    help="Train networks with two-sided activations and run them as spiking networks.",
    version=__version__,
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=(), converter=_strict),
)
data = App(name="data", help="Data sets on disk.")
nir = App(name="nir", help="NIR graphs, for other simulators.")
app.command(data)
app.command(nir)

Training = Annotated[TrainConfig, Parameter(name="*", group=Group("Training", sort_key=1))]
Conversion = Annotated[ConvertConfig, Parameter(name="*", group=Group("Conversion", sort_key=2))]
Simulation = Annotated[SimulateConfig, Parameter(name="*", group=Group("Simulation", sort_key=3))]
Readout = Annotated[ReadoutConfig, Parameter(name="*", group=Group("Readout", sort_key=4))]
Devices = Annotated[DeviceConfig, Parameter(name="*", group=Group("Devices", sort_key=5))]
Output = Annotated[Path | None, Parameter(name="--output")]


@app.command
def train(
    *,
    config: Training = TrainConfig(),
    where: Devices = DeviceConfig(),
    start: Path | None = None,
    output: Output = None,
) -> None:
    """Train a network; writes ann.safetensors and train.json.

    A training that was stopped goes on when the same command is given again.

    Parameters
    ----------
    start
        ann.safetensors of a network of the same kind to begin from, such as a smooth one that is
        to be quantised [default: random parameters]
    output
        folder for the files [default: runs/ and a name made from the options]
    """
    output = output or pipeline.default_folder(config, start)
    path = pipeline.train(config, output, start=start, **_on(where))
    if checkpoint.is_writer():
        print(f"trained parameters: {path}")


@app.command
def convert(ann: Path, /, *, config: Conversion = ConvertConfig(), output: Output = None) -> None:
    """Convert trained parameters to those of a spiking network; writes snn.safetensors.

    Parameters
    ----------
    ann
        ann.safetensors of a training
    output
        folder for the file [default: the folder of the trained parameters]
    """
    path = pipeline.convert(ann, config, output or ann.parent)
    print(f"converted parameters: {path}")


@app.command
def learn(
    snn: Path,
    /,
    *,
    config: Readout = ReadoutConfig(),
    simulation: Simulation = SimulateConfig(),
    seed: int = 0,
    output: Output = None,
) -> None:
    """Give a spiking network a leaky readout that learns without labels; rewrites snn.safetensors.

    Parameters
    ----------
    snn
        snn.safetensors of a conversion
    seed
        of random weights, the order of images and drawn spikes
    output
        folder for the file [default: the folder of the converted parameters]
    """
    output = output or snn.parent
    record = pipeline.learn(snn, config, output, how=simulation, seed=seed)
    names = {"count": "counting, no layer", "before": "layer, before", "after": "layer, after"}
    printing.print_table(
        f"accuracy on {record['images']['validation']:,} validation images",
        ["readout", "%"],
        [[names[k], f"{100 * v:.2f}"] for k, v in record["validation_accuracy"].items()],
    )
    print(f"{'new' if record['kept'] else 'identity'} weights: {output / 'snn.safetensors'}")


@app.command
def simulate(
    snn: Path,
    /,
    *,
    config: Simulation = SimulateConfig(),
    where: Devices = DeviceConfig(),
    dataset: DatasetName | None = None,
    batch_size: int = 128,
    seed: int = 0,
    output: Output = None,
) -> None:
    """Run a spiking network on all test images; writes simulation.json and accuracy.png.

    Parameters
    ----------
    snn
        snn.safetensors of a conversion
    dataset
        whose test images to use [default: what the network was trained on]
    batch_size
        images at a time on each device
    seed
        of input spikes that are drawn at random
    output
        folder for the files [default: the folder of the converted parameters]
    """
    output = output or snn.parent
    record = pipeline.simulate(
        snn, config, output, dataset=dataset, batch_size=batch_size, seed=seed, **_on(where)
    )
    _show(record, output)


@app.command
def energy(
    snn: Path,
    /,
    *,
    config: Simulation = SimulateConfig(),
    dataset: DatasetName | None = None,
    images: int = 256,
    batch_size: int = 64,
    seed: int = 0,
    output: Output = None,
) -> None:
    """Count the operations of a spiking network and their energy; writes energy.json.

    Parameters
    ----------
    snn
        snn.safetensors of a conversion
    dataset
        whose test images to use [default: what the network was trained on]
    images
        how many test images, from the first
    batch_size
        images at a time
    seed
        of input spikes that are drawn at random
    output
        folder for the file [default: the folder of the converted parameters]
    """
    output = output or snn.parent
    record = report_stages.measure_energy(
        snn, config, output, dataset=dataset, images=images, batch_size=batch_size, seed=seed
    )
    _show_energy(record)
    print(f"results: {output / 'energy.json'}")


@app.command
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
        where it is to run: cpu, cuda, rocm, tpu
    output
        the file [default: snn.jaxexport in the folder of the converted parameters]
    """
    output = output or snn.with_suffix(".jaxexport")
    program = program_export.export_file(snn, config, output, platforms=platforms)
    inputs = "images, key" if program.metadata["takes_key"] else "images"
    shape = ", ".join(map(str, program.metadata["image_shape"]))
    print(
        f"program: {output}, from {inputs} [B, {shape}] to values"
        f" [{program.metadata['num_steps']}, B, {program.metadata['classes']}],"
        f" for {', '.join(program.metadata['platforms'])}"
    )


@app.command
def report(
    ann: Path,
    /,
    *,
    conversion: Conversion = ConvertConfig(),
    config: Simulation = SimulateConfig(),
    dataset: DatasetName | None = None,
    images: int = 256,
    seed: int = 0,
    output: Output = None,
) -> None:
    """Tell what conversion makes of every layer, and where and why the spiking network errs.

    Writes report.json and report.html.

    Parameters
    ----------
    ann
        ann.safetensors of a training
    dataset
        whose test images to use [default: what the network was trained on]
    images
        how many test images, from the first
    seed
        of input spikes that are drawn at random
    output
        folder for the files [default: the folder of the trained parameters]
    """
    output = output or ann.parent
    _, tables = report_stages.report(
        ann, conversion, config, output, dataset=dataset, images=images, seed=seed
    )
    for table in tables:
        printing.print_rich_table(table)
    print(f"results: {output / 'report.json'}, {output / 'report.html'}")


@nir.command(name="export")
def export_nir(snn: Path, file: Path, /, *, coupled: bool = False) -> None:
    """Write a spiking network as a NIR graph, for other simulators.

    It stands for double-threshold neurons with reset by subtraction. What NIR cannot state exactly
    is refused.

    Parameters
    ----------
    snn
        snn.safetensors of a conversion
    file
        the NIR file to write
    coupled
        write two-sided neurons as two populations with feedback
    """
    network, params, metadata = run_files.load_network(snn)
    shape = run_files.image_shape(metadata)
    nir_export.write(file, network, params, shape, coupled=coupled, metadata=metadata)
    print(f"NIR graph: {file}")


@nir.command(name="import")
def import_nir(file: Path, /, *, output: Output = None) -> None:
    """Read a NIR graph that nir export wrote; writes snn.safetensors.

    Chains of other programs are read in Python, with snnjax.io.nir_import.read.

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
    print(f"converted parameters: {path}")


@app.command
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
        train_config, convert_config, simulate_config, readout_config, output, **_on(where)
    )
    _show(record, results)


@data.command
def prepare(name: str, /, *, source: Path | None = None, data_dir: Path | None = None) -> None:
    """Download a data set and prepare it, without TensorFlow.

    Parameters
    ----------
    name
        mnist, fashion_mnist or cifar10
    source
        folder with the original files, instead of the network
    data_dir
        where prepared data sets are kept [default: TFDS_DATA_DIR, or ~/tensorflow_datasets]
    """
    print(f"prepared: {preparation.prepare(name, source=source, data_dir=data_dir)}")


def _on(where: DeviceConfig) -> dict[str, Any]:
    """Join the other processes, if any; the arguments of a stage that say where to compute."""
    processes.join(where)
    return {"device_count": where.devices, "progress": checkpoint.is_writer()}


def _show(record: dict[str, Any], output: Path) -> None:
    if not checkpoint.is_writer():
        return
    ceiling = record["ceiling"]
    columns = ["T", "SNN %", "loss (points)", "spikes / neuron / step"]
    rows = [
        [str(t), f"{100 * snn:.2f}", f"{100 * loss:+.2f}", f"{rate:.3f}"]
        for t, (snn, loss, rate) in enumerate(
            zip(record["snn"], record["loss"], record["spike_rate"], strict=True), 1
        )
    ]
    if ceiling:
        columns.append("ANN % on the mean frame")
        rows = [[*row, f"{100 * top:.2f}"] for row, top in zip(rows, ceiling, strict=True)]
    trained = record["training"]
    levels = recorded({"config": trained}).finest_levels
    form = f"{levels} levels" if levels else "smooth activation"
    title = (
        f"{trained['network']} on {record['dataset']['name']} {record['dataset']['version']}"
        f"{'' if record['dataset']['exact_pixels'] else ' (inexact pixels)'}:"
        f" ANN {100 * record['ann']:.2f} % ({form}), {record['images']:,} test images,"
        f" {record['config']['neuron']}, {record['config']['encoding']} input"
    )
    printing.print_table(title, columns, rows)
    reached = record["latency"]
    print(
        f"within {100 * WITHIN:.2f} points of the ANN: "
        + (f"first at T = {reached}" if reached else f"not up to T = {len(rows)}")
    )
    if "exit" in record:
        found, full = record["exit"], record["snn"][-1]
        print(
            f"early exit at a margin of {found['margin']:.4g}:"
            f" {100 * found['accuracy']:.2f} % after {found['steps']:.2f} timesteps on average,"
            f" {100 * full:.2f} % after all {len(rows)}"
        )
    print(f"results: {output / 'simulation.json'}, {output / 'accuracy.png'}")


def _show_energy(record: dict[str, Any]) -> None:
    steps, bench = record["config"]["num_steps"], record["neurobench"]
    columns = ["weights", "ACs", "MACs", "NeuroBench: ACs", "MACs", "dense"]
    names = ("accumulates", "macs", "effective_acs", "effective_macs", "dense")
    layers = {
        **record["layers"],
        "all": {name: sum(row[name] for row in record["layers"].values()) for name in names},
    }
    printing.print_table(
        f"{record['training']['network']} on {record['dataset']['name']}: operations for an image"
        f" in T = {steps}, mean of {record['images']:,}; accuracy {100 * record['accuracy']:.2f} %",
        columns,
        [[path, *(f"{row[name]:,.0f}" for name in names)] for path, row in layers.items()],
    )
    print(f"first layer: {record['first_layer']}")
    print(
        f"activation sparsity {bench['activation_sparsity']:.4f}, connection sparsity"
        f" {bench['connection_sparsity']:.4f}, footprint {bench['footprint']:,} bytes,"
        f" {bench['parameter_count']:,} parameters"
    )
    titles = {
        "float32": "32-bit floats",
        "integer": f"integers, {record['activation_bits']}-bit ANN",
    }
    rows = [
        [titles[name], *(f"{row[key]:,.1f}" for key in ("snn", "snn_graded_products", "ann")),
         *(f"{row[key]:.3f}" for key in ("spike_rate", "break_even_rate"))]
        for name, row in record["energy_nj"].items()
    ]  # fmt: skip
    printing.print_table(
        "energy of operations in 45 nm, nJ an image, without memory and movement of data",
        ["in", "SNN", "graded as MACs", "ANN", "spikes / step", "break-even"],
        rows,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 with one line on what was wrong.

    One of several processes that fails ends at once with that code, and does not return.
    """
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("jax").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.showwarning = lambda message, *_, **__: print(f"note: {message}", file=sys.stderr)
    enable_compilation_cache()
    code = _run(arguments)
    processes.leave(code)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        app(
            sys.argv[1:] if arguments is None else arguments,
            exit_on_error=False, print_error=False, result_action="return_value",
        )  # fmt: skip
    except KeyboardInterrupt:
        print(
            "stopped; given again, the same command goes on from its last whole epoch of training",
            file=sys.stderr,
        )
        return 130
    except (
        cyclopts.CycloptsError, ValueError, OSError, ImportError, jax.errors.JaxRuntimeError,
    ) as error:  # fmt: skip
        lost = processes.another_process_ended(error)
        foreign = isinstance(error, jax.errors.JaxRuntimeError) and not lost
        if foreign or os.environ.get("SNNJAX_TRACEBACK"):
            raise
        advice = " See snnjax --help." if isinstance(error, cyclopts.CycloptsError) else ""
        why = (
            "another process of this command has ended; see what it said, and start all of them"
            " again: "
        )
        print(f"snnjax: {why if lost else ''}{' '.join(str(error).split())}{advice}",
              file=sys.stderr)  # fmt: skip
        return 2
    return 0
