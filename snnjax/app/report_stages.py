"""Stages beside the simulation: what a converted network costs, and where and why it errs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.analysis import energy, layer_tables, metrics
from snnjax.analysis.conversion_error import measure_conversion_error
from snnjax.analysis.synapses import Synapses, find_synapses
from snnjax.analysis.synaptic_operations import Operations, count_operations, make_observer
from snnjax.app.configurations import (
    DEFAULT_ENCODING,
    ConvertConfig,
    DatasetName,
    SimulateConfig,
    settled,
)
from snnjax.app.conversion_stage import convert_file
from snnjax.app.learning_stage import with_readout
from snnjax.app.run_files import describe, load_network
from snnjax.io import datasets, records
from snnjax.io.checkpoint import write_whole
from snnjax.networks import architecture as arch
from snnjax.snn.simulation import simulate

__all__ = ["measure_energy", "report"]

Params = dict[str, Any]


def measure_energy(
    snn: Path,
    config: SimulateConfig,
    output: Path,
    *,
    dataset: DatasetName | None = None,
    images: int = 256,
    batch_size: int = 64,
    seed: int = 0,
) -> dict[str, Any]:
    """Count the operations of the first test images; write `energy.json`.

    Returns:
      The record that went into the JSON.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if a setting is out of range, or the images do not fit the network.
      OSError: if `output` cannot be written.
    """
    network, params, metadata = load_network(snn)
    config = settled(config, metadata["config"]["method"])
    params = with_readout(params, metadata, config, snn)
    data = datasets.load(dataset or metadata["trained"]["config"]["dataset"])
    if not 1 <= images <= len(data.test.images) or batch_size < 1:
        raise ValueError(
            f"images is {images} and batch_size {batch_size}; want 1 to {len(data.test.images)}"
            " images, and at least 1 in a batch"
        )
    begun = time.perf_counter()
    split = datasets.first(data.test, images)
    found = find_synapses(network, params, split.images.shape[1:])
    counted = _count(network, params, found, split, config, batch_size, seed)
    record = {
        "config": {**asdict(config), "batch_size": batch_size, "seed": seed},
        "conversion": metadata["config"],
        "training": metadata["trained"]["config"],
        "dataset": describe(data),
        "images": images,
        "accuracy": counted["accuracy"],
        "layers": {path: row._asdict() for path, row in counted["operations"].items()},
        "first_layer": _first_layer(config),
        "neurobench": {**energy.static_metrics(params), **counted["neurobench"]},
        "activation_bits": energy.activation_bits(config.num_steps),
        "energy_nj": _energies(found, counted["operations"], config.num_steps),
        "seconds": round(time.perf_counter() - begun, 1),
        **records.provenance(),
    }
    records.write_json(output / "energy.json", record)
    return record


def _energies(
    found: Mapping[str, Synapses],
    counts: Mapping[str, Operations],
    num_steps: int,
) -> dict[str, Any]:
    costs = {"float32": energy.FLOAT32, "integer": energy.integer_costs(num_steps)}
    return {
        name: {
            "costs_pj": each._asdict(),
            **energy.compare(found, counts, each, num_steps=num_steps)._asdict(),
        }
        for name, each in costs.items()
    }


def _first_layer(config: SimulateConfig) -> str:
    """How the layers before the first neurons are counted."""
    if (config.encoding or DEFAULT_ENCODING) == "constant":
        return "products, once an image: its current is constant and kept"
    return "accumulates of input spikes, at every timestep"


def report(
    ann: Path,
    convert: ConvertConfig,
    config: SimulateConfig,
    output: Path,
    *,
    dataset: DatasetName | None = None,
    images: int = 256,
    batch_size: int = 32,
    seed: int = 0,
) -> tuple[dict[str, Any], list[Any]]:
    """What conversion makes of every layer, and where the spiking network errs on test images.

    Writes `report.json` and `report.html`.

    Returns:
      The record that went into the JSON, and the two tables, of rich.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if a setting is out of range, or the neuron has no balance of charge and count.
      OSError: if `output` cannot be written.
    """
    config = settled(config, convert.method)
    convert = replace(convert, for_steps=convert.for_steps or config.num_steps)
    found = convert_file(ann, convert)
    data = datasets.load(dataset or found.trained["dataset"]["name"])
    if not 1 <= images <= len(data.test.images):
        raise ValueError(f"images is {images}; want 1 to {len(data.test.images)}")
    shown = data.test.images[:images].astype(np.float32) / 255
    rows = layer_tables.describe_layers(
        found.network, found.variables, shown.shape[1:], scales=found.scales
    )
    diagnosis = measure_conversion_error(
        found.network, found.params, shown, key=jax.random.key(seed), batch_size=batch_size,
        **{name: config.arguments[name] for name in ("num_steps", "neuron", "encoding")},
    )  # fmt: skip
    name = found.trained["config"]["network"]
    tables = [
        layer_tables.layer_table(rows, f"{name}: layers and what became of them"),
        layer_tables.error_table(
            diagnosis,
            f"{name} on {data.name}, {images:,} test images, T = {config.num_steps},"
            f" {config.neuron}: same answer as the smooth ANN on {100 * diagnosis.agreement:.1f} %."
            " Rates and errors in spikes per timestep",
        ),
    ]
    record = {
        "config": {**asdict(config), "images": images, "seed": seed},
        "conversion": asdict(found.config),
        "training": found.trained["config"],
        "dataset": describe(data),
        "agreement": diagnosis.agreement,
        "structure": [row._asdict() for row in rows],
        "layers": {path: _finite(layer._asdict()) for path, layer in diagnosis.layers.items()},
        **records.provenance(),
    }
    records.write_json(output / "report.json", record)
    write_whole(output / "report.html", layer_tables.as_html(tables).encode())
    return record, tables


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """The row with None for NaN, which JSON does not have."""
    return {name: None if value != value else value for name, value in row.items()}


def _count(
    network: arch.Network,
    params: Params,
    found: Mapping[str, Synapses],
    split: datasets.Split,
    config: SimulateConfig,
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """Means over the images, batch by batch."""
    encoding = config.arguments["encoding"]
    watch, right, active, total = make_observer(found, encoding), 0.0, 0.0, None
    for first in range(0, len(split.images), batch_size):
        images = split.images[first : first + batch_size].astype(np.float32) / 255
        result = simulate(
            network, params, images, key=jax.random.key(seed), first=first, record=watch,
            **config.arguments,
        )  # fmt: skip
        rows = count_operations(found, result, encoding, shown_steps=config.shown_steps)
        scaled = jax.tree.map(lambda mean, n=len(images): n * mean, rows)
        total = scaled if total is None else jax.tree.map(np.add, total, scaled)
        labels = split.labels[first : first + batch_size]
        right += float(jnp.sum(metrics.correct_answers(result.values, labels)[-1]))
        events = (np.asarray(e, np.int64).sum() for e in result.recording["events"].values())
        active += sum(int(e) for e in events)
        neurons = sum(int(n) for n in result.neurons.values())
    count = len(split.images)
    means = jax.tree.map(lambda s: float(s / count), total)
    bench = {
        name: sum(getattr(row, name) for row in means.values())
        for name in ("dense", "effective_macs", "effective_acs")
    }
    sparsity = 1 - active / (count * config.num_steps * neurons) if neurons else 0.0
    return {
        "operations": means,
        "accuracy": right / count,
        "neurobench": {"activation_sparsity": sparsity, **bench},
    }
