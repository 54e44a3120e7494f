"""Common style of all figures: colour-blind-safe colours, panels, legends and PNG files.

Figures are made without pyplot, so nothing is global and no window opens.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnjax.io.checkpoint import write_whole

__all__ = [
    "COLOURS",
    "MARKERS",
    "STYLES",
    "NotebookFigure",
    "legend_below",
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


class NotebookFigure(Figure):
    """A figure that is displayed as the last expression of a notebook cell."""

    def _repr_png_(self) -> bytes:
        return _png(self)


def make_panels(
    count: int, size: tuple[float, float], *, sharey: bool = False
) -> tuple[NotebookFigure, list[Axes]]:
    """Return a figure with `count` plots side by side, and their axes.

    Args:
      count: number of plots.
      size: width and height of the whole figure, in inches.
      sharey: whether all plots share one vertical axis.

    Raises:
      ValueError: if `count` is below 1.
    """
    if count < 1:
        raise ValueError("there is nothing to draw; want at least one panel")
    with matplotlib.rc_context(
        {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = NotebookFigure(figsize=size, layout="constrained")
        axes = figure.subplots(1, count, sharey=sharey, squeeze=False)
    return figure, list(axes[0])


def line_styles(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return matplotlib's arguments for colour, marker and line style of each label.

    A label that occurs several times has one style, so panels can share a legend.

    Raises:
      ValueError: if there are more labels than combinations of colour and line style.
    """
    unique = list(dict.fromkeys(labels))
    most = len(COLOURS) * len(STYLES)
    if len(unique) > most:
        raise ValueError(f"there are {len(unique)} curves to draw; want 1 to {most}")
    combinations = product(STYLES, zip(COLOURS, MARKERS, strict=True))
    return {
        label: {"linestyle": style, "color": colour, "marker": marker}
        for label, (style, (colour, marker)) in zip(unique, combinations, strict=False)
    }


def legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """Draw one legend, below the panels, for the labels of all of them."""
    handles = {
        label: handle
        for ax in axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), frameon=False, loc="outside lower center",
        ncols=min(4, 1 + len(axes)), fontsize=9,
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
