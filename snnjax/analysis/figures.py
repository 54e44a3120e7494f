"""Common style of all figures: colour-blind-safe colours, panels, legends and PNG files.

Figures are made without pyplot, so nothing is global and no window opens.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from snnjax.io.checkpoint import write_whole

__all__ = [
    "COLOURS",
    "MARKERS",
    "STYLES",
    "NotebookFigure",
    "label_rows",
    "legend_below",
    "legend_beside",
    "line_styles",
    "make_panels",
    "save",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""The palette of Okabe and Ito, which colour-blind readers can tell apart."""
MARKERS = "osD^vP"
"""A marker for each colour."""
STYLES = ("-", "--", ":")
"""Line styles, the next one when all colours are in use."""
COLUMNS = 4
"""Most panels side by side; more go into further rows."""
LEGEND_LINES = 24
"""Most lines of a column of a legend beside a plot."""
LINE = 0.19
"""Height of a line of a legend in inches."""


class NotebookFigure(Figure):
    """A figure that is displayed as the last expression of a notebook cell."""

    def _repr_png_(self) -> bytes:
        return _png(self)


def make_panels(
    count: int, size: tuple[float, float], *, sharey: bool = False
) -> tuple[NotebookFigure, list[Axes]]:
    """Return a figure with `count` plots, at most COLUMNS side by side, and their axes.

    Args:
      count: number of plots.
      size: width of all plots side by side, and height of one, in inches.
      sharey: whether all plots share one vertical axis.

    Raises:
      ValueError: if `count` is below 1.
    """
    if count < 1:
        raise ValueError("there is nothing to draw; want at least one panel")
    with matplotlib.rc_context(
        {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    ):
        rows = math.ceil(count / COLUMNS)
        columns = math.ceil(count / rows)
        figure = NotebookFigure(
            figsize=(size[0] * columns / count, size[1] * rows), layout="constrained"
        )
        axes = figure.subplots(rows, columns, sharey=sharey, squeeze=False).ravel()
    for unused in axes[count:]:
        unused.remove()
    return figure, list(axes[:count])


def label_rows(axes: Sequence[Axes], label: str) -> None:
    """Label the vertical axis of the first plot in every row."""
    for ax in axes:
        if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            ax.set_ylabel(label)


def line_styles(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return matplotlib's arguments for colour, marker and line style of each label.

    A label that occurs several times has one style, so panels can share a legend. Colours change
    first, then line styles, then the marker of each colour.

    Raises:
      ValueError: if there are more labels than combinations of colour, line style and marker.
    """
    unique, found = list(dict.fromkeys(labels)), {}
    most = len(COLOURS) * len(STYLES) * len(MARKERS)
    if len(unique) > most:
        raise ValueError(f"there are {len(unique)} curves to draw; want 1 to {most}")
    for place, label in enumerate(unique):
        turn, colour = divmod(place, len(COLOURS))
        shift, style = divmod(turn, len(STYLES))
        marker = MARKERS[(colour + shift) % len(MARKERS)]
        found[label] = {"linestyle": STYLES[style], "color": COLOURS[colour], "marker": marker}
    return found


def legend_beside(figure: Figure, axes: Axes) -> Legend:
    """Draw the legend of a plot to its right, in as many columns as its labels need.

    The figure grows by them.
    """
    handles, labels = axes.get_legend_handles_labels()
    columns = math.ceil(len(labels) / LEGEND_LINES)
    longest = max(map(len, labels))
    figure.set_figwidth(figure.get_figwidth() + (columns - 1) * (0.075 * longest + 0.6))
    return figure.legend(
        handles, labels, frameon=False, loc="outside right upper", fontsize=9, ncols=columns
    )


def legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """Draw one legend, below the panels, for the labels of all of them.

    A legend of more than four lines makes the figure higher.
    """
    handles = {
        label: handle
        for ax in axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    columns = min(4, 1 + len(axes))
    more = max(math.ceil(len(handles) / columns) - 4, 0)
    figure.set_figheight(figure.get_figheight() + LINE * more)
    figure.legend(
        handles.values(), handles.keys(), frameon=False, loc="outside lower center",
        ncols=columns, fontsize=9,
    )  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; a failed write leaves no partial file.

    Raises:
      OSError: if the file cannot be written.
    """
    write_whole(path, _png(figure))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
