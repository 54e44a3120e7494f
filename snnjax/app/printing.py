"""Texts and tables for people: what the commands print, and tables in markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from snnjax.analysis import layer_tables
from snnjax.app.configurations import recorded_training
from snnjax.app.evaluation import WITHIN

if TYPE_CHECKING:
    from snnjax.analysis.conversion_error import ErrorReport
    from snnjax.analysis.remedies import Remedies
    from snnjax.app.program_export import Program

__all__ = [
    "figure_title",
    "markdown_table",
    "mean_and_deviation",
    "print_converted",
    "print_fine_tuning",
    "print_nir_graph",
    "print_npz",
    "print_prepared",
    "print_program",
    "print_readout",
    "print_report",
    "print_rich_table",
    "print_simulation",
    "print_table",
    "print_trained",
    "report_tables",
]


COLUMNS_WITHOUT_TERMINAL = 160
"""Width of a table in characters where standard output is a file or a pipe."""


def print_trained(path: Path) -> None:
    """Print where the parameters of a training are."""
    print(f"trained parameters: {path}")


def print_converted(path: Path) -> None:
    """Print where the parameters of a conversion are."""
    print(f"converted parameters: {path}")


def print_quantised(path: Path, exact: Mapping[str, Any]) -> None:
    """Print where the parameters of an integer network are, and the size of its weights."""
    print(
        f"whole numbers: {path}; {exact['weights']:,} weights of {exact['weight_bits']} bits,"
        f" {exact['weight_bytes']:,} bytes"
    )


def print_nir_graph(path: Path) -> None:
    """Print where a NIR graph is."""
    print(f"NIR graph: {path}")


def print_npz(path: Path, neuron: str) -> None:
    """Print where the whole numbers for hardware are, and for which neurons."""
    print(f"whole numbers for hardware: {path}, {neuron} neurons")


def print_prepared(path: Path) -> None:
    """Print where a prepared data set is."""
    print(f"prepared: {path}")


def print_program(program: Program, path: Path) -> None:
    """Print inputs, outputs and platforms of an exported program."""
    facts = program.metadata
    inputs = "images, key" if facts["takes_key"] else "images"
    shape = ", ".join(map(str, facts["image_shape"]))
    print(
        f"program: {path}, from {inputs} [B, {shape}] to values"
        f" [{facts['num_steps']}, B, {facts['classes']}], for {', '.join(facts['platforms'])}"
    )


def print_readout(record: dict[str, Any], path: Path) -> None:
    """Print validation accuracies before and after a readout has learnt.

    Args:
      record: what `stages.readout_learning.learn` returned.
      path: the file with the network.
    """
    names = {
        "count": "spike counts of the last layer",
        "before": "leaky layer, before learning",
        "after": "leaky layer, after learning",
    }
    print_table(
        f"accuracy on {record['images']['validation']:,} validation images",
        ["readout", "%"],
        [[names[k], f"{100 * v:.2f}"] for k, v in record["validation_accuracy"].items()],
    )
    print(f"{'learnt' if record['kept'] else 'identity'} weights: {path}")


def print_simulation(record: dict[str, Any], folder: Path) -> None:
    """Print accuracy and firing rate at every timestep, latency and early exit.

    Args:
      record: what `stages.simulation.simulate` returned.
      folder: of its files.
    """
    columns = ["T", "SNN %", "loss (points)", "spikes / neuron / step"]
    rows = [
        [str(t), f"{100 * snn:.2f}", f"{100 * loss:+.2f}", f"{rate:.3f}"]
        for t, (snn, loss, rate) in enumerate(
            zip(record["snn"], record["loss"], record["spike_rate"], strict=True), 1
        )
    ]
    if record["ceiling"]:
        columns.append("ANN % on the mean frame")
        rows = [
            [*row, f"{100 * ann:.2f}"] for row, ann in zip(rows, record["ceiling"], strict=True)
        ]
    print_table(_simulation_title(record), columns, rows)
    reached = record["latency"]
    print(
        f"within {100 * WITHIN:.2f} points of the ANN: "
        + (f"from T = {reached}" if reached else f"not up to T = {len(rows)}")
    )
    if record["tied"][-1]:
        print(
            f"{100 * record['tied'][-1]:.2f} % of the answers are ties at T = {len(rows)}, and the"
            " first of the classes counts"
        )
    if "exit" in record:
        found, full = record["exit"], record["snn"][-1]
        print(
            f"early exit at a margin of {found['margin']:.4g}:"
            f" {100 * found['accuracy']:.2f} % after {found['steps']:.2f} timesteps on average,"
            f" {100 * full:.2f} % after all {len(rows)}"
        )
    print(f"results: {folder / 'simulation.json'}, {folder / 'accuracy.png'}")


def figure_title(record: dict[str, Any]) -> str:
    """Title of a figure of accuracies: network, data and number of test images of a record."""
    name = record["dataset"]["name"] + ("" if record["dataset"]["exact_pixels"] else " (inexact)")
    return f"{record['training']['network']} on {name}, {record['images']:,} test images"


def _network_on_data(record: dict[str, Any]) -> str:
    """Name the network and the data of a record, and say so if their pixels are inexact."""
    data = record["dataset"]
    return (
        f"{record['training']['network']} on {data['name']} {data['version']}"
        f"{'' if data['exact_pixels'] else ' (inexact pixels)'}"
    )


def _simulation_title(record: dict[str, Any]) -> str:
    levels = recorded_training({"config": record["training"]}).finest_levels
    return (
        f"{_network_on_data(record)}: ANN {100 * record['ann']:.2f} %"
        f" ({f'{levels} levels' if levels else 'smooth activation'}),"
        f" {record['images']:,} test images,"
        f" {record['config']['neuron']}, {record['config']['encoding']} input"
    )


def print_fine_tuning(record: dict[str, Any], folder: Path) -> None:
    """Print accuracy and synaptic operations before and after fine-tuning, and of the control.

    Args:
      record: what `stages.fine_tuning.fine_tune` returned.
      folder: of its files.
    """
    forms = {"before": "before", "fine_tuned": "fine-tuned", "control": "control"}
    columns = ["T", *(f"{name} %" for name in forms.values())]
    columns += [f"{name}, operations" for name in forms.values()]
    rows = [
        [
            str(t + 1),
            *(f"{100 * record[form]['accuracy'][t]:.2f}" for form in forms),
            *(f"{record[form]['synaptic_operations'][t]:,.0f}" for form in forms),
        ]
        for t in range(record["config"]["num_steps"])
    ]
    title = (
        f"{_network_on_data(record)}: ANN {100 * record['ann']['trained']:.2f} %,"
        f" {record['images']:,} test images, {record['config']['epochs']} epochs each"
    )
    print_table(title, columns, rows)
    print(f"results: {folder / 'finetune.json'}, {folder / 'finetune.png'}")


def report_tables(
    record: dict[str, Any],
    layers: list[layer_tables.LayerRow],
    errors: ErrorReport,
    remedies: Remedies,
) -> list[Table]:
    """Tables of the layers, of their errors, and of the remedies that were tried.

    Args:
      record: as in `report.json`.
      layers: the layers of the ANN in the spiking network.
      errors: of the spiking network in each of them.
      remedies: other conversions and their accuracy.
    """
    name, config = record["training"]["network"], record["config"]
    return [
        layer_tables.layer_table(layers, f"{name}: layers after conversion"),
        layer_tables.error_table(
            errors,
            f"{name} on {record['dataset']['name']}, {config['images']:,} test images,"
            f" T = {config['num_steps']}, {config['neuron']}: same answer as the smooth ANN on"
            f" {100 * errors.agreement:.1f} %. Rates and errors in spikes per timestep",
            {row.path: row.user_name for row in layers},
        ),
        layer_tables.remedy_table(
            remedies,
            f"remedies, each tried on these {config['images']:,} test images",
            record["remedies"]["advice"],
        ),
    ]


def print_report(tables: list[Table], folder: Path) -> None:
    """Print the tables of a report, and where its files are.

    Args:
      tables: what `report_tables` returned.
      folder: of the files.
    """
    for table in tables:
        print_rich_table(table)
    print(f"results: {folder / 'report.json'}, {folder / 'report.html'}")


def mean_and_deviation(values: Sequence[float], sign: str = "") -> str:
    """Text of the mean and standard deviation of shares in [0, 1], as "98.20 ± 0.13".

    Numbers are in %. With a `sign` of "+" they are differences, in points. One value has no
    deviation.

    Raises:
      StatisticsError: if there are no values.
    """
    text = f"{100 * statistics.mean(values):{sign}.2f}"
    return f"{text} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else text


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as markdown, a line for each row."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of right-aligned cells to standard output."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    print_rich_table(table)


def print_rich_table(table: Table) -> None:
    """Print a table to standard output, in a width that needs no terminal."""
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console = Console(soft_wrap=True, width=COLUMNS_WITHOUT_TERMINAL)
    console.print(table)
