"""Report stage: a trained network in, `report.json` and `report.html` about its layers out."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from snnjax.analysis import layer_tables
from snnjax.analysis.conversion_error import ErrorReport, measure_conversion_error
from snnjax.app import printing
from snnjax.app.configurations import ConvertConfig, SimulateConfig, resolve_simulation
from snnjax.app.run_files import describe_dataset
from snnjax.app.stages.conversion import convert_file
from snnjax.io import datasets, records
from snnjax.io.checkpoint import write_whole

__all__ = ["Report", "report"]


class Report(NamedTuple):
    """Layers of a network after conversion, and the errors of the spiking network in each.

    record: as in `report.json`; layers: of the ANN in the spiking network; errors: of the spiking
    network in each.
    """

    record: dict[str, Any]
    layers: list[layer_tables.LayerRow]
    errors: ErrorReport


def report(
    ann: Path,
    convert: ConvertConfig,
    config: SimulateConfig,
    output: Path,
    *,
    dataset: str | None = None,
    images: int = 256,
    batch_size: int = 32,
    seed: int = 0,
) -> Report:
    """Analyse every layer of a conversion on test images; write `report.json` and `report.html`.

    Args:
      ann: the file of a training.
      convert: how to convert.
      config: how to simulate.
      output: folder for the files.
      dataset: whose test images to use; None for the data set that the network was trained on.
      images: number of test images, from the first.
      batch_size: images at a time.
      seed: of random input spikes.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if an option is out of range, or the neuron's charge and spike count do not
        balance, which the analysis needs.
      OSError: if `output` cannot be written.
    """
    config = resolve_simulation(config, convert.method)
    convert = replace(convert, for_steps=convert.for_steps or config.num_steps)
    found = convert_file(ann, convert)
    data = datasets.load(dataset or found.trained["dataset"]["name"])
    if not 1 <= images <= len(data.test.images):
        raise ValueError(f"images is {images}; want 1 to {len(data.test.images)}")
    shown = data.test.images[:images].astype(np.float32) / 255
    rows = layer_tables.describe_layers(
        found.network, found.variables, shown.shape[1:], scales=found.scales
    )
    errors = measure_conversion_error(
        found.network, found.params, shown, key=jax.random.key(seed), batch_size=batch_size,
        **{name: config.arguments[name] for name in ("num_steps", "neuron", "encoding")},
    )  # fmt: skip
    record = {
        "config": {**asdict(config), "images": images, "seed": seed},
        "conversion": asdict(found.config),
        "training": found.trained["config"],
        "dataset": describe_dataset(data),
        "agreement": errors.agreement,
        "structure": [row._asdict() for row in rows],
        "layers": {path: _finite(layer._asdict()) for path, layer in errors.layers.items()},
        **records.provenance(),
    }
    written = Report(record, rows, errors)
    records.write_json(output / "report.json", record)
    tables = printing.report_tables(*written)
    write_whole(output / "report.html", layer_tables.as_html(tables).encode())
    return written


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with None in place of NaN, which JSON does not have."""
    return {name: None if value != value else value for name, value in row.items()}
