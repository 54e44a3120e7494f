"""Write the tables and draw the figures of `results/energy.json`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import cyclopts
from matplotlib.figure import Figure

from snnjax.analysis import plots
from snnjax.app import comparison, printing
from snnjax.app.evaluation.energies import compare_with_cheapest

HERE = Path(__file__).parent
Row = dict[str, Any]
Pair = tuple[Row, Row]
ENERGY = "operations_nj"
DRAWN = 6
"""Levels up to which quantised ANNs are drawn."""


def points(row: Row) -> list[tuple[str, Row]]:
    """Name and figures of a row's spiking network at each T and with early exit."""
    named = [(f"T = {of['steps']}", of) for of in row["timesteps"]]
    early = row["early_exit"]
    return named + ([("early exit", early)] if early else [])


def ratio(point: Row, rivals: list[Row]) -> float | None:
    """Energy of a point divided by that of the cheapest ANN that is as accurate, None without."""
    found = compare_with_cheapest(point, rivals, ENERGY)
    return found and found["ratio"]


def table(rows: list[Row]) -> str:
    """Markdown with a line for each number of bits, penalty and T: means over the seeds."""
    head = ["weight bits", "penalty", "timesteps", "seeds", "mean T", "accuracy %", "nJ"]
    head += ["of its ANN in floats", "of its quantised ANN", "of the control"]
    kinds: dict[tuple[Any, ...], list[Pair]] = {}
    for row in rows:
        for name, point in points(row):
            kinds.setdefault((row["weight_bits"], row["spike_penalty"], name), []).append(
                (row, point)
            )
    lines = []
    for (bits, penalty, name), found in sorted(kinds.items(), key=lambda of: -of[0][0]):
        lines.append([
            str(bits), f"{penalty:g}", name, str(len(found)),
            f"{mean(point['steps'] for _, point in found):.2f}",
            printing.mean_and_deviation([point["accuracy"] for _, point in found]),
            f"{mean(point[ENERGY] for _, point in found):,.1f}",
            f"{mean(point['to_ann']['operations'] for _, point in found):.4f}",
            ratios(found, lambda row: row["quantised_ann"]),
            ratios(found, lambda row: row.get("control", [])),
        ])  # fmt: skip
    return printing.markdown_table(head, lines)


def ratios(found: list[Pair], rivals: Callable[[Row], list[Row]]) -> str:
    """Mean ratio of the seeds, "none" where no ANN of a seed is as accurate, "" without rivals."""
    if not any(rivals(row) for row, _ in found):
        return ""
    each = [ratio(point, rivals(row)) for row, point in found]
    known = [of for of in each if of is not None]
    return f"{mean(known):.2f}" if len(known) == len(each) else "none as accurate"


def figure(rows: list[Row]) -> Figure:
    """Plot accuracy against energy of the operations, a panel for each number of bits.

    ANNs in floats and of many levels need far more, and would leave no room for the others.
    """
    panels: dict[str, dict[str, list[tuple[str, float, float]]]] = {}
    for row in rows:
        early, control = row["early_exit"], row.get("control", [])
        networks = {
            "SNN, by T": [(str(of["steps"]), of) for of in row["timesteps"]],
            "SNN with early exit": [("", early)] if early else [],
            "quantised ANN, by levels": [(str(of["levels"]), of) for of in row["quantised_ann"]],
            "control, by levels": [(str(of["levels"]), of) for of in control],
        }
        panel = panels.setdefault(f"{row['weight_bits']}-bit weights", {})
        for label, found in networks.items():
            drawn = [
                (name, of[ENERGY], 100 * of["accuracy"])
                for name, of in found
                if of.get("levels", 0) <= DRAWN
            ]
            if drawn:
                panel.setdefault(label, []).extend(drawn)
    first = rows[0]
    title = f"{first['training']['network']} on {first['dataset']['name']}, seed 0, operations"
    return plots.accuracy_against_energy(panels, title=title)


def main(*, output: Path = HERE) -> None:
    """Write `results/<network>.md` and draw `figures/<network>.png`.

    Parameters
    ----------
    output
        folder with the results of `run.py`
    """
    rows = comparison.read_rows(output / "results" / "energy.json")
    groups = {
        name: [row for row in rows if row["network"] == name]
        for name in dict.fromkeys(row["network"] for row in rows)
    }
    firsts = {name: [row for row in found if row["seed"] == 0] for name, found in groups.items()}
    comparison.write_results(
        output,
        {name: table(found) for name, found in groups.items()},
        {name: figure(found) for name, found in firsts.items()},
    )


if __name__ == "__main__":
    cyclopts.run(main)
