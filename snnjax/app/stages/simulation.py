"""Simulation stage: a converted network in, `simulation.json` and `accuracy.png` out."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from snnjax.analysis import figures, plots
from snnjax.app.configurations import (
    SimulateConfig,
    recorded_training,
)
from snnjax.app.evaluation import evaluate, evaluate_exits
from snnjax.app.printing import figure_title
from snnjax.app.run_files import (
    describe_dataset,
    digest,
    load_data,
    validation_images,
)
from snnjax.app.stages.spiking_network import load_for_simulation
from snnjax.io import datasets, records
from snnjax.io.checkpoint import check_writable
from snnjax.runtime import processes, sharding
from snnjax.runtime.ranges import BATCHES, SEEDS

__all__ = ["simulate"]


def simulate(
    snn: Path,
    config: SimulateConfig,
    output: Path,
    *,
    dataset: str | None = None,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
    device_count: int = 0,
) -> dict[str, Any]:
    """Evaluate the test images after every timestep; write `simulation.json` and `accuracy.png`.

    Args:
      snn: the file of a conversion.
      config: how to simulate.
      output: folder for the files.
      dataset: whose test images to use; None for the data set that the network was trained on.
      batch_size: images at a time on each device.
      seed: of random input spikes.
      progress: show a progress bar.
      device_count: number of devices; 0 for all visible ones.

    Returns:
      The record in `simulation.json`.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if an option is out of range, or the images do not fit the network.
      OSError: if `output` cannot be written.
    """
    SEEDS.check("seed", seed)
    BATCHES.check("batch_size", batch_size)
    check_writable(output / "simulation.json", output / "accuracy.png")
    network, params, metadata, config = load_for_simulation(snn, config)
    processes.check_same(f"options and {snn}", config, dataset, batch_size, seed, digest(snn))
    how: dict[str, Any] = {
        "batch_size": batch_size,
        "seed": seed,
        "progress": progress,
        "mesh": sharding.make_mesh(device_count),
    }
    data = load_data(metadata["trained"], dataset)
    start, trained = time.perf_counter(), recorded_training(metadata["trained"])
    test = datasets.first(data.test, trained.max_test_images)
    held = None  # missing data are noticed before the simulation
    if config.exit_tolerance is not None:
        held = validation_images(metadata["trained"], data)
    scores = evaluate(network, params, test, config, levels=trained.finest_levels, **how)
    if config.exits_early:
        scores["exit"] = evaluate_exits(network, params, test, held, config, **how)
    record = {
        "config": {**asdict(config), "batch_size": batch_size, "seed": seed},
        "conversion": metadata["config"],
        "training": metadata["trained"]["config"],
        "readout": metadata.get("readout"),
        "dataset": describe_dataset(data),
        "images": len(test.images),
        **scores,
        "seconds": round(time.perf_counter() - start, 1),
        **records.provenance(),
    }
    records.write_json(output / "simulation.json", record)
    figures.save(_figure(record), output / "accuracy.png")
    return record


def _figure(record: dict[str, Any]) -> Figure:
    """Accuracy against time."""
    percent = [100 * a for a in record["snn"]]
    curves = {f"SNN, {record['config']['neuron']}, {record['config']['encoding']}": percent}
    if record["ceiling"]:
        curves["ANN on the mean of the frames"] = [100 * a for a in record["ceiling"]]
    return plots.accuracy_against_time(
        curves, ann={"ANN": 100 * record["ann"]}, title=figure_title(record)
    )
