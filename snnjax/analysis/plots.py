"""Pictures of results, drawn from the records alone; colours are safe for colour blindness."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from snnjax.io.checkpoint import write_whole

__all__ = [
    "Picture",
    "accuracy_against_time",
    "accuracy_under_noise",
    "against_steps",
    "make_panels",
    "pictures",
    "raster",
    "save",
    "stdp_window",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette."""
MARKERS = "osD^vP"
STYLES = ("-", "--", ":")


class Picture(Figure):
    """A figure that a notebook shows where a cell ends with it; no pyplot is needed."""

    def _repr_png_(self) -> bytes:
        return _png(self)


def make_panels(
    count: int, size: tuple[float, float], *, sharey: bool = False
) -> tuple[Picture, list[Axes]]:
    """A figure with `count` plots side by side, in the look of all of them.

    Args:
      count: of plots.
      size: of the whole, in inches.
      sharey: one vertical axis for all.

    Raises:
      ValueError: if `count` is below 1.
    """
    if count < 1:
        raise ValueError("there is nothing to draw; want at least one panel")
    with matplotlib.rc_context(
        {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Picture(figsize=size, layout="constrained")
        axes = figure.subplots(1, count, sharey=sharey, squeeze=False)
    return figure, list(axes[0])


def accuracy_against_time(
    curves: Mapping[str, Sequence[float]],
    *,
    ann: Mapping[str, float],
    title: str,
    steps: Mapping[str, Sequence[int]] | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
    lowest: float | None = None,
) -> Picture:
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
    figure, (axes,) = make_panels(1, (8.0, 5.0) if many else (6.4, 4.0))
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


def accuracy_under_noise(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    densities: Sequence[float],
    title: str,
) -> Picture:
    """Accuracy in % against the share of noisy pixels, side by side, with bands of a deviation.

    Args:
      panels: by title of a panel and label of a curve, means and deviations in %.
      densities: shares of noisy pixels, in [0, 1], for every curve.
      title: above all.

    Raises:
      ValueError: if there are no panels.
    """
    figure, axes = make_panels(len(panels), (3.6 * len(panels) + 1.2, 4.0), sharey=True)
    looks = _looks(panels)
    at = [100 * density for density in densities]
    for ax, (name, curves) in zip(axes, panels.items(), strict=True):
        for label, (mean, deviation) in curves.items():
            look = looks[label]
            ax.plot(at, mean, markersize=4, label=label, **look)
            low, high = np.subtract(mean, deviation), np.add(mean, deviation)
            ax.fill_between(at, low, high, color=look["color"], alpha=0.2, linewidth=0)
        ax.set_title(name, loc="left", fontsize=10)
        ax.set_xlabel("noisy pixels (%)")
        ax.grid(alpha=0.25)
    axes[0].set_ylabel("test accuracy (%)")
    figure.suptitle(title, x=0.01, ha="left")
    _legend_below(figure, axes)
    return figure


def against_steps(
    panels: Mapping[str, Mapping[str, Mapping[int, float]]], *, label: str, title: str
) -> Picture:
    """Something positive against T, side by side, both axes logarithmic.

    Args:
      panels: by title of a panel and label of a curve, the value at each T.
      label: of the vertical axis.
      title: above all.

    Raises:
      ValueError: if there are no panels.
    """
    figure, axes = make_panels(len(panels), (3.2 * len(panels) + 1.2, 4.2))
    looks = _looks(panels)
    for ax, (name, curves) in zip(axes, panels.items(), strict=True):
        for of, values in curves.items():
            at = sorted(values)
            ax.plot(at, [values[t] for t in at], markersize=4, label=of, **looks[of])
        ax.set_title(name, loc="left", fontsize=10)
        ax.set_xlabel("timesteps T")
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.set_yscale("log")
        ax.grid(alpha=0.25)
    axes[0].set_ylabel(label)
    figure.suptitle(title, x=0.01, ha="left")
    _legend_below(figure, axes)
    return figure


def raster(trains: Mapping[str, np.ndarray], *, title: str, order: str = "neuron") -> Picture:
    """Spikes of a population against time, side by side.

    Args:
      trains: by title of a panel, spikes `[T, N]`; 0 is none, and those below 0 are black.
      title: above all.
      order: what the vertical axis counts, from the top.

    Raises:
      ValueError: if there are no panels.
    """
    figure, axes = make_panels(len(trains), (4.2 * len(trains), 4.2), sharey=True)
    for ax, (name, spikes), colour in zip(axes, trains.items(), COLOURS, strict=False):
        counts = []
        for sent, of_sign in ((np.greater(spikes, 0), colour), (np.less(spikes, 0), "black")):
            times, neurons = np.nonzero(sent)
            ax.plot(times + 1, neurons, "|", color=of_sign, markersize=3, markeredgewidth=0.8)
            counts.append(len(times))
        below = f", {counts[1]:,} of them -1" if counts[1] else ""
        ax.set_title(f"{name}: {sum(counts):,} spikes{below}", loc="left", fontsize=10)
        ax.set_xlim(0.5, len(spikes) + 0.5)
        ax.set_xlabel("timestep")
    axes[0].set_ylabel(order)
    axes[0].set_ylim(max(np.shape(spikes)[1] for spikes in trains.values()) - 0.5, -0.5)
    axes[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def stdp_window(delays: Sequence[float], changes: Sequence[float], *, title: str) -> Picture:
    """Change of a weight by one pair of spikes against their delay.

    Args:
      delays: time of the postsynaptic spike less that of the presynaptic one, in timesteps.
      changes: of the weight, one for each delay.
      title: above the plot.

    Raises:
      ValueError: from matplotlib, if the lengths differ.
    """
    figure, (axes,) = make_panels(1, (6.4, 4.0))
    axes.axhline(0, color="#444444", linewidth=0.8)
    axes.axvline(0, color="#444444", linewidth=0.8)
    markers, stems, base = axes.stem(delays, changes, basefmt=" ")
    markers.set(color=COLOURS[0], markersize=4)
    stems.set(color=COLOURS[0], linewidth=1)
    base.set_visible(False)
    axes.set_xlabel("postsynaptic after presynaptic spike (timesteps)")
    axes.set_ylabel("change of the weight")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.25)
    return figure


def pictures(images: Mapping[str, Sequence[np.ndarray]]) -> Picture:
    """Images in [0, 1], a row for each label.

    Args:
      images: by label, images `[H, W, C]`, as many in each row.

    Raises:
      ValueError: if there are none.
    """
    if not images:
        raise ValueError("there are no images to show; want at least one row")
    columns = max(map(len, images.values()))
    figure = Picture(figsize=(1.1 * columns + 0.6, 1.1 * len(images)), layout="constrained")
    grid = figure.subplots(len(images), columns, squeeze=False)
    for axes, (label, row) in zip(grid, images.items(), strict=True):
        for ax, image in zip(axes, row, strict=True):
            ax.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
        axes[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure


def _looks(panels: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, Any]]:
    """Colour, marker and style of each label, the same in all panels."""
    labels = dict.fromkeys(label for curves in panels.values() for label in curves)
    looks = product(STYLES, zip(COLOURS, MARKERS, strict=True))
    return {
        label: {"linestyle": style, "color": colour, "marker": marker}
        for label, (style, (colour, marker)) in zip(labels, looks, strict=False)
    }


def _legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for the labels of all panels."""
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
    """Write a figure as PNG, whole or not at all.

    Raises:
      OSError: if the file cannot be written.
    """
    write_whole(path, _png(figure))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
