"""Write the tables and draw the figures of `results/transformers.json`."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import cyclopts

from snnjax.analysis import plots
from snnjax.app import comparison
from snnjax.app.printing import markdown_table, mean_and_deviation

HERE = Path(__file__).parent
STEPS = (1, 2, 4, 6, 8, 10, 12, 16)
TITLES = {
    "cct": "CCT on CIFAR-10",
    "vit": "ViT on MNIST",
    "lenet": "LeNet with max-pooling on MNIST",
    "mobilenet": "MobileNet with gates on MNIST",
    "convnext": "ConvNeXt on MNIST",
    "tiny": "tiny ViT on mnist5k",
}
FORMS = {"mean": "min(t, L)", "at once": "all at once", "sum": "sums (SpikeZIP)"}

Row = dict[str, Any]
Groups = dict[tuple[str, int, str], list[Row]]


def group(rows: list[Row]) -> dict[str, Groups]:
    """Group the rows of all seeds by network, then by training, levels and form."""
    found: dict[str, Groups] = {}
    for row in rows:
        key = (row["training"], row["levels"], row["form"])
        found.setdefault(row["network"], {}).setdefault(key, []).append(row)
    return found


def accuracy_table(groups: Groups) -> str:
    """Return accuracy of the ANN, the quantised ANN and the SNN at some T."""
    longest = max(len(row["snn"]) for rows in groups.values() for row in rows)
    steps = [t for t in STEPS if t <= longest]
    head = ["trained", "L", "charge", "ANN %", "quantised %", *(f"T={t}" for t in steps)]
    head += ["settled", "last spike", "spikes a neuron"]
    lines = []
    for (training, levels, form), rows in groups.items():
        last = max(row["last_spike"] for row in rows)
        silent = all(row["settled"] for row in rows)
        lines.append(
            [
                training, str(levels), FORMS[form],
                *(mean_and_deviation([row[name] for row in rows])
                  for name in ("ann", "quantised_ann")),
                *(mean_and_deviation([row["snn"][t - 1] for row in rows])
                  if t <= len(rows[0]["snn"]) else "" for t in steps),
                mean_and_deviation([row["snn"][-1] for row in rows]),
                str(last) if silent else "later",
                f"{mean(row['spikes'][-1] / row['neurons'] for row in rows):.2f}",
            ]
        )  # fmt: skip
    return markdown_table(head, lines)


def operations_table(groups: Groups) -> str:
    """Return operations and energy per image, where they were counted."""
    head = ["trained", "L", "charge", "additions for spikes", "products of the image"]
    head += ["floats", "ANN's products", "ANN's floats", "energy", "ANN's energy"]
    lines = []
    for (training, levels, form), rows in groups.items():
        counted = [row["operations"] for row in rows if row["operations"]]
        if not counted:
            continue
        millions = [
            mean(sum(of["accumulates"].values()) for of in counted),
            mean(of["input_products"] for of in counted),
            mean(sum(of["floats"].values()) for of in counted),
            mean(of["ann_products"] for of in counted),
            mean(of["ann_floats"] for of in counted),
        ]
        energies = [mean(of[name] for of in counted) for name in ("energy_nj", "ann_energy_nj")]
        lines.append(
            [
                training, str(levels), FORMS[form],
                *(f"{count / 1e6:.2f} M" for count in millions),
                *(f"{energy / 1000:.1f} µJ" for energy in energies),
            ]
        )  # fmt: skip
    return markdown_table(head, lines)


def figure(network: str, groups: Groups) -> Any:
    """Plot accuracy against T: both trainings at their common L, in all three forms."""
    curves, anns = {}, {}
    for (training, levels, form), rows in groups.items():
        if training == "control" or (training == "smooth" and form != "mean"):
            continue
        label = f"{training}, L = {levels}, {FORMS[form]}"
        at = zip(*(row["snn"] for row in rows), strict=True)
        curves[label] = [100 * mean(values) for values in at]
        anns[f"ANN, {training}"] = 100 * mean(
            row["ann" if training == "smooth" else "quantised_ann"] for row in rows
        )
    data = next(iter(groups.values()))[0]["dataset"]
    title = TITLES[network] + ("" if data["exact_pixels"] else " (JPEG copy)")
    return plots.accuracy_against_time(curves, ann=anns, title=title, lowest=0.0)


def main(*, output: Path = HERE) -> None:
    """Write `results/*.md` and draw `figures/<network>.png`.

    Parameters
    ----------
    output
        folder with the results of `run.py`
    """
    networks = group(comparison.read_rows(output / "results" / "transformers.json"))
    tables = {name: accuracy_table(groups) for name, groups in networks.items()}
    tables |= {f"{name}-operations": operations_table(of) for name, of in networks.items()}
    pictures = {name: figure(name, groups) for name, groups in networks.items()}
    comparison.write_results(output, tables, pictures)


if __name__ == "__main__":
    cyclopts.run(main)
