"""Report stage: a trained network in, `report.json` and `report.html` about its layers out."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from snnjax.analysis import layer_tables
from snnjax.analysis.conversion_error import ErrorReport, measure_conversion_error
from snnjax.analysis.remedies import Remedies, Setting, try_remedies
from snnjax.app import printing
from snnjax.app.configurations import ConvertConfig, SimulateConfig, resolve_simulation
from snnjax.app.run_files import describe_dataset, load_data
from snnjax.app.stages.conversion import (
    Converted,
    balanced_scales,
    convert_file,
    convert_with_scales,
)
from snnjax.io import datasets, records
from snnjax.io.checkpoint import check_writable, write_whole
from snnjax.runtime.ranges import IMAGES, SEEDS

__all__ = ["Report", "report"]


class Report(NamedTuple):
    """Layers of a network after conversion, and the errors of the spiking network in each.

    record: as in `report.json`; layers: of the ANN in the spiking network; errors: of the spiking
    network in each; remedies: other conversions, and their accuracy on the same images.
    """

    record: dict[str, Any]
    layers: list[layer_tables.LayerRow]
    errors: ErrorReport
    remedies: Remedies


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
    progress: bool = True,
) -> Report:
    """Analyse every layer of a conversion on test images, and try what could be better.

    Writes `report.json` and `report.html`.

    Args:
      ann: the file of a training.
      convert: how to convert.
      config: how to simulate.
      output: folder for the files.
      dataset: whose test images to use; None for the data set that the network was trained on.
      images: number of test images, from the first.
      batch_size: images at a time.
      seed: of random input spikes.
      progress: show a progress bar in a terminal while remedies are tried.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if an option is out of range, or the neuron's charge and spike count do not
        balance, which the analysis needs.
      OSError: if `output` cannot be written.
    """
    SEEDS.check("seed", seed)
    IMAGES.check("images", images)
    check_writable(output / "report.json", output / "report.html")
    config = resolve_simulation(config, convert.method)
    asked = convert
    convert = replace(convert, for_steps=convert.for_steps or config.num_steps)
    found = convert_file(ann, convert, dataset if datasets.is_path(dataset) else None)
    data = load_data(found.trained, dataset)
    if images > len(data.test.images):
        raise ValueError(f"images is {images}; want at most the {len(data.test.images)} there are")
    test = datasets.first(data.test, images)
    shown = test.images.astype(np.float32) / 255
    rows = layer_tables.describe_layers(
        found.network, found.variables, shown.shape[1:], scales=found.scales
    )
    how = {"encoding": config.arguments["encoding"], "key": jax.random.key(seed)}
    errors = measure_conversion_error(
        found.network, found.params, shown, num_steps=config.num_steps,
        neuron=config.arguments["neuron"], batch_size=batch_size, **how,
    )  # fmt: skip
    remedies = _try(
        found, asked, config, data, test, batch_size=batch_size, progress=progress, **how
    )
    record = {
        "config": {**asdict(config), "images": images, "seed": seed},
        "conversion": asdict(found.config),
        "training": found.trained["config"],
        "dataset": describe_dataset(data),
        "agreement": errors.agreement,
        "structure": [row._asdict() for row in rows],
        "layers": {path: _finite(layer._asdict()) for path, layer in errors.layers.items()},
        "first_large": errors.first_large,
        "remedies": _describe(remedies, found.config.method),
        **records.provenance(),
    }
    written = Report(record, rows, errors, remedies)
    records.write_json(output / "report.json", record)
    tables = printing.report_tables(*written)
    write_whole(output / "report.html", layer_tables.as_html(tables).encode())
    return written


def _try(
    found: Converted,
    asked: ConvertConfig,
    config: SimulateConfig,
    data: datasets.Dataset,
    test: datasets.Split,
    **how: Any,
) -> Remedies:
    """Try remedies for a conversion with all its other options; see `try_remedies`.

    Args:
      found: the conversion.
      asked: its options as the user gave them; a `for_steps` of 0 follows T.
      config: how to simulate.
      data: whose training images scales are measured on.
      test: its test images to score on.
      how: further arguments of `try_remedies`.
    """
    images = data.train.images[: asked.calibration_images].astype(np.float32) / 255

    def make_params(setting: Setting) -> dict[str, Any]:
        options = replace(
            found.config, method=None, initial_potential=setting.initial,
            for_steps=asked.for_steps or setting.num_steps,
        )  # fmt: skip
        scales: Any = setting.scales
        if scales is found.scales:  # some rules depend on T
            scales = balanced_scales(found.network, found.variables, images, options)
        return convert_with_scales(found._replace(config=options, scales=scales), images)

    setting = Setting(
        found.scales, found.config.initial_potential, config.num_steps, config.arguments["neuron"]
    )
    return try_remedies(
        found.network, found.variables, test.images.astype(np.float32) / 255, setting,
        labels=test.labels,
        calibration_images=images, make_params=make_params, **how,
    )  # fmt: skip


def _describe(remedies: Remedies, method: str | None) -> dict[str, Any]:
    """Return the entry "remedies" of the record."""
    changes = remedies.best.change and method
    return {
        "advice": remedies.advice
        + (f"; give the options of {method} one by one, and no --method" if changes else ""),
        "accuracy": {"ann": remedies.ann, "snn": remedies.trials[0].score},
        "trials": [trial._asdict() for trial in remedies.trials],
    }


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with None in place of NaN, which JSON does not have."""
    return {name: None if value != value else value for name, value in row.items()}
