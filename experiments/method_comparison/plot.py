"""The tables and the figures of `results/comparison.json`."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import cyclopts

from snnjax import plots
from snnjax.checkpoint import write_whole
from snnjax.methods import METHODS
from snnjax.records import markdown_table, spread

HERE = Path(__file__).parent
STEPS = (1, 2, 4, 8, 16, 32)
WITHIN = 0.0005
LOWEST = {"net1": 95.0, "net2": 97.0}

Row = dict[str, Any]


class Published(NamedTuple):
    """A row of table 2 of He et al. 2024, and what we measure beside it."""

    name: str
    network: str
    snn: float
    loss: float
    steps: int | None
    ours: tuple[str, str]
    remark: str = ""


OTHER_NETWORK = "another network, and no T is given: Net2 here, T = 256"
PAPER = (
    Published("DataNorm", "Net2", 99.10, 0.04, 200, ("net2", "data_norm")),
    Published("ModelNorm", "Net2", 99.11, 0.06, 500, ("net2", "model_norm")),
    Published("TerMapping", "Net2", 99.35, 0.00, 750, ("net2", "ter_mapping")),
    Published("AugMapping", "Net2", 99.35, 0.00, 65, ("net2", "aug_mapping")),
    Published("RNL", "a CNN", 96.51, 0.00, None, ("net2", "rnl"), OTHER_NETWORK),
    Published("RNL", "AlexNet", 99.46, -0.04, None, ("net2", "rnl"), OTHER_NETWORK),
    Published("He et al.", "Net1", 98.37, 0.00, 8, ("net1", "sth_leaky_relu")),
    Published("He et al.", "Net2", 99.32, 0.03, 8, ("net2", "sth_leaky_relu")),
)  # fmt: skip


class Group(NamedTuple):
    """The seeds of a method with one network and input: means over them."""

    method: str
    encoding: str
    rows: list[Row]

    def accuracy(self, steps: int) -> list[float] | None:
        """Of each seed at a T, or None where it was not measured."""
        if any(steps not in row["steps"] for row in self.rows):
            return None
        return [row["snn"][row["steps"].index(steps)] for row in self.rows]

    def shown(self, steps: int) -> str:
        """Accuracy at a T for the table; "--" before the first answer."""
        found = self.accuracy(steps)
        if steps <= self.rows[0]["uncounted_steps"]:
            return "--"
        return spread(found) if found else ""

    @property
    def curve(self) -> list[float]:
        return [mean(values) for values in zip(*(row["snn"] for row in self.rows), strict=True)]

    @property
    def ann(self) -> list[float]:
        return [row["ann"] for row in self.rows]

    @property
    def latency(self) -> int | None:
        """First T at which the mean is at most 0.05 points below the mean of the ANN."""
        reached = zip(self.rows[0]["steps"], self.curve, strict=True)
        return next((t for t, at in reached if at >= mean(self.ann) - WITHIN), None)


def grouped(rows: list[Row]) -> dict[str, dict[tuple[str, str], Group]]:
    """By network, then by method and input, in the order of the methods."""
    groups: dict[str, dict[tuple[str, str], Group]] = {}
    for row in sorted(rows, key=lambda row: (list(METHODS).index(row["method"]), row["seed"])):
        key = (row["method"], row["encoding"])
        found = groups.setdefault(row["network"], {})
        found.setdefault(key, Group(*key, [])).rows.append(row)
    return groups


def beside_the_paper(groups: dict[str, dict[tuple[str, str], Group]]) -> str:
    """A line for each row of the paper, with the source's input."""
    head = ["method", "network", "paper: SNN %", "loss", "T"]
    head += ["here: ANN %", "SNN %", "loss", "input", "SNN % against the paper's", "remark"]
    lines = []
    for row in PAPER:
        network, method = row.ours
        group = groups.get(network, {}).get((method, METHODS[method].encoding))
        if group is None:
            continue
        steps = row.steps or group.rows[0]["steps"][-1]
        found = group.accuracy(steps)
        if found is None:
            continue
        losses = [ann - snn for ann, snn in zip(group.ann, found, strict=True)]
        difference = 100 * mean(found) - row.snn
        verdict = "" if difference >= -0.15 else "more than 0.15 below"
        lines.append(
            [
                row.name,
                row.network,
                f"{row.snn:.2f}",
                f"{row.loss:.2f}",
                str(row.steps or "--"),
                spread(group.ann),
                spread(found),
                spread(losses, "+"),
                group.encoding,
                f"{difference:+.2f}",
                "; ".join(filter(None, (row.remark, verdict))),
            ]
        )
    return markdown_table(head, lines)


def all_methods(groups: dict[tuple[str, str], Group]) -> str:
    """A line for each method and input: accuracy at T with every timestep counted."""
    head = ["method", "input", "ANN %", *(f"T={t}" for t in STEPS), "longest"]
    head += ["within 0.05 at T", "as its source counts", "spikes"]
    lines = []
    for group in groups.values():
        last = group.rows[0]["steps"][-1]
        uncounted, latency = group.rows[0]["uncounted_steps"], group.latency
        lines.append(
            [
                f"`{group.method}`",
                group.encoding,
                spread(group.ann),
                *(group.shown(t) for t in STEPS),
                f"{group.shown(last)} (T={last})" if last > STEPS[-1] else "",
                str(latency or "--"),
                str(latency - uncounted if latency else "--"),
                f"{mean(row['spike_rate'][-1] for row in group.rows):.3f}",
            ]
        )
    return markdown_table(head, lines)


def figure(network: str, groups: dict[tuple[str, str], Group]) -> Any:
    """Accuracy against T of every method with a constant input, best first in the legend."""
    shown = [group for (_, encoding), group in groups.items() if encoding == "constant"]
    shown.sort(key=lambda group: group.latency or float("inf"))
    curves, steps = {}, {}
    for group in shown:
        first = group.rows[0]["uncounted_steps"]
        points = zip(group.rows[0]["steps"], group.curve, strict=True)
        kept = [(t, at) for t, at in points if t > first]
        steps[group.method] = [t for t, _ in kept]
        curves[group.method] = [100 * at for _, at in kept]
    seeds = {len(group.rows) for group in shown}
    return plots.accuracy_against_time(
        curves,
        ann={},
        title=f"{network.capitalize()} on MNIST, constant input, {max(seeds)} seed"
        + ("s" if max(seeds) > 1 else ""),
        steps=steps,
        lowest=LOWEST[network],
    )


def main(*, output: Path = HERE) -> None:
    """Write `results/*.md` and draw `figures/<network>.png`.

    Parameters
    ----------
    output
        folder that holds results
    """
    groups = grouped(json.loads((output / "results" / "comparison.json").read_text())["rows"])
    tables = {"paper": beside_the_paper(groups)}
    tables |= {network: all_methods(found) for network, found in groups.items()}
    for name, text in tables.items():
        print(text)
        write_whole(output / "results" / f"{name}.md", text.encode())
    for network, found in groups.items():
        path = output / "figures" / f"{network}.png"
        plots.save(figure(network, found), path)
        print(path)


if __name__ == "__main__":
    cyclopts.run(main)
