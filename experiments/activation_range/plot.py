"""Draw figure 7 and write its table from `results/activation_range.json`."""

from __future__ import annotations

import json
from pathlib import Path

import cyclopts

from snnjax.analysis import layer_plots
from snnjax.app import comparison, printing

HERE = Path(__file__).parent


def main(*, output: Path = HERE) -> None:
    """Draw `figures/activation_range.png`, and write the range of the layers' largest outputs to
    `results/activation_range.md`.

    Parameters
    ----------
    output
        folder with the results of `run.py`
    """
    record = json.loads((output / "results" / "activation_range.json").read_text())
    largest = {name: list(reached.values()) for name, reached in record["largest"].items()}
    columns = ("activation", "ANN %", "least layer", "greatest layer", "greatest / least")
    rows = [
        (
            f"`{name}`", f"{100 * record['ann'][name]:.2f}", f"{min(values):.2f}",
            f"{max(values):.2f}", f"{max(values) / min(values):.1f}",
        )
        for name, values in largest.items()
    ]  # fmt: skip
    title = f"{record['training']['LeakyReLU']['network']} on {record['dataset']['name']}"
    title += "" if record["dataset"]["exact_pixels"] else " (JPEG copy)"
    title += f", {record['images']:,} training images"
    table = printing.markdown_table(columns, rows)
    figure = layer_plots.largest_outputs(largest, title=title)
    comparison.write_results(output, {"activation_range": table}, {"activation_range": figure})


if __name__ == "__main__":
    cyclopts.run(main)
