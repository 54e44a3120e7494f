"""Pictures of the inside of a network: potentials, rates and errors, by neuron and by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from snnjax.analysis.conversion_error import PARTS, Diagnosis
from snnjax.analysis.plots import COLOURS, MARKERS, Picture, make_panels

__all__ = [
    "error_parts",
    "histograms",
    "largest_outputs",
    "membrane_traces",
    "rates_against_activations",
]

POINTS = 2000
"""Points of a layer in a scatter plot; more would hide each other."""

GREY = "#444444"


def membrane_traces(
    membranes: Mapping[str, ArrayLike],
    spikes: Mapping[str, ArrayLike],
    *,
    positive: float,
    negative: float,
    title: str,
) -> Picture:
    """Potentials of single neurons against time, side by side, with thresholds and spikes.

    Args:
      membranes: by title of a panel, the potential `[T]` after each timestep.
      spikes: by the same titles, -1, 0 or 1 at each timestep, `[T]`.
      positive: threshold v_p, in membrane units.
      negative: magnitude of the threshold below zero, v_n; inf is not drawn.
      title: above all.

    Raises:
      ValueError: if there are no panels, or potentials and spikes differ in names or lengths.
    """
    trains = {name: np.asarray(train) for name, train in spikes.items()}
    traces = {name: np.asarray(trace) for name, trace in membranes.items()}
    shapes = [{name: x.shape for name, x in some.items()} for some in (traces, trains)]
    if shapes[0] != shapes[1] or any(len(shape) != 1 for shape in shapes[0].values()):
        raise ValueError(
            f"potentials have shapes {shapes[0]} and spikes {shapes[1]}; want [T] of the same"
            " neurons, so choose single ones"
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


def error_parts(found: Diagnosis, *, title: str) -> Picture:
    """The parts of every layer's error on each other, and the error itself.

    Choice: roots of mean squares, which are never negative. Parts of opposite sign cancel, so
    the error may be less than the whole bar.

    Args:
      found: what `diagnosis.diagnose` returned.
      title: above the plot.

    Raises:
      ValueError: if the network has no layer of neurons.
    """
    if not found.layers:
        raise ValueError("the diagnosis has no layer to draw; want a network with neurons")
    figure, (axes,) = make_panels(1, (max(6.4, 0.5 * len(found.layers) + 2), 4.0))
    names, bottom = list(found.layers), np.zeros(len(found.layers))
    for part, colour in zip(PARTS, COLOURS, strict=False):
        heights = np.array([layer.parts[part][0] for layer in found.layers.values()])
        axes.bar(names, heights, 0.7, bottom, color=colour, label=part.replace("_", " "))
        bottom += heights
    errors = [layer.error for layer in found.layers.values()]
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
) -> Picture:
    """Rates of a spiking network against its ANN's activations; on the diagonal they agree.

    Of a layer at most POINTS points are drawn, evenly spaced; correlations are of all.

    Args:
      activations: by layer, in spikes per timestep, as `spiking.rates` gives them.
      rates: by the same layers, mean spikes over T, of the same shapes.
      title: above the plot.

    Raises:
      ValueError: if there are no layers or more than colours, or the two do not go together.
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


def histograms(values: Mapping[str, ArrayLike], *, quantity: str, title: str) -> Picture:
    """How numbers are spread in each layer, such as thetas or activations, in common bins.

    Args:
      values: by layer, of any shape.
      quantity: what the numbers are, with their unit.
      title: above the plot.

    Raises:
      ValueError: if there are no layers or more than colours, or one has no or no finite numbers.
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


def largest_outputs(largest: Mapping[str, Sequence[float]], *, title: str) -> Picture:
    """The largest output of every layer of neurons, on a logarithmic axis.

    Args:
      largest: by name of a network, magnitudes from the first layer on.
      title: above the plot.

    Raises:
      ValueError: if there are no networks or more than colours, or a magnitude is not above 0.
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
    axes.set_xlabel("layer of neurons")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _check_count(what: str, given: Mapping[str, object]) -> None:
    if not 0 < len(given) <= len(COLOURS):
        raise ValueError(
            f"there are {len(given)} {what} to draw; want 1 to {len(COLOURS)}, each in its colour"
        )
