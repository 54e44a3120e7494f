"""Tables of a network's layers: the result of their conversion, and their conversion error.

They are tables of the library rich, which prints them in a terminal and as HTML in a notebook.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from rich.console import Console
from rich.table import Table

from snnjax.analysis.conversion_error import LARGE_ERROR, ErrorReport, largest_own_part
from snnjax.analysis.error_decomposition import ERROR_PARTS
from snnjax.analysis.remedies import Remedies
from snnjax.conversion.conversion import convert
from snnjax.conversion.units import find_units
from snnjax.networks import architecture as arch
from snnjax.snn.engine import neuron_shapes

__all__ = [
    "LayerRow",
    "as_html",
    "describe_layers",
    "error_table",
    "layer_table",
    "remedy_table",
]


class LayerRow(NamedTuple):
    """One layer of the ANN, and the result of its conversion.

    path: names from the network down to the layer; kind: class of the layer.
    parameters: number of its trained parameters.
    weights: shape of its converted kernel, () without weights.
    shape: of its neurons for one image, () without neurons.
    theta: bound of the activation, smallest and largest over channels; None if unbounded.
    scale: activation that one spike per timestep stands for, smallest and largest over channels;
    None without neurons.
    remark: what conversion did with the layer, or the parameters of a traced model it came from.
    user_name: of the layer in the model that the network was traced from, "" if there is none.
    """

    path: str
    kind: str
    parameters: int
    weights: tuple[int, ...]
    shape: tuple[int, ...]
    theta: tuple[float, float] | None
    scale: tuple[float, float] | None
    remark: str
    user_name: str = ""


def describe_layers(
    network: arch.Network,
    variables: Mapping[str, Any],
    image_shape: tuple[int, ...],
    *,
    scales: Mapping[str, ArrayLike] | None = None,
    sources: Mapping[str, tuple[str, ...]] | None = None,
) -> list[LayerRow]:
    """Return a row for every layer that is not a block of others, in the order of the network.

    Args:
      network: the architecture.
      variables: trained parameters and statistics of the ANN.
      image_shape: `(H, W, C)`.
      scales: as for `conversion.convert`.
      sources: by path, names of the traced model's parameters, as `tracing.trace` returns them.

    Raises:
      ValueError: as `conversion.convert`, or if images of that shape do not fit the network.
    """
    layers = convert(network, variables, scales=scales)["layers"]
    shapes = neuron_shapes(network, layers, image_shape)
    units = find_units(network, variables, scales)
    rows, weights, user_names = [], "", dict(network.user_names)
    for path, layer in arch.walk(network.layers):
        if isinstance(layer, arch.Block):
            continue
        weights = path if isinstance(layer, arch.Weights) and layer.absorbs else weights
        unit = units.get(path)
        rows.append(
            LayerRow(
                path,
                type(layer).__name__,
                _parameter_count(variables["params"], path),
                _kernel_shape(layers, path) if path == weights else (),
                shapes.get(path, ()),
                _limits(unit.charge * unit.bound)
                if unit and np.isfinite(unit.bound).all()
                else None,
                _limits(unit.spike) if unit else None,
                layer.remark(weights) or ", ".join((sources or {}).get(path, ())),
                user_names.get(path, ""),
            )
        )
    return rows


def _parameter_count(params: Mapping[str, Any], path: str) -> int:
    """Return the number of trained parameters of the layer at `path`."""
    for name in path.split("/"):
        params = params.get(name, {})
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))


def _kernel_shape(layers: Mapping[str, Any], path: str) -> tuple[int, ...]:
    """Return the shape of the kernel of the layer at `path`, () if its weights are other arrays."""
    params = arch.inside(layers, path)
    return np.shape(params["kernel"]) if "kernel" in params else ()


def _limits(values: ArrayLike) -> tuple[float, float]:
    """Return the smallest and the largest value."""
    return float(np.min(values)), float(np.max(values))


def layer_table(rows: list[LayerRow], title: str) -> Table:
    """Return a table with a line for each row of `describe_layers`."""
    table = Table(title=title, title_justify="left")
    columns = ("layer", "kind", "parameters", "weights", "neurons", "theta", "scale", "remark")
    for name in columns:
        right = name in ("parameters", "weights", "neurons")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "remark")
    for row in rows:
        table.add_row(
            row.user_name or row.path,
            row.kind,
            f"{row.parameters:,}" if row.parameters else "",
            " x ".join(map(str, row.weights)),
            " x ".join(map(str, row.shape)),
            _format_limits(row.theta),
            _format_limits(row.scale),
            row.remark,
        )
    return table


def _format_limits(limits: tuple[float, float] | None) -> str:
    """Return "low to high", one number if both are equal, or "" for None."""
    if limits is None:
        return ""
    low, high = (f"{value:.4g}" for value in limits)
    return low if low == high else f"{low} to {high}"


COLUMN_OF_PART = {
    "inherited": "inherit", "clipping": "clip", "quantisation": "quant", "unevenness": "uneven",
    "mixed_signs": "mixed",
}  # fmt: skip
"""Short column titles for the parts of the error."""


def error_table(
    report: ErrorReport, title: str, user_names: Mapping[str, str] | None = None
) -> Table:
    """Return a table of the conversion error by layer, with its first large cause below it.

    "error" and its parts are root mean squares in spikes per timestep. Where a layer has advice,
    the largest of the parts that it causes itself is bold.

    Args:
      report: from `conversion_error.measure_conversion_error`.
      title: of the table.
      user_names: for layers by path, the names to show in place of the paths.
    """
    table = Table(
        title=title, title_justify="left", caption=_first_cause(report), caption_justify="left"
    )
    table.add_column("layer", no_wrap=True)
    columns = (
        "ANN",
        "rate",
        "spikes",
        "corr",
        "error",
        *COLUMN_OF_PART.values(),
        "silent",
        "saturated",
    )
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for path, layer in report.layers.items():
        largest = largest_own_part(layer)
        parts = {name: f"{layer.parts[name][0]:.3f}" for name in ERROR_PARTS}
        if layer.advice:
            parts[largest] = f"[bold]{parts[largest]}[/bold]"
        numbers = (layer.ann, layer.rate, layer.spikes, layer.correlation, layer.error)
        shares = (f"{100 * layer.silent:.0f} %", f"{100 * layer.saturated:.0f} %")
        name = (user_names or {}).get(path) or path
        table.add_row(name, *(f"{x:.3f}" for x in numbers), *parts.values(), *shares)
    return table


def _first_cause(report: ErrorReport) -> str:
    """Return a sentence on the first layer with a large part of its own, or "" without layers."""
    if not report.layers:
        return ""
    path = report.first_large
    if not path:
        return f"no layer has a part of its own above {100 * LARGE_ERROR:.0f} % of its activations"
    layer = report.layers[path]
    name = largest_own_part(layer).replace("_", " ")
    return f"first layer with a large part of its own: {path}, {name}: {layer.advice}"


def remedy_table(remedies: Remedies, title: str, advice: str = "") -> Table:
    """Return a table of the scores of all remedies, with `advice` or their own below it."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = advice or remedies.advice
    table.add_column("remedy", no_wrap=True)
    for name in ("T", "accuracy %" if remedies.labelled else "agreement with the ANN %"):
        table.add_column(name, justify="right", no_wrap=True)
    for trial in remedies.trials:
        score = f"{100 * trial.score:.1f}"
        score = f"[bold]{score}[/bold]" if trial is remedies.best else score
        table.add_row(trial.change or "as it is", str(trial.num_steps), score)
    table.add_row("ANN", "", f"{100 * remedies.ann:.1f}")
    return table


def as_html(tables: list[Table]) -> str:
    """Return one HTML page with the tables below each other."""
    console = Console(record=True, file=io.StringIO(), width=200)
    for table in tables:
        console.print(table)
    return console.export_html(inline_styles=True)
