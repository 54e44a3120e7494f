"""Plots of neurons and layers: membrane potentials, firing rates, errors and activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.ticker import MaxNLocator

from snnjax.analysis.conversion_error import ErrorReport
from snnjax.analysis.error_decomposition import ERROR_PARTS
from snnjax.analysis.figures import (
    COLOURS,
    STYLES,
    NotebookFigure,
    label_rows,
    legend_beside,
    line_styles,
    make_panels,
)

__all__ = [
    "error_parts",
    "histograms",
    "largest_outputs",
    "membrane_traces",
    "rates_against_activations",
]

POINTS = 2000
"""Choice: at most this many points of a layer in a scatter plot, since more hide each other."""

GREY = "#444444"

POINT_MARKERS = ".sD^vPX*<>phHd8+x1234"
"""Markers of points, the next one when all colours are in use."""


def membrane_traces(
    membranes: Mapping[str, ArrayLike],
    spikes: Mapping[str, ArrayLike],
    *,
    positive: float,
    negative: float,
    title: str,
) -> NotebookFigure:
    """Plot membrane potential, thresholds and spikes of single neurons, one neuron a panel.

    Args:
      membranes: by title of a panel, membrane potential `[T]` after each timestep.
      spikes: by the same titles, -1, 0 or 1 at each timestep, `[T]`.
      positive: positive threshold v_p, in membrane units.
      negative: magnitude of the negative threshold, v_n; inf is not drawn.
      title: above the panels.

    Raises:
      ValueError: if there are no panels, or `membranes` and `spikes` differ in names or shapes.
    """
    trains = {name: np.asarray(train) for name, train in spikes.items()}
    traces = {name: np.asarray(trace) for name, trace in membranes.items()}
    shapes = [{name: x.shape for name, x in some.items()} for some in (traces, trains)]
    if shapes[0] != shapes[1] or any(len(shape) != 1 for shape in shapes[0].values()):
        raise ValueError(
            f"potentials have shapes {shapes[0]} and spikes {shapes[1]}; want [T] of the same"
            " single neurons in both"
        )
    figure, axes = make_panels(len(traces), (3.6 * len(traces) + 0.8, 3.2), sharey=True)
    for ax, (name, trace) in zip(axes, traces.items(), strict=True):
        times = np.arange(1, len(trace) + 1)
        ax.step(times, trace, where="mid", color=COLOURS[0], label="potential")
        for level in filter(np.isfinite, (positive, -negative)):
            ax.axhline(level, color=GREY, linestyle="--", linewidth=1)
        for sign, marker, colour in ((1, "^", COLOURS[1]), (-1, "v", COLOURS[2])):
            at = times[trains[name] == sign]
            level = positive if sign > 0 else -negative
            ax.plot(at, np.full(len(at), level), marker, color=colour, label=f"spike {sign:+d}")
        ax.set_title(name, loc="left", fontsize=10)
        ax.set_xlabel("timestep")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_rows(axes, "potential (membrane units)")
    figure.legend(
        *axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3
    )
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def error_parts(report: ErrorReport, *, title: str) -> NotebookFigure:
    """Plot the parts of every layer's conversion error as stacked bars, and the error as a mark.

    Choice: root mean squares, which are never negative. Parts of opposite sign cancel, so the
    error may be smaller than the height of its bar.

    Args:
      report: what `conversion_error.measure_conversion_error` returned.
      title: above the plot.

    Raises:
      ValueError: if the network has no layer of neurons.
    """
    if not report.layers:
        raise ValueError("the report has no layer to draw; want a network with neurons")
    figure, (axes,) = make_panels(1, (max(6.4, 0.5 * len(report.layers) + 2), 4.0))
    names, bottom = list(report.layers), np.zeros(len(report.layers))
    for part, colour in zip(ERROR_PARTS, cycle(COLOURS), strict=False):
        heights = np.array([layer.parts[part][0] for layer in report.layers.values()])
        axes.bar(names, heights, 0.7, bottom, color=colour, label=part.replace("_", " "))
        bottom += heights
    errors = [layer.error for layer in report.layers.values()]
    axes.plot(names, errors, "D", color="black", markersize=5, label="the error")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("root mean square (spikes per timestep)")
    axes.set_title(title, loc="left")
    axes.tick_params(axis="x", rotation=90 if len(names) > 4 else 0)
    axes.grid(alpha=0.25, axis="y")
    figure.legend(frameon=False, loc="outside right upper")
    return figure


def rates_against_activations(
    activations: Mapping[str, ArrayLike], rates: Mapping[str, ArrayLike], *, title: str
) -> NotebookFigure:
    """Plot the firing rates of a spiking network against its ANN's activations.

    A neuron without error lies on the diagonal. At most POINTS evenly spaced points of a layer
    are drawn; its correlation coefficient r in the legend is that of all points.

    Args:
      activations: by layer, in spikes per timestep, as `firing_rates` returns them.
      rates: by the same layers, net spike counts over T, of the same shapes.
      title: above the plot.

    Raises:
      ValueError: if there are no layers, more than there are styles, or a layer without rates of
        the shape of its activations.
    """
    styles = _styles("layers", activations)
    figure, axes = _one_plot(len(activations), 4.6)
    for place, (name, ann) in enumerate(activations.items()):
        colour, marker = styles[name]["color"], POINT_MARKERS[place // len(COLOURS)]
        if name not in rates or np.shape(rates[name]) != np.shape(ann):
            has = np.shape(rates[name]) if name in rates else "nothing"
            raise ValueError(
                f"layer {name} has activations {np.shape(ann)} and rates {has}; want the same"
                " images in both"
            )
        x, y = np.ravel(ann), np.ravel(rates[name])
        varies = np.ptp(x) > 0 and np.ptp(y) > 0
        agrees = f"r = {np.corrcoef(x, y)[0, 1]:.3f}" if varies else "constant"
        some = slice(None, None, -(-len(x) // POINTS))
        axes.plot(
            x[some], y[some], marker, color=colour, alpha=0.4, label=f"{name}: {agrees}",
            markersize=None if marker == "." else 3,
        )  # fmt: skip
    axes.axline((0, 0), slope=1, color=GREY, linewidth=1)
    axes.set_xlabel("ANN activation (spikes per timestep)")
    axes.set_ylabel("SNN rate (spikes per timestep)")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.25)
    for mark in _legend(figure, axes, len(activations)).legend_handles:
        mark.set(alpha=1)  # type: ignore[union-attr]
    return figure


def histograms(values: Mapping[str, ArrayLike], *, quantity: str, title: str) -> NotebookFigure:
    """Plot a histogram of each layer, for example of thetas or activations, with common bins.

    Args:
      values: by layer, of any shape.
      quantity: name and unit of the values, below the horizontal axis.
      title: above the plot.

    Raises:
      ValueError: if there are no layers, more than there are styles, or a layer without values or
        with values that are not finite.
    """
    styles = _styles("layers", values)
    flat = {name: np.ravel(np.asarray(numbers)) for name, numbers in values.items()}
    for name, numbers in flat.items():
        if not len(numbers) or not np.isfinite(numbers).all():
            raise ValueError(f"layer {name} has {len(numbers)} numbers; want some, all finite")
    bins = np.histogram_bin_edges(np.concatenate(list(flat.values())), 40).tolist()
    figure, axes = _one_plot(len(flat), 4.0)
    for place, (name, numbers) in enumerate(flat.items()):
        share = np.full(len(numbers), 100 / len(numbers))
        axes.hist(
            numbers, bins, weights=share, histtype="step", label=name,
            color=styles[name]["color"], linestyle=styles[name]["linestyle"],
            linewidth=1 + place // (len(COLOURS) * len(STYLES)),
        )  # fmt: skip
    axes.set_xlabel(quantity)
    axes.set_ylabel("share of the layer (%)")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.25)
    _legend(figure, axes, len(flat))
    return figure


def largest_outputs(largest: Mapping[str, Sequence[float]], *, title: str) -> NotebookFigure:
    """Plot the largest output of every layer of activations, on a logarithmic axis.

    Args:
      largest: by name of a network, magnitude of the largest output from first to last layer.
      title: above the plot.

    Raises:
      ValueError: if there are no networks, more than there are styles, or a magnitude that is
        not above 0.
    """
    styles = _styles("networks", largest)
    figure, axes = _one_plot(len(largest), 4.0)
    for name, values in largest.items():
        if not min(values) > 0:
            raise ValueError(f"{name} has an output of {min(values)}; want magnitudes above 0")
        axes.plot(range(1, len(values) + 1), values, label=name, **styles[name])
    _number_layers(axes)
    axes.set_ylabel("largest output (magnitude)")
    axes.set_yscale("log")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.25)
    _legend(figure, axes, len(largest))
    return figure


def _number_layers(axes: Axes) -> None:
    """Label the horizontal axis with the numbers of the layers."""
    axes.set_xlabel("layer of neurons")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _styles(what: str, given: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """Return `line_styles` of the given items; raise ValueError where there are none."""
    if not given:
        raise ValueError(f"there are 0 {what} to draw; want at least one")
    return line_styles(given)


def _one_plot(count: int, height: float) -> tuple[NotebookFigure, Axes]:
    """Return a figure of one plot, with room for the legend beside it where `_legend` puts it."""
    size = (8.0, 5.0) if count > len(COLOURS) else (6.4, height)
    figure, (axes,) = make_panels(1, size)
    return figure, axes


def _legend(figure: NotebookFigure, axes: Axes, count: int) -> Legend:
    """Draw a legend of `count` labels inside the plot, or beside it if it would cover the plot."""
    return legend_beside(figure, axes) if count > len(COLOURS) else axes.legend(frameon=False)
