"""What became of a network's layers, and why the spiking one errs, as tables.

The tables are rich's, so they print in a terminal and are HTML in a notebook.
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

from snnjax.analysis.conversion_error import OWN, PARTS, Diagnosis
from snnjax.conversion.conversion import convert, find_units
from snnjax.networks import architecture as arch
from snnjax.snn import spiking

__all__ = ["Row", "as_html", "diagnosis_table", "structure", "structure_table"]


class Row(NamedTuple):
    """A layer of the ANN in the spiking network.

    path and kind; parameters: how many numbers it was trained with; weights: shape of its kernel,
    and shape: of its neurons for an image, each () where it has none; theta: bound of the
    activation, and scale: what a spike stands for, each (smallest, largest) over channels, or
    None; remark: where its numbers went.
    """

    path: str
    kind: str
    parameters: int
    weights: tuple[int, ...]
    shape: tuple[int, ...]
    theta: tuple[float, float] | None
    scale: tuple[float, float] | None
    remark: str


def structure(
    network: arch.Network,
    variables: Mapping[str, Any],
    image_shape: tuple[int, ...],
    *,
    scales: Mapping[str, ArrayLike] | None = None,
    sources: Mapping[str, tuple[str, ...]] | None = None,
) -> list[Row]:
    """Every layer, with what conversion makes of it.

    Args:
      network: the architecture.
      variables: its parameters.
      image_shape: `(H, W, C)`.
      scales: as for `conversion.convert`.
      sources: where a layer's numbers come from, as `tracing.trace` returns it.

    Raises:
      ValueError: as `conversion.convert`, or if the images do not fit.
    """
    layers = convert(network, variables, scales=scales)["layers"]
    shapes = spiking.neurons(network, layers, image_shape)
    units = find_units(network, variables, scales)
    rows, weights = [], ""
    for path, layer in arch.walk(network.layers):
        if isinstance(layer, arch.Block):
            continue
        weights = path if isinstance(layer, arch.Dense | arch.Conv) else weights
        unit = units.get(path)
        rows.append(
            Row(
                path,
                type(layer).__name__,
                _size(variables["params"], path),
                np.shape(spiking.inside(layers, path)["kernel"]) if path == weights else (),
                shapes.get(path, ()),
                _range(unit.charge * unit.bound)
                if unit and np.isfinite(unit.bound).all()
                else None,
                _range(unit.spike) if unit else None,
                _remark(layer, weights, (sources or {}).get(path, ())),
            )
        )
    return rows


def _size(params: Mapping[str, Any], path: str) -> int:
    for name in path.split("/"):
        params = params.get(name, {})
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))


def _range(values: ArrayLike) -> tuple[float, float]:
    return float(np.min(values)), float(np.max(values))


def _remark(layer: arch.Layer, weights: str, sources: tuple[str, ...]) -> str:
    match layer:
        case arch.BatchNorm():
            return f"folded into {weights}"
        case arch.Normalise():
            return "folded into the first weights, with a border of the mean"
        case arch.AvgPool():
            return f"fixed synapses of 1/{layer.window[0] * layer.window[1]}"
        case arch.Activation():
            return f"neurons, v_n = v_p / {layer.alpha:g}" if layer.alpha else "neurons, no -1"
    return ", ".join(sources)


def structure_table(rows: list[Row], title: str) -> Table:
    """The layers as a table."""
    table = Table(title=title, title_justify="left")
    for name in ("layer", "kind", "numbers", "weights", "neurons", "theta", "a spike is", "remark"):
        right = name in ("numbers", "weights", "neurons")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "remark")
    for row in rows:
        table.add_row(
            row.path,
            row.kind,
            f"{row.parameters:,}" if row.parameters else "",
            " x ".join(map(str, row.weights)),
            " x ".join(map(str, row.shape)),
            _shown(row.theta),
            _shown(row.scale),
            row.remark,
        )
    return table


def _shown(limits: tuple[float, float] | None) -> str:
    if limits is None:
        return ""
    low, high = (f"{value:.4g}" for value in limits)
    return low if low == high else f"{low} to {high}"


SHORT = {
    "inherited": "inherit", "clipping": "clip", "quantisation": "quant", "unevenness": "uneven",
    "mixed_signs": "mixed",
}  # fmt: skip


def diagnosis_table(found: Diagnosis, title: str) -> Table:
    """Errors by layer, and below what to change; parts are roots of mean squares."""
    advice = "\n".join(f"{path}: {x.advice}" for path, x in found.layers.items() if x.advice)
    table = Table(title=title, title_justify="left", caption=advice, caption_justify="left")
    table.add_column("layer", no_wrap=True)
    for name in ("ANN", "rate", "spikes", "corr", "error", *SHORT.values(), "silent", "full"):
        table.add_column(name, justify="right", no_wrap=True)
    for path, layer in found.layers.items():
        worst = max(OWN, key=lambda part: layer.parts[part][0])
        parts = [f"{layer.parts[name][0]:.3f}" for name in PARTS]
        if layer.advice:
            parts[PARTS.index(worst)] = f"[bold]{parts[PARTS.index(worst)]}[/bold]"
        numbers = (layer.ann, layer.rate, layer.spikes, layer.correlation, layer.error)
        shares = (f"{100 * layer.silent:.0f} %", f"{100 * layer.saturated:.0f} %")
        table.add_row(path, *(f"{x:.3f}" for x in numbers), *parts, *shares)
    return table


def as_html(tables: list[Table]) -> str:
    """Tables as one page of HTML."""
    console = Console(record=True, file=io.StringIO(), width=200)
    for table in tables:
        console.print(table)
    return console.export_html(inline_styles=True)
