"""Accuracy against T from `results/table2.json`, mean and deviation of the seeds."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev

import cyclopts
from run import HERE, load

from snnjax import plots

FROM = {"net1": 95.0, "net2": 95.0}


def main(*, output: Path = HERE) -> None:
    """Draw `figures/<network>-<input>.png`.

    Parameters
    ----------
    output
        folder that holds results
    """
    rows = load(output)
    pairs = {(row["training"]["network"], row["config"]["encoding"]) for row in rows}
    for network, encoding in sorted(pairs):
        chosen = [
            row for row in rows
            if (row["training"]["network"], row["config"]["encoding"]) == (network, encoding)
        ]  # fmt: skip
        curves, bands = {}, {}
        for label in dict.fromkeys(row["label"] for row in chosen):
            seeds = [row["snn"] for row in chosen if row["label"] == label]
            at = list(zip(*seeds, strict=True))
            curves[label] = [100 * mean(values) for values in at]
            bands[label] = [100 * stdev(values) if len(values) > 1 else 0.0 for values in at]
        ann = {"ANN": 100 * mean(row["ann"] for row in chosen)}
        ceilings = [row["ceiling"] for row in chosen if row["ceiling"]]
        if ceilings:
            curves["ANN on the mean of the frames"] = [
                100 * mean(values) for values in zip(*ceilings, strict=True)
            ]
        title = f"{network.capitalize()} on MNIST, {encoding} input, {len(seeds)} seeds"
        figure = plots.accuracy_against_time(
            curves, ann=ann, title=title, bands=bands, lowest=FROM[network]
        )
        plots.save(figure, output / "figures" / f"{network}-{encoding}.png")
        print(output / "figures" / f"{network}-{encoding}.png")


if __name__ == "__main__":
    cyclopts.run(main)
