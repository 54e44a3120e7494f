"""Pictures of results, drawn from the records alone; colours are safe for colour blindness."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from snnjax.checkpoint import write_whole

__all__ = ["accuracy_against_time", "save"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette."""
MARKERS = "osD^vP"
STYLES = ("-", "--", ":")


def accuracy_against_time(
    curves: Mapping[str, Sequence[float]],
    *,
    ann: Mapping[str, float],
    title: str,
    steps: Mapping[str, Sequence[int]] | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
    lowest: float | None = None,
) -> Figure:
    """Accuracy in % after every timestep, with the ANN's as horizontal lines.

    Args:
      curves: by label, accuracy in % at T = 1, 2, ...
      ann: by label, accuracy in %.
      title: above the plot.
      steps: by label of a curve, the T of its values where they are others; the axis of T is
        then logarithmic.
      bands: by label of a curve, half the height of a band around it, in points.
      lowest: bottom of the axis in %; None lets the curves decide.

    Raises:
      ValueError: if there are no curves, or more than colours and line styles.
    """
    most = len(COLOURS) * len(STYLES)
    if not 0 < len(curves) <= most:
        raise ValueError(f"there are {len(curves)} curves to draw; want 1 to {most}")
    many = len(curves) > len(COLOURS)
    with matplotlib.rc_context(
        {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=(8.0, 5.0) if many else (6.4, 4.0), layout="constrained")
        axes = figure.subplots()
    looks = product(STYLES, zip(COLOURS, MARKERS, strict=True))
    for (label, curve), (style, (colour, marker)) in zip(curves.items(), looks, strict=False):
        at = (steps or {}).get(label, range(1, len(curve) + 1))
        axes.plot(
            at, curve, color=colour, linestyle=style, marker=marker, markersize=4, label=label,
            markevery=max(1, len(curve) // 8) if many else 1,
        )  # fmt: skip
        if bands and label in bands:
            low = [a - b for a, b in zip(curve, bands[label], strict=True)]
            high = [a + b for a, b in zip(curve, bands[label], strict=True)]
            axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
    for (label, level), dashes in zip(ann.items(), ("--", ":", "-.", (0, (1, 3))), strict=False):
        axes.axhline(level, color="#444444", linestyle=dashes, linewidth=1, label=label)
    if lowest is not None:
        axes.set_ylim(bottom=lowest, top=100 if lowest < 95 else 100 - (100 - lowest) * 0.05)
    axes.set_xlabel("timesteps T")
    axes.set_ylabel("test accuracy (%)")
    axes.set_title(title, loc="left")
    if steps is None:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.grid(alpha=0.25)
    if many:
        figure.legend(frameon=False, loc="outside right upper", fontsize=9)
    else:
        axes.legend(frameon=False, loc="lower right")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises:
      OSError: if the file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_whole(path, buffer.getvalue())
