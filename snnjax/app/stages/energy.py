"""Energy stage: a converted network in, its operations and their energy in `energy.json` out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.analysis import energy, metrics
from snnjax.analysis.integer_sizes import measure_sizes
from snnjax.analysis.synapses import Synapses, find_synapses
from snnjax.analysis.synaptic_operations import Operations, count_operations, make_observer
from snnjax.app.configurations import DEFAULT_ENCODING, SimulateConfig
from snnjax.app.run_files import describe_dataset, load_data
from snnjax.app.stages.spiking_network import load_for_simulation
from snnjax.io import datasets, records
from snnjax.io.checkpoint import check_writable
from snnjax.networks import architecture as arch
from snnjax.runtime.ranges import BATCHES, IMAGES, SEEDS
from snnjax.snn.simulation import simulate
from snnjax.snn.whole_numbers import is_integer

__all__ = ["measure_energy"]

Params = dict[str, Any]


def measure_energy(
    snn: Path,
    config: SimulateConfig,
    output: Path,
    *,
    dataset: str | None = None,
    images: int = 256,
    batch_size: int = 64,
    seed: int = 0,
) -> dict[str, Any]:
    """Count the operations on the first test images; write `energy.json`.

    Args:
      snn: the file of a conversion.
      config: how to simulate.
      output: folder for the file.
      dataset: whose test images to use; None for the data set that the network was trained on.
      images: number of test images, from the first.
      batch_size: images at a time.
      seed: of random input spikes.

    Returns:
      The record in `energy.json`.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if an option is out of range, or the images do not fit the network.
      OSError: if `output` cannot be written.
    """
    SEEDS.check("seed", seed)
    BATCHES.check("batch_size", batch_size)
    IMAGES.check("images", images)
    check_writable(output / "energy.json")
    network, params, metadata, config = load_for_simulation(snn, config)
    data = load_data(metadata["trained"], dataset)
    if images > len(data.test.images):
        raise ValueError(f"images is {images}; want at most the {len(data.test.images)} there are")
    begun = time.perf_counter()
    split = datasets.first(data.test, images)
    found = find_synapses(network, params, split.images.shape[1:])
    counts = _count(
        network, params, found, split, config, batch_size=batch_size, key=jax.random.key(seed)
    )
    exact = _sizes(network, params, split.images.shape[1:], config.num_steps)
    record = {
        "config": {**asdict(config), "batch_size": batch_size, "seed": seed},
        "conversion": metadata["config"],
        "training": metadata["trained"]["config"],
        "dataset": describe_dataset(data),
        "images": images,
        "accuracy": counts.accuracy,
        "layers": {path: row._asdict() for path, row in counts.operations.items()},
        "first_layer": _first_layer(config),
        "neurobench": {**energy.static_metrics(params), **_neurobench(counts)},
        "activation_bits": energy.activation_bits(config.num_steps),
        "energy_nj": _energies(found, counts.operations, config.num_steps, exact),
        **({"exact": exact} if exact else {}),
        "seconds": round(time.perf_counter() - begun, 1),
        **records.provenance(),
    }
    records.write_json(output / "energy.json", record)
    return record


def _sizes(
    network: arch.Network, params: Params, image_shape: tuple[int, ...], num_steps: int
) -> dict[str, int]:
    """Sizes of an integer network without those of its layers; none for a network of floats."""
    if not is_integer(params):
        return {}
    sizes = measure_sizes(network, params, image_shape, num_steps=num_steps)._asdict()
    del sizes["rows"]
    return sizes


def _energies(
    found: Mapping[str, Synapses],
    counts: Mapping[str, Operations],
    num_steps: int,
    exact: Mapping[str, int],
) -> dict[str, Any]:
    """Energies per image with the costs of floats and of integers.

    Args:
      found: synapses.
      counts: operations.
      num_steps: T.
      exact: sizes of an integer network, whose own bits have costs too; empty for other networks.
    """
    costs = {"float32": energy.FLOAT32, "integer": energy.integer_costs(num_steps)}
    if exact:
        costs["exact"] = energy.integer_costs(num_steps, exact["weight_bits"], exact["sum_bits"])
    return {
        name: {
            "costs_pj": each._asdict(),
            **energy.compare(found, counts, each, num_steps=num_steps)._asdict(),
        }
        for name, each in costs.items()
    }


def _first_layer(config: SimulateConfig) -> str:
    """Kind of the operations in front of the first neurons."""
    if (config.encoding or DEFAULT_ENCODING) == "constant":
        return "products, once per image, because its input current is constant"
    return "accumulates of input spikes, at every timestep"


class _Counts(NamedTuple):
    """Means over the images.

    operations: by layer; accuracy: after the last timestep; activation_sparsity: share of neurons
    and timesteps without a spike.
    """

    operations: dict[str, Operations]
    accuracy: float
    activation_sparsity: float


def _neurobench(counts: _Counts) -> dict[str, float]:
    """Metrics of NeuroBench that depend on the images."""
    names = ("dense", "effective_macs", "effective_acs")
    rows = counts.operations.values()
    sums = {name: sum(getattr(row, name) for row in rows) for name in names}
    return {"activation_sparsity": counts.activation_sparsity, **sums}


def _count(
    network: arch.Network,
    params: Params,
    found: Mapping[str, Synapses],
    split: datasets.Split,
    config: SimulateConfig,
    *,
    batch_size: int,
    key: jax.Array,
) -> _Counts:
    """Simulate batch by batch, and average what is counted."""
    encoding = config.arguments["encoding"]
    watch, right, active, total = make_observer(found, encoding), 0.0, 0.0, None
    for first in range(0, len(split.images), batch_size):
        images = split.images[first : first + batch_size].astype(np.float32) / 255
        result = simulate(
            network, params, images, key=key, first=first, record=watch, **config.arguments
        )
        rows = count_operations(found, result, encoding, shown_steps=config.shown_steps)
        scaled = jax.tree.map(lambda mean, n=len(images): n * mean, rows)
        total = scaled if total is None else jax.tree.map(np.add, total, scaled)
        labels = split.labels[first : first + batch_size]
        right += float(jnp.sum(metrics.correct_answers(result.values, labels)[-1]))
        events = (np.asarray(e, np.int64).sum() for e in result.recording["events"].values())
        active += sum(int(e) for e in events)
        neurons = sum(int(n) for n in result.neurons.values())
    count = len(split.images)
    return _Counts(
        operations=jax.tree.map(lambda s: float(s / count), total),
        accuracy=right / count,
        activation_sparsity=(1 - active / (count * config.num_steps * neurons) if neurons else 0.0),
    )
