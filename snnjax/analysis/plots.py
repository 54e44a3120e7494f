"""Plots of results: accuracy, measurements against T, spikes, STDP and images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle, product

import numpy as np
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from snnjax.analysis.figures import (
    COLOURS,
    NotebookFigure,
    label_rows,
    legend_below,
    legend_beside,
    line_styles,
    make_panels,
)

__all__ = [
    "accuracy_against_energy",
    "accuracy_against_time",
    "accuracy_under_noise",
    "image_grid",
    "spike_raster",
    "stdp_window",
    "values_against_time",
]

ANN_LINES = tuple(product(("#444444", "#999999"), ("--", ":", "-.", (0, (1, 3)))))
"""Shade and dashes of each ANN's line; more than eight use them again."""


def accuracy_against_time(
    curves: Mapping[str, Sequence[float]],
    *,
    ann: Mapping[str, float],
    title: str,
    steps: Mapping[str, Sequence[int]] | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
    lowest: float | None = None,
) -> NotebookFigure:
    """Plot accuracy in % against T, with the accuracy of ANNs as horizontal lines.

    Args:
      curves: by label, accuracy in % at T = 1, 2, ...
      ann: by label, accuracy in %.
      title: above the plot.
      steps: by label of a curve, the T of its values if they are not 1, 2, ...; the axis of T
        is then logarithmic.
      bands: by label of a curve, half the height of a band around it, in percentage points.
      lowest: bottom of the vertical axis in %; None fits it to the curves.

    Raises:
      ValueError: if there are no curves, or too many to give each its own style.
    """
    if not curves:
        raise ValueError("there are no curves to draw; want at least one")
    styles = line_styles(curves)
    many = len(curves) > len(COLOURS)
    figure, (axes,) = make_panels(1, (8.0, 5.0) if many else (6.4, 4.0))
    for label, curve in curves.items():
        at = (steps or {}).get(label, range(1, len(curve) + 1))
        markevery = max(1, len(curve) // 8) if many else 1
        axes.plot(at, curve, markersize=4, label=label, markevery=markevery, **styles[label])
        if bands and label in bands:
            low, high = np.subtract(curve, bands[label]), np.add(curve, bands[label])
            axes.fill_between(at, low, high, color=styles[label]["color"], alpha=0.2, linewidth=0)
    for (label, level), (shade, dashes) in zip(ann.items(), cycle(ANN_LINES), strict=False):
        axes.axhline(level, color=shade, linestyle=dashes, linewidth=1, label=label)
    if lowest is not None:
        axes.set_ylim(bottom=lowest, top=100 if lowest < 95 else 100 - (100 - lowest) * 0.05)
    axes.set_xlabel("timesteps T")
    axes.set_ylabel("accuracy (%)")
    axes.set_title(title, loc="left")
    if steps is None:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.grid(alpha=0.25)
    if many:
        legend_beside(figure, axes)
    else:
        axes.legend(frameon=False, loc="lower right")
    return figure


def accuracy_against_energy(
    panels: Mapping[str, Mapping[str, Sequence[tuple[str, float, float]]]],
    *,
    lines: Collection[str] = (),
    title: str,
) -> NotebookFigure:
    """Plot accuracy in % against energy on a logarithmic axis, in one panel or several.

    Args:
      panels: by title of a panel and label of a network, its points: name, energy in nJ for an
        image, and accuracy in %. An empty name is not written.
      lines: labels of the networks whose points are joined.
      title: above the panels.

    Raises:
      ValueError: if there are no panels.
    """
    figure, axes = make_panels(len(panels), (4.6 * len(panels), 4.4), sharey=True)
    styles = line_styles(label for networks in panels.values() for label in networks)
    for ax, (name, networks) in zip(axes, panels.items(), strict=True):
        for label, points in networks.items():
            style = {**styles[label], "linestyle": "-" if label in lines else "none"}
            _, energies, accuracies = zip(*points, strict=True)
            ax.plot(energies, accuracies, markersize=5, linewidth=1, label=label, **style)
            for place, (text, energy, accuracy) in enumerate(points):
                below = place % 2 and label not in lines  # neighbours may be close
                ax.annotate(
                    text, (energy, accuracy), (0, -13 if below else 6), textcoords="offset points",
                    ha="center", fontsize=8, color=style["color"],
                )  # fmt: skip
        ax.set_title(name, loc="left", fontsize=10)
        ax.set_xlabel("energy per image (nJ)")
        ax.set_xscale("log")
        ax.margins(x=0.08, y=0.12)
        ax.grid(alpha=0.25)
    label_rows(axes, "test accuracy (%)")
    figure.suptitle(title, x=0.01, ha="left")
    legend_below(figure, axes)
    return figure


def accuracy_under_noise(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    densities: Sequence[float],
    title: str,
) -> NotebookFigure:
    """Plot accuracy in % against the share of noisy pixels, in one panel or several.

    A band around each curve shows one standard deviation.

    Args:
      panels: by title of a panel and label of a curve, means and standard deviations in %.
      densities: shares of noisy pixels, in [0, 1], for every curve.
      title: above the panels.

    Raises:
      ValueError: if there are no panels.
    """
    figure, axes = make_panels(len(panels), (3.6 * len(panels) + 1.2, 4.0), sharey=True)
    styles = line_styles(label for curves in panels.values() for label in curves)
    at = [100 * density for density in densities]
    for ax, (name, curves) in zip(axes, panels.items(), strict=True):
        for label, (mean, deviation) in curves.items():
            ax.plot(at, mean, markersize=4, label=label, **styles[label])
            low, high = np.subtract(mean, deviation), np.add(mean, deviation)
            ax.fill_between(at, low, high, color=styles[label]["color"], alpha=0.2, linewidth=0)
        ax.set_title(name, loc="left", fontsize=10)
        ax.set_xlabel("noisy pixels (%)")
        ax.grid(alpha=0.25)
    label_rows(axes, "test accuracy (%)")
    figure.suptitle(title, x=0.01, ha="left")
    legend_below(figure, axes)
    return figure


def values_against_time(
    panels: Mapping[str, Mapping[str, Mapping[int, float]]], *, label: str, title: str
) -> NotebookFigure:
    """Plot positive values against T on logarithmic axes, in one panel or several.

    Args:
      panels: by title of a panel and label of a curve, the value at each T.
      label: of the vertical axis.
      title: above the panels.

    Raises:
      ValueError: if there are no panels.
    """
    figure, axes = make_panels(len(panels), (3.2 * len(panels) + 1.2, 4.2))
    styles = line_styles(label for curves in panels.values() for label in curves)
    for ax, (name, curves) in zip(axes, panels.items(), strict=True):
        for curve, values in curves.items():
            at = sorted(values)
            ax.plot(at, [values[t] for t in at], markersize=4, label=curve, **styles[curve])
        ax.set_title(name, loc="left", fontsize=10)
        ax.set_xlabel("timesteps T")
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.set_yscale("log")
        ax.grid(alpha=0.25)
    label_rows(axes, label)
    figure.suptitle(title, x=0.01, ha="left")
    legend_below(figure, axes)
    return figure


def spike_raster(
    trains: Mapping[str, np.ndarray], *, title: str, order: str = "neuron"
) -> NotebookFigure:
    """Plot the spikes of populations against time, one population a panel.

    Args:
      trains: by title of a panel, spikes `[T, N]`: negative ones are black, 0 is no spike.
      title: above the panels.
      order: label of the vertical axis, which numbers the N neurons from the top.

    Raises:
      ValueError: if there are no panels.
    """
    figure, axes = make_panels(len(trains), (4.2 * len(trains), 4.2), sharey=True)
    for ax, (name, spikes), colour in zip(axes, trains.items(), cycle(COLOURS), strict=False):
        counts = []
        for sent, sign_colour in ((np.greater(spikes, 0), colour), (np.less(spikes, 0), "black")):
            times, neurons = np.nonzero(sent)
            ax.plot(times + 1, neurons, "|", color=sign_colour, markersize=3, markeredgewidth=0.8)
            counts.append(len(times))
        negative = f", {counts[1]:,} of them -1" if counts[1] else ""
        ax.set_title(f"{name}: {sum(counts):,} spikes{negative}", loc="left", fontsize=10)
        ax.set_xlim(0.5, len(spikes) + 0.5)
        ax.set_xlabel("timestep")
    label_rows(axes, order)
    axes[0].set_ylim(max(np.shape(spikes)[1] for spikes in trains.values()) - 0.5, -0.5)
    axes[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def stdp_window(delays: Sequence[float], changes: Sequence[float], *, title: str) -> NotebookFigure:
    """Plot the weight change caused by one pair of spikes against their delay.

    Args:
      delays: time of the postsynaptic minus time of the presynaptic spike, in timesteps.
      changes: weight change for each delay.
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
    axes.set_ylabel("weight change")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.25)
    return figure


def image_grid(images: Mapping[str, Sequence[np.ndarray]]) -> NotebookFigure:
    """Show images with values in [0, 1], one row for each label.

    Args:
      images: by label of the row, images `[H, W, C]`; the same number in each row.

    Raises:
      ValueError: if there are no images, or rows differ in length.
    """
    if not images:
        raise ValueError("there are no images to show; want at least one row")
    columns = max(map(len, images.values()))
    figure = NotebookFigure(figsize=(1.1 * columns + 0.6, 1.1 * len(images)), layout="constrained")
    grid = figure.subplots(len(images), columns, squeeze=False)
    for axes, (label, row) in zip(grid, images.items(), strict=True):
        for ax, image in zip(axes, row, strict=True):
            ax.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
        axes[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure
