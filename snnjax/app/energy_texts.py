"""Texts and tables of `snnjax energy`: the answer first, then the figures that it rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from snnjax.app.evaluation import WITHIN
from snnjax.app.evaluation.energies import MEASURES
from snnjax.app.printing import print_table

__all__ = ["answer_in_words", "print_energy"]

MEASURED = {"operations": "in operations", "memory": "with memory traffic"}
"""Words for what an energy counts."""

CHEAPER = 1 - 1e-6
"""Ratio of energies below which one is smaller; rounding makes equal ones differ."""


def answer_in_words(record: Mapping[str, Any], *, is_finetuned: bool = False) -> str:
    """Answer at which T the spiking network is cheaper than its ANN and than a quantised ANN.

    Args:
      record: with the entries of `evaluation.compare_energies`.
      is_finetuned: True if the weights, which the ANN has too, were fine-tuned.
    """
    its_ann = "the ANN with its fine-tuned weights" if is_finetuned else "its ANN"
    rows, ann = record["timesteps"], record["ann"]
    than_ann = _cheaper(rows, lambda row, name: row["to_ann"][name] < CHEAPER)
    than_rival = _cheaper(rows, _beats_quantised)
    alone = [str(row["steps"]) for row in rows if row["to_quantised_ann"]["memory"] is None]
    if alone:
        than_rival += f" (at T = {', '.join(alone)} none of these is as accurate)"
    equal = [row["steps"] for row in rows if row["accuracy"] >= ann["accuracy"] - WITHIN - 1e-9]
    accurate, when = "does not reach", f"up to T = {rows[-1]['steps']}"
    if equal:
        accurate, when = "first reaches", f"at T = {equal[0]}"
    text = (
        f"This spiking network needs less energy than its ANN in 32-bit floats {than_ann}; it needs"
        f" less than the quantised ANN of the same accuracy {than_rival}. It {accurate} the"
        f" accuracy of {its_ann} ({100 * ann['accuracy']:.2f} %, within {100 * WITHIN:.2f} points)"
        f" {when}."
    )
    return text + (f" {_early_exit(record)}" if record["early_exit"] else "")


def _cheaper(
    rows: Sequence[Mapping[str, Any]], is_cheaper: Callable[[Mapping[str, Any], str], bool]
) -> str:
    """Words for the timesteps at which rows are cheaper, in operations and with memory."""
    found = {name: _timesteps(rows, [is_cheaper(row, name) for row in rows]) for name in MEASURED}
    if found["operations"] == found["memory"]:
        return f"{found['memory']}, with and without memory traffic"
    return " and ".join(f"{found[name]} {words}" for name, words in MEASURED.items())


def _beats_quantised(row: Mapping[str, Any], name: str) -> bool:
    """True if a quantised ANN is as accurate, and the cheapest of them needs more energy."""
    found = row["to_quantised_ann"][name]
    return found is not None and found["ratio"] < CHEAPER


def _timesteps(rows: Sequence[Mapping[str, Any]], cheaper: Sequence[bool]) -> str:
    """Words for the timesteps at which the spiking network is cheaper."""
    steps = [row["steps"] for row, less in zip(rows, cheaper, strict=True) if less]
    if not steps:
        return "at no T"
    if all(cheaper):
        return f"at every T up to {steps[-1]}" if len(steps) > 1 else f"at T = {steps[0]}"
    if all(cheaper[: len(steps)]):
        return f"up to T = {steps[-1]}"
    return f"at T = {', '.join(map(str, steps))}"


def _early_exit(record: Mapping[str, Any]) -> str:
    """Sentence on early exit: accuracy, timesteps, and energy beside the ANNs'."""
    row, parts = record["early_exit"], []
    for name, key in MEASURES.items():
        rival = row["to_quantised_ann"][name]
        other = f"{row[key] / rival['ratio']:,.1f}" if rival else "none as accurate"
        parts.append(
            f"{row[key]:,.1f} nJ {MEASURED[name]} (ANN {record['ann'][key]:,.1f}, quantised ANN"
            f" {other})"
        )
    return (
        f"With early exit, after {row['steps']:.2f} timesteps on average, it is right on"
        f" {100 * row['accuracy']:.2f} % and needs {' and '.join(parts)}."
    )


def print_energy(record: dict[str, Any], path: Path) -> None:
    """Print the answer, accuracy and energy at each T, and the operations of every layer.

    Args:
      record: what `stages.energy.measure_energy` returned.
      path: the file with it.
    """
    print(record["answer"])
    _print_comparison(record)
    _print_operations(record)
    _print_silent(record["silent_channels"])
    print(f"results: {path}, {path.with_name('energy.png')}")


