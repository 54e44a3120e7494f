"""Table and figures of `results/table2.json`: means and standard deviations over the seeds."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any

import cyclopts

from snnjax.analysis import figures, plots
from snnjax.app import comparison
from snnjax.app.printing import markdown_table, mean_and_deviation
from snnjax.io.checkpoint import write_whole

HERE = Path(__file__).parent
STEPS = (1, 2, 4, 8, 16)
LOWEST = {"net1": 95.0, "net2": 97.0}
CEILING = "ANN on the mean of the frames"

Row = dict[str, Any]
Groups = dict[tuple[str, str], dict[str, list[Row]]]


def group_by_line(rows: list[Row]) -> Groups:
    """Group the rows of all seeds by network and input, then by neuron."""
    groups: Groups = {}
    for row in rows:
        place = (row["training"]["network"], row["config"]["encoding"])
        groups.setdefault(place, {}).setdefault(row["label"], []).append(row)
    return groups


def table(groups: Groups) -> str:
    """Return a Markdown table with a line for each network, input and neuron."""
    longest = min(len(row["snn"]) for lines in groups.values() for s in lines.values() for row in s)
    steps = [t for t in STEPS if t <= longest]
    losses = [t for t in (4, 8) if t <= longest]
    head = ["network", "input", "neuron", "ANN %", *(f"T={t}" for t in steps)]
    head += [*(f"loss, T={t}" for t in losses), "spikes"]
    text: list[list[str]] = []
    for (network, encoding), lines in groups.items():
        for label, seeds in lines.items():
            text.append(
                [
                    network.capitalize(),
                    encoding,
                    label,
                    mean_and_deviation([r["ann"] for r in seeds]),
                ]
            )
            text[-1] += [mean_and_deviation([row["snn"][t - 1] for row in seeds]) for t in steps]
            text[-1] += [
                mean_and_deviation([row["loss"][t - 1] for row in seeds], "+") for t in losses
            ]
            text[-1] += [f"{mean(row['spike_rate'][-1] for row in seeds):.3f}"]
        if seeds[0]["ceiling"]:  # the same for every neuron
            text.append([network.capitalize(), encoding, f"*{CEILING}*", text[-1][3]])
            text[-1] += [
                mean_and_deviation([row["ceiling"][t - 1] for row in seeds]) for t in steps
            ]
            text[-1] += [""] * (len(head) - len(text[-1]))
    return markdown_table(head, text)


def figure(network: str, encoding: str, lines: dict[str, list[Row]]) -> Any:
    """Plot accuracy against T for every neuron, with a band of one standard deviation."""
    curves, bands = {}, {}
    for label, seeds in lines.items():
        at = list(zip(*(row["snn"] for row in seeds), strict=True))
        curves[label] = [100 * mean(values) for values in at]
        bands[label] = [100 * stdev(values) if len(values) > 1 else 0.0 for values in at]
    if seeds[0]["ceiling"]:
        at = list(zip(*(row["ceiling"] for row in seeds), strict=True))
        curves[CEILING] = [100 * mean(values) for values in at]
    return plots.accuracy_against_time(
        curves,
        ann={"ANN": 100 * mean(row["ann"] for row in seeds)},
        title=f"{network.capitalize()} on {seeds[0]['dataset']['name'].upper()}, {encoding} input,"
        f" {len(seeds)} seeds",
        bands=bands,
        lowest=LOWEST[network],
    )


def main(*, output: Path = HERE) -> None:
    """Write `results/table2.md` and draw `figures/<network>-<input>.png`.

    Parameters
    ----------
    output
        folder with the results of `run.py`
    """
    groups = group_by_line(comparison.read_rows(output / "results" / "table2.json"))
    print(table(groups))
    write_whole(output / "results" / "table2.md", table(groups).encode())
    for (network, encoding), lines in groups.items():
        path = output / "figures" / f"{network}-{encoding}.png"
        figures.save(figure(network, encoding, lines), path)
        print(path)


if __name__ == "__main__":
    cyclopts.run(main)
