"""Write the tables and draw the figures of `results/comparison.json`."""

from __future__ import annotations

from pathlib import Path

import cyclopts
from matplotlib.figure import Figure

from snnjax.app import comparison, printing
from snnjax.app.comparison import Group, Published

HERE = Path(__file__).parent
STEPS = (1, 2, 4, 8, 16, 32)
LOWEST = {"net1": 95.0, "net2": 97.0}


OTHER_NETWORK = "another network, and no T is given: Net2 here, T = 256"
LONGER = HERE.parent / "mnist_latency" / "results" / "table2.json"


def longer_training() -> str:
    """Accuracy of the paper's neuron, input and v(0) on the networks of `mnist_latency`."""
    found = [
        row["snn"][7]
        for row in comparison.read_rows(LONGER)
        if row["label"] == "double threshold, v(0) = 0" and row["config"]["encoding"] == "rate"
        and row["training"]["network"] == "net2"
    ]  # fmt: skip
    accuracy = printing.mean_and_deviation(found)
    return f"{accuracy} on a network quantised in training, 40 epochs (mnist_latency)"


PAPER = (
    Published("DataNorm", "Net2", 99.10, 0.04, 200, ("net2", "data_norm")),
    Published("ModelNorm", "Net2", 99.11, 0.06, 500, ("net2", "model_norm")),
    Published("TerMapping", "Net2", 99.35, 0.00, 750, ("net2", "ter_mapping")),
    Published("AugMapping", "Net2", 99.35, 0.00, 65, ("net2", "aug_mapping")),
    Published("RNL", "a CNN", 96.51, 0.00, None, ("net2", "rnl"), OTHER_NETWORK),
    Published("RNL", "AlexNet", 99.46, -0.04, None, ("net2", "rnl"), OTHER_NETWORK),
    Published("He et al.", "Net1", 98.37, 0.00, 8, ("net1", "sth_leaky_relu")),
    Published("He et al.", "Net2", 99.32, 0.03, 8, ("net2", "sth_leaky_relu"), longer_training()),
)  # fmt: skip
SUMMARY = {
    "sth_exact": "exact charge (ours, `sth_exact`)",
    "qcfs": "QCFS (`qcfs`)",
    "srp": "SRP (`srp`)",
    "sth_leaky_relu": "double threshold (He et al. 2024, `sth_leaky_relu`)",
}
SUMMARY_STEPS = (1, 2, 4, 8)
"""Methods and T of the README's table."""


def accuracy_figure(network: str, groups: dict[tuple[str, str], Group]) -> Figure:
    """Plot accuracy against T for every method with a constant input."""
    seeds = max(len(group.rows) for group in groups.values())
    title = f"{network.capitalize()} on MNIST, constant input, "
    title += "one seed" if seeds == 1 else f"{seeds} seeds"
    return comparison.accuracy_figure(groups.values(), title=title, lowest=LOWEST[network])


def main(*, output: Path = HERE) -> None:
    """Write `results/*.md` and draw `figures/<network>.png`.

    Parameters
    ----------
    output
        folder with the results of `run.py`
    """
    groups = comparison.read_groups(output / "results" / "comparison.json")
    tables = {"paper": comparison.published_table(PAPER, groups)}
    tables |= {
        network: comparison.accuracy_table(found.values(), STEPS)
        for network, found in groups.items()
    }
    if "net2" in groups:
        tables["summary"] = comparison.summary_table(groups["net2"], SUMMARY, SUMMARY_STEPS)
    pictures = {name: accuracy_figure(name, found) for name, found in groups.items()}
    comparison.write_results(output, tables, pictures)


if __name__ == "__main__":
    cyclopts.run(main)
