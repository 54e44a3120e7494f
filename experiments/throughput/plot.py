"""Tables and the figure of `results/throughput.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cyclopts
from cases import NETWORKS

from snnjax.analysis import figures, plots
from snnjax.app import printing
from snnjax.io.checkpoint import write_whole

HERE = Path(__file__).parent
ORDERS = ("step by step", "chosen", "layer by layer")
CALLS = ("at once", "one by one", "one by one, not shared")

Entries = list[dict[str, Any]]
Table = tuple[Sequence[str], list[Sequence[str]]]


def milliseconds(found: dict[str, Any] | None) -> str:
    """The median; in brackets how many calls, where they were fewer than five."""
    if found is None:
        return "--"
    few = f" ({found['repeats']})" if found["repeats"] < 5 else ""
    return f"{1000 * found['median']:.4g}{few}"


def mebibytes(count: int | None) -> str:
    return "--" if count is None else f"{count / 2**20:.4g}"


def case_of(entry: dict[str, Any]) -> tuple[str, int, int]:
    return entry["network"], entry["batch"], entry["num_steps"]


def place(entry: dict[str, Any]) -> tuple[int, int, int]:
    """Where it comes in a table, whenever it was measured."""
    return NETWORKS.index(entry["network"]), entry["batch"], entry.get("num_steps", 0)


def grouped(rows: Entries) -> dict[tuple[Any, ...], dict[str, dict[str, Any]]]:
    """Rows by network, batch, T and neuron, then by order; "own" is the one that a user gets."""
    groups: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((*case_of(row), row["neuron"]), {})[row["order"]] = row
    for by_order in groups.values():
        by_order["own"] = by_order.get("chosen", by_order["step by step"])
    return groups


def throughput(rows: Entries) -> Table:
    """A line for each network, batch, T and neuron; the ratios are of the chosen order."""
    lines = []
    for (network, batch, steps, neuron), by_order in grouped(rows).items():
        own = by_order["own"]
        times = [milliseconds(by_order[o]["seconds"]) if o in by_order else "" for o in ORDERS]
        lines.append([
            network, str(batch), str(steps), neuron, *times, str(own["chunk_steps"]),
            milliseconds(own["ann_seconds"]), f"{own['to_ann']:.2f}",
            f"{own['to_steps_of_ann']:.2f}", f"{own['answers_to_steps_of_ann']:.2f}",
            mebibytes(own["memory_bytes"]),
            f"{own['trace_seconds'] + own['compile_seconds']:.1f}",
        ])  # fmt: skip
    return (
        "network", "B", "T", "neuron", *(f"{order} (ms)" for order in ORDERS), "chosen: steps",
        "ANN (ms)", "/ ANN", "/ (T ANN)", "answers alone / (T ANN)", "MiB", "compile (s)",
    ), lines  # fmt: skip


def beside_peers(entries: Entries) -> Table:
    lines = []
    for entry in entries:
        network, batch, steps = case_of(entry)
        found = [entry["peer"], network, str(batch), str(steps)]
        if "reason" in entry:
            lines.append([*found, *[""] * 5, entry["reason"].replace("|", "/")])
            continue
        agreement = entry["agreement"]
        lines.append([
            *found, milliseconds(entry["seconds"]), milliseconds(entry["peer_seconds"]),
            f"{entry['peer_to_ours']:.2f}", mebibytes(entry["memory_bytes"]),
            mebibytes(entry["peer_peak_bytes"]),
            "same" if agreement["agrees"] else f"not the same: {agreement['logits']:.2g}",
        ])  # fmt: skip
    return (
        "peer", "network", "B", "T", "snnjax (ms)", "peer (ms)", "peer / snnjax",
        "snnjax, program (MiB)", "peer, process (MiB)", "logits",
    ), lines  # fmt: skip


def memory(entries: Entries) -> Table:
    lines = [
        [
            *map(str, case_of(entry)), entry["order"], mebibytes(entry["memory_bytes"]),
            mebibytes(entry["peak_bytes"]), mebibytes(entry["peak_bytes_before_running"]),
            f"{entry['trace_seconds']:.2f}", f"{entry['compile_seconds']:.2f}",
        ]
        for entry in entries
    ]  # fmt: skip
    return (
        "network", "B", "T", "order", "program (MiB)", "process (MiB)", "before it ran (MiB)",
        "trace (s)", "compile (s)",
    ), lines  # fmt: skip


def thresholds(entries: Entries) -> Table:
    lines = [
        [
            *map(str, case_of(entry)), str(entry["count"]),
            *(milliseconds(entry["seconds"][how]) for how in CALLS),
            f"{entry['one_by_one_to_at_once']:.2f}",
        ]
        for entry in entries
    ]  # fmt: skip
    return (
        "network", "B", "T", "thresholds", "one vmap (ms)", "as many calls (ms)",
        "calls on one device (ms)", "calls / vmap",
    ), lines  # fmt: skip


def by_products(entries: Entries) -> Table:
    lines = [
        [
            *map(str, case_of(row)), row["neuron"], row["order"], row["products"],
            milliseconds(row["seconds"]), milliseconds(row["answers_seconds"]),
            f"{row['answers_to_steps_of_ann']:.2f}", f"{100 * row['moved']:.2g}",
        ]
        for row in entries
    ]  # fmt: skip
    return (
        "network", "B", "T", "neuron", "order", "products", "all (ms)", "answers alone (ms)",
        "answers alone / (T ANN)", "moved spikes (%)",
    ), lines  # fmt: skip


def whole(entries: Entries) -> Table:
    lines = [
        [
            *map(str, case_of(entry)), str(entry["count"]), entry["products"],
            milliseconds(entry["seconds"]), f"{entry['images_per_second']:g}",
        ]
        for entry in entries
    ]  # fmt: skip
    return (
        "network", "B", "T", "images", "products", "all (ms)", "images / s",
    ), lines  # fmt: skip


def machines(of_cpu: Entries, of_gpu: Entries) -> Table:
    """Time of answers alone beside T times that of the ANN on the same machine, T = 16."""
    lines = []
    for (network, batch, steps, neuron), by_order in grouped(sorted(of_cpu, key=place)).items():
        if (steps, neuron) != (16, "exact-charge"):
            continue
        own = [row for row in of_gpu if case_of(row) == (network, batch, steps)]
        ratios = {row["products"]: f"{row['answers_to_steps_of_ann']:.2f}" for row in own}
        lines.append([
            network, str(batch), f"{by_order['own']['answers_to_steps_of_ann']:.2f}",
            *(ratios.get(name, "--") for name in ("float32", "integer-bfloat16")),
        ])  # fmt: skip
    return ("network", "B", "CPU, float32", "GPU, float32", "GPU, integer network"), lines


def cores(entries: Entries) -> Table:
    counts = sorted({count for entry in entries for count in entry["seconds"]}, key=int)
    lines = [
        [
            *map(str, case_of(entry)), entry["neuron"],
            *(milliseconds(entry["seconds"].get(count)) for count in counts),
            *(f"{entry['one_to'][count]:.2f}" for count in counts[1:]),
        ]
        for entry in entries
    ]  # fmt: skip
    return (
        "network", "B", "T", "neuron", *(f"cores: {count} (ms)" for count in counts),
        *(f"1 / {count}" for count in counts[1:]),
    ), lines  # fmt: skip


def training(entries: Entries) -> Table:
    lines = [
        [
            entry["recipe"], str(entry["steps"]), str(entry["batch"]),
            *(
                [entry["reason"], "", "", ""]
                if "reason" in entry
                else [
                    milliseconds(entry["seconds"]), milliseconds(entry.get("peer_seconds")),
                    f"{entry['peer_to_ours']:.2f}" if entry["peer"] else "",
                    f"{entry['first_losses_difference']:.1g}" if entry["peer"] else "",
                ]
            ),
        ]
        for entry in entries
    ]  # fmt: skip
    return (
        "recipe", "steps", "batch", "snnjax (ms)", "torch (ms)", "torch / snnjax",
        "first five losses differ by",
    ), lines  # fmt: skip


def training_step(entries: Entries) -> Table:
    lines = []
    for entry in entries:
        found = [entry["peer"], *map(str, case_of(entry))]
        if "reason" in entry:
            lines.append([*found, *[""] * 3, entry["reason"].replace("|", "/")])
            continue
        one = [
            {**entry[name], "median": entry[name]["median"] / entry["steps"]}
            for name in ("seconds", "peer_seconds")
        ]
        lines.append([
            *found, *map(milliseconds, one), f"{entry['peer_to_ours']:.2f}",
            f"{entry['first_losses_difference']:.1g}",
        ])  # fmt: skip
    return (
        "peer", "network", "B", "T", "snnjax, a step (ms)", "peer, a step (ms)", "peer / snnjax",
        "first losses differ by",
    ), lines  # fmt: skip


def profile(entries: Entries) -> Table:
    names = ("products", "neurons", "readout")
    lines = [
        [
            *map(str, case_of(entry)), entry["neuron"], milliseconds(entry["seconds"]["whole"]),
            *(f"{1000 * entry['parts'][name]:.4g}" for name in names),
            *(f"{1000 * entry['floors'][name]:.4g}" for name in names[:2]),
            milliseconds(entry["seconds"]["whole, called from Python"]),
        ]
        for entry in entries
    ]  # fmt: skip
    return (
        "network", "B", "T", "neuron", "whole (ms)", *(f"{name} (ms)" for name in names),
        "floor of products (ms)", "floor of neurons (ms)", "called from Python (ms)",
    ), lines  # fmt: skip


def silent_inputs(entries: Entries) -> Table:
    """A line for each case; active is the share of the layer before the largest product."""
    lines = [
        [
            *map(str, case_of(entry)), entry["neuron"], str(entry["used_cores"]),
            f"{100 * entry['active']['02_activation']:.0f}",
            *(milliseconds(entry["seconds"][way]) for way in ("dense", "skipping")),
            f"{entry['dense_to_skipping']:.2f}",
            *(f"{entry['compile_seconds'][way]:.1f}" for way in ("dense", "skipping")),
            f"{entry['images_that_differ']} of {entry['images']}",
        ]
        for entry in entries
    ]  # fmt: skip
    return (
        "network", "B", "T", "neuron", "cores", "active inputs (%)", "dense (ms)",
        "skipping (ms)", "dense / skipping", "compile dense (s)", "compile skipping (s)",
        "images with other spike counts",
    ), lines  # fmt: skip


TABLES = {
    "rows": ("throughput", throughput),
    "peers": ("peers", beside_peers),
    "memory": ("memory", memory),
    "thresholds": ("thresholds", thresholds),
    "cores": ("cores", cores),
    "training": ("training", training),
    "training_step": ("training_step", training_step),
    "profile": ("profile", profile),
    "products": ("products", by_products),
    "whole": ("whole", whole),
    "silent_inputs": ("silent_inputs", silent_inputs),
}


def curves(record: dict[str, Entries]) -> dict[str, dict[str, dict[int, float]]]:
    """Images per second by network, label and T: ours in the chosen order, and the peers'."""
    found: dict[str, dict[str, dict[int, float]]] = {}

    def put(entry: dict[str, Any], label: str, seconds: dict[str, Any]) -> None:
        network, batch, steps = case_of(entry)
        by_steps = found.setdefault(network, {}).setdefault(f"{label}, B = {batch}", {})
        by_steps[steps] = max(by_steps.get(steps, 0.0), batch / seconds["median"])

    for (*_, neuron), by_order in grouped(record["rows"]).items():
        if neuron == "exact-charge":
            put(by_order["own"], "snnjax", by_order["own"]["seconds"])
    for entry in record["peers"]:
        if entry["peer"].startswith("SpikingJelly") and "reason" not in entry:
            put(entry, "SpikingJelly", entry["peer_seconds"])
    return found


def main(*, output: Path = HERE) -> None:
    """Write `results/*.md` and draw `figures/throughput.png`.

    Parameters
    ----------
    output
        folder that holds results
    """
    record = json.loads((output / "results" / "throughput.json").read_text())
    for section, (name, table) in TABLES.items():
        if record.get(section):
            text = printing.markdown_table(*table(sorted(record[section], key=place)))
            write_whole(output / "results" / f"{name}.md", text.encode())
            print(f"{name}\n{text}")
    if not curves(record):
        return
    gpu = output / "gpu" / "results" / "throughput.json"
    if gpu.is_file():
        table = machines(record["rows"], json.loads(gpu.read_text())["products"])
        write_whole(output / "results" / "machines.md", printing.markdown_table(*table).encode())
    figure = plots.values_against_time(
        curves(record), label="images per second", title="Compiled simulation, constant input"
    )
    figures.save(figure, output / "figures" / "throughput.png")
    print(output / "figures" / "throughput.png")


if __name__ == "__main__":
    cyclopts.run(main)
