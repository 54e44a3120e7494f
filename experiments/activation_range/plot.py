"""Figure 7 from `results/activation_range.json`."""

from __future__ import annotations

import json
from pathlib import Path

import cyclopts
from matplotlib.figure import Figure

from snnjax import plots

HERE = Path(__file__).parent


def main(*, output: Path = HERE) -> None:
    """Draw `figures/activation_range.png`, and print how far the layers lie apart.

    Parameters
    ----------
    output
        folder that holds results
    """
    record = json.loads((output / "results" / "activation_range.json").read_text())
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    looks = zip(record["largest"].items(), plots.COLOURS, "os", strict=False)
    for (name, reached), colour, marker in looks:
        values = list(reached.values())
        axes.plot(range(1, len(values) + 1), values, color=colour, marker=marker, label=name)
        print(f"{name}: from {min(values):.2f} to {max(values):.2f}")
    axes.set_xlabel("layer of neurons")
    axes.set_ylabel("largest output (magnitude)")
    axes.set_yscale("log")
    network = record["training"]["LeakyReLU"]["network"]
    images = f"{record['images']:,} training images"
    axes.set_title(f"{network} on {record['dataset']}, {images}", loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    plots.save(figure, output / "figures" / "activation_range.png")


if __name__ == "__main__":
    cyclopts.run(main)
