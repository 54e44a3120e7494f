"""Plots of neurons and layers: membrane potentials, firing rates, errors and activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from snnjax.analysis.conversion_error import ErrorReport
from snnjax.analysis.error_decomposition import ERROR_PARTS
from snnjax.analysis.figures import COLOURS, MARKERS, NotebookFigure, make_panels

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
    axes[0].set_ylabel("potential (membrane units)")
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
    for part, colour in zip(ERROR_PARTS, COLOURS, strict=False):
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
      ValueError: if there are no layers, more layers than colours, or a layer without rates of
        the shape of its activations.
    """
    _check_count("layers", activations)
    figure, (axes,) = make_panels(1, (6.4, 4.6))
    for (name, ann), colour in zip(activations.items(), COLOURS, strict=False):
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
        axes.plot(x[some], y[some], ".", color=colour, alpha=0.4, label=f"{name}: {agrees}")
    axes.axline((0, 0), slope=1, color=GREY, linewidth=1)
    axes.set_xlabel("ANN activation (spikes per timestep)")
    axes.set_ylabel("SNN rate (spikes per timestep)")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.25)
    for mark in axes.legend(frameon=False).legend_handles:
        mark.set(alpha=1)  # type: ignore[union-attr]
    return figure


def histograms(values: Mapping[str, ArrayLike], *, quantity: str, title: str) -> NotebookFigure:
    """Plot a histogram of each layer, for example of thetas or activations, with common bins.

    Args:
      values: by layer, of any shape.
      quantity: name and unit of the values, below the horizontal axis.
      title: above the plot.

    Raises:
      ValueError: if there are no layers, more layers than colours, or a layer without values or
        with values that are not finite.
    """
    _check_count("layers", values)
    flat = {name: np.ravel(np.asarray(numbers)) for name, numbers in values.items()}
    for name, numbers in flat.items():
        if not len(numbers) or not np.isfinite(numbers).all():
            raise ValueError(f"layer {name} has {len(numbers)} numbers; want some, all finite")
    bins = np.histogram_bin_edges(np.concatenate(list(flat.values())), 40).tolist()
    figure, (axes,) = make_panels(1, (6.4, 4.0))
    for (name, numbers), colour in zip(flat.items(), COLOURS, strict=False):
        share = np.full(len(numbers), 100 / len(numbers))
        axes.hist(numbers, bins, weights=share, histtype="step", color=colour, label=name)
    axes.set_xlabel(quantity)
    axes.set_ylabel("share of the layer (%)")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def largest_outputs(largest: Mapping[str, Sequence[float]], *, title: str) -> NotebookFigure:
    """Plot the largest output of every layer of activations, on a logarithmic axis.

    Args:
      largest: by name of a network, magnitude of the largest output from first to last layer.
      title: above the plot.

    Raises:
      ValueError: if there are no networks, more networks than colours, or a magnitude that is
        not above 0.
    """
    _check_count("networks", largest)
    figure, (axes,) = make_panels(1, (6.4, 4.0))
    for (name, values), colour, marker in zip(largest.items(), COLOURS, MARKERS, strict=False):
        if not min(values) > 0:
            raise ValueError(f"{name} has an output of {min(values)}; want magnitudes above 0")
        axes.plot(range(1, len(values) + 1), values, color=colour, marker=marker, label=name)
    _number_layers(axes)
    axes.set_ylabel("largest output (magnitude)")
    axes.set_yscale("log")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def _number_layers(axes: Axes) -> None:
    """Label the horizontal axis with the numbers of the layers."""
    axes.set_xlabel("layer of neurons")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _check_count(what: str, given: Mapping[str, object]) -> None:
    """Raise ValueError unless there is a colour for each of the given items."""
    if not 0 < len(given) <= len(COLOURS):
        raise ValueError(
            f"there are {len(given)} {what} to draw; want 1 to {len(COLOURS)}, each in its colour"
        )
