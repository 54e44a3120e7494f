"""Write the tables and draw the figures of `results/comparison.json`, and tables of `levels8.json`
and `sources.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cyclopts

from snnjax.app import comparison, printing
from snnjax.app.comparison import Group, Published

HERE = Path(__file__).parent
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
LEVELS8 = "levels8"

HALF = "v(0) = v_p / 2 and constant input here"
DEEP = "the paper does not say which ResNet-20"
PUBLISHED = (
    Published("DataNorm", "VGG16", 91.76, 0.40, None, ("vgg16", "data_norm")),
    Published("RNL", "VGG16", 92.86, -0.04, 256, ("vgg16", "rnl")),
    Published("RNL", "ResNet", 93.45, -0.39, 256, ("resnet20", "rnl"), "a PreAct-ResNet-18 there"),
    Published("thReLU", "VGG16", 92.29, 0.05, 16, ("vgg16", "th_relu")),
    Published("thReLU", "ResNet", 93.56, 0.05, 128, ("resnet20", "th_relu"), DEEP),
    Published("He et al.", "VGG16", 93.86, 0.03, 16, ("vgg16", "sth_leaky_relu")),
    Published("He et al.", "VGG16", 93.86, 0.03, 16, ("vgg16", "sth_half"), HALF),
    Published("He et al.", "ResNet", 94.39, 0.07, 128, ("resnet20", "sth_leaky_relu"), DEEP),
    Published("He et al.", "ResNet", 94.39, 0.07, 128, ("resnet20", "sth_half"), HALF),
)
"""Rows of table 3 of He et al. 2024, each with the network of ours to compare it with."""

SUMMARY = {
    "sth_exact": "exact charge (ours, `sth_exact`)",
    "qcfs": "QCFS (`qcfs`)",
    "srp": "SRP (`srp`)",
    "calibration_advanced": "SNN calibration, advanced (`calibration_advanced`)",
    "sth_half": "double threshold, v(0) = v_p / 2 (`sth_half`)",
    "sth_leaky_relu": "double threshold (He et al. 2024, `sth_leaky_relu`)",
}
SUMMARY_STEPS = (2, 4, 8, 16, 32)
"""Methods and T of the README's table."""


def sources_table(rows: list[dict[str, Any]], groups: Mapping[tuple[str, str], Group]) -> str:
    """Markdown with a line for each case of `sources.py`.

    Args:
      rows: of `sources.json`.
      groups: of the comparison, with the spiking networks of the cases that are in it.
    """
    head = ["method", "change", "input", "T", "ANN %", "clipped %", "even currents %", "spiking %"]
    lines = []
    for row in sorted(rows, key=lambda row: (row["method"], row["encoding"], row["change"])):
        steps = row["num_steps"]
        spiking = (
            f"{100 * row['snn'][-1]:.1f}"
            if "snn" in row
            else f"{comparison.accuracy_text(groups[row['same'], row['encoding']], steps)} of all"
        )
        parts = [f"{100 * row[name]:.1f}" for name in ("ann", "clipped", "even")]
        method = f"`{row['method']}`"
        lines.append([method, row["change"], row["encoding"], str(steps), *parts, spiking])
    return printing.markdown_table(head, lines)


def main(*, output: Path = HERE) -> None:
    """Write `results/*.md` and draw `figures/<network>.png`.

    Parameters
    ----------
    output
        folder with the results of `run.py`
    """
    results = output / "results"
    groups = comparison.read_groups(results / "comparison.json")
    tables = {"paper": comparison.published_table(PUBLISHED, groups)}
    pictures = {}
    for network, found in groups.items():
        tables[network] = comparison.accuracy_table(found.values(), STEPS)
        pictures[network] = comparison.network_figure(network, found.values())
    if "resnet20" in groups:
        tables["summary"] = comparison.summary_table(groups["resnet20"], SUMMARY, SUMMARY_STEPS)
    if (results / f"{LEVELS8}.json").is_file():
        for network, found in comparison.read_groups(results / f"{LEVELS8}.json").items():
            tables[f"{network}-{LEVELS8}"] = comparison.accuracy_table(found.values(), STEPS)
    if (results / "sources.json").is_file():
        rows = comparison.read_rows(results / "sources.json")
        tables["sources"] = sources_table(rows, groups["resnet20"])
    comparison.write_results(output, tables, pictures)


if __name__ == "__main__":
    cyclopts.run(main)
