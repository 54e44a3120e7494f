"""Energy stage: a converted network in, its energy beside its ANNs' in `energy.json` out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from snnjax.analysis import energy, figures, plots
from snnjax.analysis.energy_by_time import Counted
from snnjax.analysis.integer_sizes import measure_sizes
from snnjax.analysis.memory_traffic import measure_contents
from snnjax.analysis.quantised_ann import levels_to_try, measure_anns
from snnjax.analysis.silent_channels import describe_silent
from snnjax.analysis.synapses import Synapses, find_synapses
from snnjax.analysis.synaptic_operations import Operations
from snnjax.app.configurations import DEFAULT_ENCODING, SimulateConfig, recorded_training
from snnjax.app.energy_texts import answer_in_words
from snnjax.app.evaluation.counting import CountingRun, find_early_exits
from snnjax.app.evaluation.early_exits import HELD_OUT
from snnjax.app.evaluation.energies import MEASURES, Bits, compare_energies
from snnjax.app.run_files import describe_dataset, load_data, validation_images
from snnjax.app.stages.spiking_network import load_for_simulation
from snnjax.io import datasets, records
from snnjax.io.checkpoint import check_writable
from snnjax.networks import architecture as arch
from snnjax.runtime.ranges import BATCHES, IMAGES, SEEDS
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
    """Compare the energy of the network at each T with its ANNs' on the first test images.

    Writes `energy.json` and `energy.png`. Early exit is calibrated on as many validation images,
    if the training data are there.

    Args:
      snn: the file of a conversion.
      config: how to simulate.
      output: folder for the files.
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
    check_writable(output / "energy.json", output / "energy.png")
    network, params, metadata, config = load_for_simulation(snn, config)
    data = load_data(metadata["trained"], dataset)
    if images > len(data.test.images):
        raise ValueError(f"images is {images}; want at most the {len(data.test.images)} there are")
    begun = time.perf_counter()
    split = datasets.first(data.test, images)
    shape = split.images.shape[1:]
    run = CountingRun(network, params, find_synapses(network, params, shape), config, batch_size)
    held, reason = _held_out(config, metadata["trained"], data, images)
    key = jax.random.key(seed)
    counted, fired = run.count_split(split, key)
    other = run.count_split(held, jax.random.fold_in(key, HELD_OUT)) if held else None
    exact = _sizes(network, params, shape, config.num_steps)
    compared = _compare(run, counted, split, other and other[0], exact, metadata["trained"])
    record = {
        "config": {**asdict(config), "batch_size": batch_size, "seed": seed},
        "conversion": metadata["config"],
        "training": metadata["trained"]["config"],
        "dataset": describe_dataset(data),
        "images": images,
        "accuracy": compared["timesteps"][-1]["accuracy"],
        "answer": answer_in_words(compared, is_finetuned="finetuned" in metadata),
        **compared,
        **({} if compared["early_exit"] else {"no_early_exit": reason}),
        "silent_channels": _silent(fired, other and other[1]),
        **_operations(run, counted, exact),
        "seconds": round(time.perf_counter() - begun, 1),
        **records.provenance(),
    }
    records.write_json(output / "energy.json", record)
    figures.save(_figure(record), output / "energy.png")
    return record


def _held_out(
    config: SimulateConfig, trained: dict[str, Any], data: datasets.Dataset, count: int
) -> tuple[datasets.Split | None, str]:
    """Return at most `count` validation images to calibrate early exit on, or the reason for none.

    Raises:
      FileNotFoundError: if the options ask for a calibration and the data are not there.
      ValueError: if they ask for it and the training held out no image.
    """
    short = "there is one timestep with an answer"
    if config.exit_margin is not None:
        return None, short
    try:
        return datasets.first(validation_images(trained, data), count), short
    except (FileNotFoundError, ValueError) as error:
        if config.exit_tolerance is not None:
            raise
        return None, f"there are no validation images to calibrate it on: {error}"


def _silent(
    fired: Mapping[str, np.ndarray], held: Mapping[str, np.ndarray] | None
) -> dict[str, Any]:
    """Channels that are silent on the validation images, or on the test images without these."""
    shown = fired if held is None else held
    return {
        "split": "test" if held is None else "validation",
        "images": len(next(iter(shown.values()))) if shown else 0,
        **describe_silent(shown, fired),
    }


def _compare(
    run: CountingRun,
    counted: Counted,
    split: datasets.Split,
    held: Counted | None,
    exact: Mapping[str, int],
    trained: dict[str, Any],
) -> dict[str, Any]:
    """Entries of the record that compare the network with its ANNs; see `compare_energies`."""
    shape, outputs = split.images.shape[1:], counted.simulation.values.shape[-1]
    finest = recorded_training(trained).finest_levels
    levels = levels_to_try(run.network, finest)
    ann, *quantised = measure_anns(
        run.network, run.params, run.found, split.images, split.labels,
        levels=[finest or None, *levels], batch_size=run.batch_size,
        skip_pixels=counted.encoding.varies,
    )  # fmt: skip
    exits, calibration = find_early_exits(run, counted, held)
    compared = compare_energies(
        counted, measure_contents(run.network, run.params, shape, outputs),
        Bits(exact["weight_bits"], run.params) if exact else Bits(),
        ann=ann, quantised=quantised, first=run.before + 1, exits=exits,
    )  # fmt: skip
    if compared["early_exit"]:
        compared["early_exit"]["calibration"] = calibration
    return compared


def _operations(run: CountingRun, counted: Counted, exact: dict[str, int]) -> dict[str, Any]:
    """Entries of the record on the operations in all timesteps, by layer and in sum."""
    num_steps = run.config.num_steps
    rows = counted.operations(num_steps)
    return {
        "layers": {path: row._asdict() for path, row in rows.items()},
        "first_layer": _first_layer(run.config),
        "neurobench": {**energy.static_metrics(run.params), **_neurobench(counted, rows)},
        "activation_bits": energy.activation_bits(num_steps),
        "energy_nj": _energies(run.found, rows, num_steps, exact),
        **({"exact": exact} if exact else {}),
    }


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


def _neurobench(counted: Counted, operations: Mapping[str, Operations]) -> dict[str, float]:
    """Metrics of NeuroBench that depend on the images."""
    names = ("dense", "effective_macs", "effective_acs")
    sums = {name: sum(getattr(row, name) for row in operations.values()) for name in names}
    simulation = counted.simulation
    neurons, steps = sum(map(int, simulation.neurons.values())), len(simulation.values)
    active = counted.spikes(steps) / (steps * neurons) if neurons else 1.0
    return {"activation_sparsity": 1 - active, **sums}


def _figure(record: dict[str, Any]) -> Figure:
    """Accuracy against energy, of operations and with memory traffic."""
    networks = {
        "SNN, by T": [(str(row["steps"]), row) for row in record["timesteps"]],
        "SNN with early exit": [("", row) for row in [record["early_exit"]] if row],
        "ANN, 32-bit floats": [("", record["ann"])],
        "quantised ANN, by levels": [(str(row["levels"]), row) for row in record["quantised_ann"]],
    }
    panels = {
        title: {
            label: [(name, row[key], 100 * row["accuracy"]) for name, row in rows]
            for label, rows in networks.items()
            if rows
        }
        for title, key in (
            ("operations", MEASURES["operations"]), ("with memory traffic", MEASURES["memory"]),
        )
    }  # fmt: skip
    title = (
        f"{record['training']['network']} on {record['dataset']['name']}, {record['images']:,} test"
        " images, 45 nm"
    )
    return plots.accuracy_against_energy(panels, lines=["SNN, by T"], title=title)
