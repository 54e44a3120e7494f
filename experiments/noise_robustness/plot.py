"""Write the ablation tables and draw figure 9 from `results/noise.json`."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any

import cyclopts

from snnjax.analysis import figures, plots
from snnjax.app import comparison, printing
from snnjax.io.checkpoint import write_whole

HERE = Path(__file__).parent
LEAK = 0.9
"""Leak of the leaky readouts in the figure; the tables have all leaks."""
ANN = {"ann": "ANN, noisy image", "ann_mean": "ANN, mean of the frames", "count": "SNN, counting"}
TITLES = {"net2": "Net2", "resnet20": "ResNet-20"}
INPUTS = {"rate": "Bernoulli input", "constant": "constant input"}

Rows = list[dict[str, Any]]


def accuracies(rows: Rows, name: str, leak: int | None) -> list[list[float]]:
    """Return the accuracies of all seeds at each density, for the leak with the index `leak`."""
    curves = [row["accuracy"][name] for row in rows]
    if leak is not None:
        curves = [[at[leak] for at in curve] for curve in curves]
    return [list(seeds) for seeds in zip(*curves, strict=True)]


def table(rows: Rows) -> str:
    """Return a Markdown table: a line for each readout and leak, a column for each density."""
    head = ["readout", "leak", *(f"{100 * d:g} %" for d in rows[0]["densities"])]
    lines = []
    for name, found in rows[0]["accuracy"].items():
        single = not isinstance(found[0], list)
        for i, leak in enumerate([None] if single else rows[0]["leaks"]):
            at = accuracies(rows, name, None if single else i)
            label = ANN.get(name, name)
            lines.append(
                [
                    label,
                    "" if single else f"{leak:g}",
                    *(printing.mean_and_deviation(v) for v in at),
                ]
            )
    return printing.markdown_table(head, lines)


def main(*, output: Path = HERE) -> None:
    """Write `results/<network>-<protocol>.md` and draw `figures/<network>.png`.

    Parameters
    ----------
    output
        folder with the results of `run.py`
    """
    groups: dict[str, dict[str, Rows]] = {}
    for row in comparison.read_rows(output / "results" / "noise.json"):
        groups.setdefault(row["network"], {}).setdefault(row["protocol"], []).append(row)
    for network, protocols in groups.items():
        panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
        for protocol, rows in protocols.items():
            text = table(rows)
            name = f"{network}-{protocol.replace(' ', '_')}"
            print(f"{name}\n{text}")
            write_whole(output / "results" / f"{name}.md", text.encode())
            curves = {}
            for key, found in rows[0]["accuracy"].items():
                if not isinstance(found[0], list):
                    curves[ANN[key]] = accuracies(rows, key, None)
                elif key == "leaky, W = I":
                    for leak in (1.0, LEAK):
                        at = rows[0]["leaks"].index(leak)
                        curves[f"SNN, leaky {leak:g}, W = I"] = accuracies(rows, key, at)
                elif key == "STDP + WTA from I":
                    at = rows[0]["leaks"].index(LEAK)
                    curves[f"SNN, leaky {LEAK:g}, STDP"] = accuracies(rows, key, at)
            panels[f"Noise in {protocol}"] = {
                label: (
                    [100 * mean(at) for at in curve],
                    [100 * stdev(at) if len(at) > 1 else 0.0 for at in curve],
                )
                for label, curve in curves.items()
            }
        first = next(iter(protocols.values()))[0]
        data = first["dataset"]["name"] + (
            "" if first["dataset"]["exact_pixels"] else " (JPEG copy)"
        )
        title = (
            f"{TITLES[network]} on {data}, T = {first['num_steps']}, {INPUTS[first['encoding']]}"
        )
        figure = plots.accuracy_under_noise(panels, densities=first["densities"], title=title)
        figures.save(figure, output / "figures" / f"{network}.png")
        print(output / "figures" / f"{network}.png")


if __name__ == "__main__":
    cyclopts.run(main)
