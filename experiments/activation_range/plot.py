"""Figure 7 from `results/activation_range.json`."""

from __future__ import annotations

import json
from pathlib import Path

import cyclopts

from snnjax import plots, profiles

HERE = Path(__file__).parent


def main(*, output: Path = HERE) -> None:
    """Draw `figures/activation_range.png`, and print how far the layers lie apart.

    Parameters
    ----------
    output
        folder that holds results
    """
    record = json.loads((output / "results" / "activation_range.json").read_text())
    largest = {name: list(reached.values()) for name, reached in record["largest"].items()}
    for name, values in largest.items():
        print(f"{name}: from {min(values):.2f} to {max(values):.2f}")
    network = record["training"]["LeakyReLU"]["network"]
    images = f"{record['images']:,} training images"
    title = f"{network} on {record['dataset']}, {images}"
    figure = profiles.largest_outputs(largest, title=title)
    plots.save(figure, output / "figures" / "activation_range.png")


if __name__ == "__main__":
    cyclopts.run(main)
