"""Tables in markdown and figures of a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from matplotlib.figure import Figure

from snnjax.analysis import figures, plots
from snnjax.app import printing
from snnjax.app.comparison.rows import Group
from snnjax.conversion import methods
from snnjax.io.checkpoint import write_whole

__all__ = [
    "Published",
    "accuracy_figure",
    "accuracy_table",
    "accuracy_text",
    "network_figure",
    "published_table",
    "summary_table",
    "write_results",
]

BELOW = 0.15
"""A remark says if a measured accuracy is this many points below the published one."""


def accuracy_table(groups: Iterable[Group], steps: Iterable[int]) -> str:
    """Markdown with a line per group: accuracy at those of `steps` that were measured.

    Every timestep counts, pre-steps included.
    """
    groups = tuple(groups)
    shown = tuple(t for t in steps if any(t in group.steps for group in groups))
    head = ["method", "input", "ANN %", *(f"T={t}" for t in shown), "longest"]
    head += ["within 0.05 at T", "as its source counts", "spikes"]
    lines = []
    for group in groups:
        last, latency = group.steps[-1], group.latency
        lines.append(
            [
                f"`{group.method}`",
                group.encoding,
                printing.mean_and_deviation(group.ann),
                *(accuracy_text(group, t) for t in shown),
                f"{accuracy_text(group, last)} (T={last})" if last > shown[-1] else "",
                str(latency or "--"),
                str(latency - group.uncounted if latency else "--"),
                f"{mean(row['spike_rate'][-1] for row in group.rows):.3f}",
            ]
        )
    return printing.markdown_table(head, lines)


def accuracy_text(group: Group, steps: int) -> str:
    """Accuracy at T = `steps`; "--" before the first answer, and "" if it was not measured."""
    found = group.accuracy(steps)
    if steps <= group.uncounted:
        return "--"
    return printing.mean_and_deviation(found) if found else ""


def summary_table(
    groups: Mapping[tuple[str, str], Group], names: Mapping[str, str], steps: tuple[int, ...]
) -> str:
    """Markdown with a line per method of `names` that was measured with constant input.

    The columns are the accuracy at each of `steps`, and the spikes of a hidden neuron until the
    last of them.

    Args:
      groups: by method and input, as `read_groups` returns them for a network.
      names: of the methods in the table.
      steps: one T or several, in ascending order.

    Raises:
      Nothing.
    """
    head = [
        "method",
        "ANN %",
        *(f"T = {t}" for t in steps),
        f"spikes per neuron until T = {steps[-1]}",
    ]
    lines = []
    for method, name in names.items():
        group = groups.get((method, "constant"))
        if group is None:
            continue
        accuracies = [accuracy_text(group, t) for t in steps]
        spikes = group.spikes(steps[-1])
        sent = "" if spikes is None else f"{spikes:.2f}"
        lines.append([name, printing.mean_and_deviation(group.ann), *accuracies, sent])
    return printing.markdown_table(head, lines)


class Published(NamedTuple):
    """Published result, and the measurement to compare it with.

    name, network: as published; snn: accuracy in %; loss: in points; steps: T, or None if it is
    not given; ours: network and method of the measurement; remark: text for the table.
    """

    name: str
    network: str
    snn: float
    loss: float
    steps: int | None
    ours: tuple[str, str]
    remark: str = ""


def published_table(
    published: Iterable[Published], groups: dict[str, dict[tuple[str, str], Group]]
) -> str:
    """Markdown with a line per published result that was measured, with the input of its source.

    If the source gives no T, or a longer one than was simulated, the longest simulated T is shown.
    """
    head = ["method", "network", "published: SNN %", "loss", "T", "here: ANN %", "SNN %", "loss"]
    head += ["T", "input", "difference", "remark"]
    lines = []
    for row in published:
        network, method = row.ours
        group = groups.get(network, {}).get((method, methods.METHODS[method].encoding))
        if group is not None:
            lines.append(_published_line(row, group))
    return printing.markdown_table(head, lines)


def _published_line(row: Published, group: Group) -> list[str]:
    steps = row.steps if row.steps in group.steps else group.steps[-1]
    found, losses = group.accuracy(steps) or [], group.losses(steps) or []
    difference = 100 * mean(found) - row.snn
    verdict = f"more than {BELOW} below" if difference < -BELOW else ""
    return [
        row.name,
        row.network,
        f"{row.snn:.2f}",
        f"{row.loss:.2f}",
        str(row.steps or "--"),
        printing.mean_and_deviation(group.ann),
        printing.mean_and_deviation(found),
        printing.mean_and_deviation(losses, "+"),
        str(steps),
        group.encoding,
        f"{difference:+.2f}",
        "; ".join(filter(None, (row.remark, verdict))),
    ]


def accuracy_figure(groups: Iterable[Group], *, title: str, lowest: float) -> Figure:
    """Mean accuracy with constant input against T on a log axis, in the order of latency.

    Raises:
      ValueError: if no group has constant input, or there are more than colours and line styles.
    """
    curves, steps = {}, {}
    constant = [group for group in groups if group.encoding == "constant"]
    for group in sorted(constant, key=lambda group: group.latency or float("inf")):
        answered = [
            (t, 100 * at)
            for t, at in zip(group.steps, group.curve, strict=True)
            if t > group.uncounted
        ]
        steps[group.method] = [t for t, _ in answered]
        curves[group.method] = [at for _, at in answered]
    return plots.accuracy_against_time(curves, ann={}, title=title, steps=steps, lowest=lowest)


def network_figure(network: str, groups: Iterable[Group]) -> Figure:
    """Mean accuracy with constant input against T of all methods on one network.

    The title says so if the pixels of the data are not the official ones.

    Raises:
      ValueError: as `accuracy_figure`.
    """
    groups = tuple(groups)
    data = groups[0].rows[0]["dataset"]
    title = f"{network} on {data['name']}" + ("" if data["exact_pixels"] else " (JPEG copy)")
    return accuracy_figure(groups, title=f"{title}, constant input", lowest=0.0)


def write_results(folder: Path, tables: Mapping[str, str], pictures: Mapping[str, Figure]) -> None:
    """Write `results/<name>.md` and `figures/<name>.png`, and print the tables.

    Raises:
      OSError: if the folder cannot be written.
    """
    for name, text in tables.items():
        print(text)
        write_whole(folder / "results" / f"{name}.md", text.encode())
    for name, picture in pictures.items():
        path = folder / "figures" / f"{name}.png"
        figures.save(picture, path)
        print(path)