def _print_comparison(record: dict[str, Any]) -> None:
    """Print a row for each T, for early exit, for the ANN and for each quantised ANN."""
    rows = [
        [f"SNN, T = {row['steps']}", *_figures(row, row["accumulates"])]
        for row in record["timesteps"]
    ]
    if record["early_exit"]:
        row = record["early_exit"]
        rows.append([f"SNN, early exit at {row['steps']:.2f}", *_figures(row, row["accumulates"])])
    ann = record["ann"]
    rows.append(["ANN, 32-bit floats", *_figures(ann, ann["products"])])
    for row in record["quantised_ann"]:
        bits = f"{row['activation_bits']} bit{'s' * (row['activation_bits'] > 1)}"
        name = f"ANN of {row['levels']} level{'s' * (row['levels'] > 1)}, {bits}"
        rows.append([name, *_figures(row, row["products"])])
    first, last = record["timesteps"][0], record["timesteps"][-1]
    sums = sorted({first["sum_bits"], last["sum_bits"]})
    print_table(
        f"{record['training']['network']} on {record['dataset']['name']}: energy per image, mean"
        f" of {record['images']:,}; SNN and quantised ANNs with {first['weight_bits']}-bit weights"
        f" and sums of {' to '.join(map(str, sums))} bits",
        ["network", "accuracy %", "operations", "nJ", "/ ANN", "/ quantised (levels)",
         "nJ with memory", "/ ANN", "/ quantised (levels)"],
        rows,
    )  # fmt: skip
    print(f"memory: {record['memory_model']['source']}; zero activations are skipped")
    if not record["early_exit"]:
        print(f"no early exit: {record['no_early_exit']}")


def _figures(row: dict[str, Any], operations: float) -> list[str]:
    """Cells of a row: accuracy, operations, both energies and what they are divided by others."""
    cells = [f"{100 * row['accuracy']:.2f}", f"{operations:,.0f}"]
    for name, key in MEASURES.items():
        cells.append(f"{row[key]:,.1f}")
        if "to_ann" in row:
            rival = row["to_quantised_ann"][name]
            cells.append(f"{row['to_ann'][name]:.3f}")
            cells.append(f"{rival['ratio']:.2f} ({rival['levels']})" if rival else "none")
        else:
            cells += ["", ""]
    return cells


def _print_silent(found: dict[str, Any]) -> None:
    """Print the channels that never fired, by layer, and the share of test images where they do."""
    shown = f"silent channels on {found['images']:,} {found['split']} images"
    layers = [
        f"{count:,} of {found['channels'][path]:,} in {path}"
        for path, count in found["silent"].items()
        if count
    ]
    if not layers:
        print(f"{shown}: none")
        return
    wrong = f"; one of them fires on {100 * found['fire_on_others']:.2f} % of the test images"
    print(f"{shown}: {', '.join(layers)}{wrong if found['split'] != 'test' else ''}")


def _print_operations(record: dict[str, Any]) -> None:
    """Print the operations of every layer, and their energy in floats and in integers."""
    steps, bench = record["config"]["num_steps"], record["neurobench"]
    columns = ["weights", "ACs", "MACs", "NeuroBench: ACs", "MACs", "dense"]
    names = ("accumulates", "macs", "effective_acs", "effective_macs", "dense")
    layers = {
        **record["layers"],
        "all": {name: sum(row[name] for row in record["layers"].values()) for name in names},
    }
    print_table(
        f"{record['training']['network']} on {record['dataset']['name']}: operations per image"
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
    if "exact" in record:
        found = record["exact"]
        print(f"whole numbers: {found['weights']:,} weights, {found['weight_bytes']:,} bytes")
    titles = _arithmetics(record)
    rows = [
        [titles[name], *(f"{row[key]:,.1f}" for key in ("snn", "snn_graded_products", "ann")),
         *(f"{row[key]:.3f}" for key in ("spike_rate", "break_even_rate"))]
        for name, row in record["energy_nj"].items()
    ]  # fmt: skip
    print_table(
        "energy of operations in 45 nm, nJ per image, without memory access",
        ["arithmetic", "SNN", "graded as MACs", "ANN", "spikes / step", "break-even"],
        rows,
    )


def _arithmetics(record: dict[str, Any]) -> dict[str, str]:
    """Rows of the table of energies in words, by their names in the record."""
    ann = f"{record['activation_bits']}-bit ANN"
    titles = {"float32": "32-bit floats", "integer": f"integers, {ann}"}
    if "exact" in record:
        own = record["exact"]
        titles["exact"] = (
            f"its own integers: {own['weight_bits']}-bit weights, {own['sum_bits']}-bit sums, {ann}"
        )
    return titles
