"""The stages joined by files: train, convert, simulate. Only this module knows them all."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.analysis import figures, plots
from snnjax.app.configurations import (
    DEFAULT_NEURON,
    AdoptedConfig,
    ConvertConfig,
    DatasetName,
    ReadoutConfig,
    SimulateConfig,
    TrainConfig,
    recorded,
    settled,
    with_conversion,
    with_method,
)
from snnjax.app.conversion_stage import convert_file
from snnjax.app.evaluation import evaluate, evaluate_exits
from snnjax.app.import_stage import adopt
from snnjax.app.learning_stage import learn, with_readout
from snnjax.app.run_files import describe, load_network, load_trained, split_off
from snnjax.conversion import threshold_balancing
from snnjax.io import checkpoint, datasets, records
from snnjax.networks.ann import ANN
from snnjax.runtime import processes, sharding
from snnjax.snn import simulation
from snnjax.snn.neurons import NEURONS
from snnjax.training import fitting, rate_norm, resuming
from snnjax.training.ann_accuracy import count_correct

__all__ = [
    "adopt",
    "convert",
    "default_folder",
    "describe",
    "learn",
    "load_network",
    "load_trained",
    "run",
    "simulate",
    "split_off",
    "train",
]

logger = logging.getLogger(__name__)

TOLERANCE = 0.002
"""Share of the validation images that the second stage of rate_norm may lose."""


def default_folder(config: TrainConfig, start: Path | None = None) -> Path:
    """runs/<dataset>-<network>-<digest>: the same options find the same folder again.

    Raises:
      FileNotFoundError: if there is no file `start`.
    """
    options = {**asdict(config), **({"start": _origin(start)} if start else {})}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    return Path("runs") / f"{config.dataset}-{config.network}-{digest[:8]}"


def train(
    config: TrainConfig,
    output: Path,
    *,
    start: Path | None = None,
    progress: bool = True,
    device_count: int = 0,
) -> Path:
    """Train, and write `ann.safetensors` and `train.json`; continue what was begun there.

    Args:
      config: the network and how it is trained.
      output: folder for the files.
      start: a trained network of the same kind to begin from, such as a smooth one that
        is to be quantised; None begins from random parameters.
      progress: show a bar.
      device_count: share every batch among so many devices; 0 for all that are visible.

    Returns:
      The path of `ann.safetensors`.

    Raises:
      ValueError: if a setting is out of range, `output` holds another run, `start` is of
        another network, or the epoch would be chosen by images that `start` has learnt.
      OSError: if data or `start` are missing or `output` cannot be written.
    """
    path, resume = output / "ann.safetensors", output / "training.safetensors"
    origin, mesh = _origin(start), sharding.make_mesh(device_count, batch_size=config.batch_size)
    processes.check_same(f"options and files in {output}", config, origin, _digests(path, resume))
    if path.is_file():
        found = checkpoint.load_metadata(path, kind="ann")
        if recorded(found) != config or found.get("start") != origin:
            raise ValueError(f"{path} was trained otherwise; choose another --output folder")
        logger.info("%s is trained already; delete it to train again", path)
        return path
    if resume.is_file():
        resuming.check_resumable(resume, config)
        logger.info("continuing the training in %s", resume)
    if start:
        _check_unseen(config, start)
    sharding.check_divides(config.batch_size, mesh)
    records.write_json(output / "config.json", asdict(config))  # an unwritable folder fails here
    begun = time.perf_counter()
    data = datasets.load(config.dataset)
    kept, validation = split_off(config, data)
    network = config.architecture()
    dtype = jnp.bfloat16 if config.bfloat16 else jnp.float32
    module = ANN(network.layers, config.dropout, dtype)
    init = jax.jit(module.init)  # one program instead of one for every operation of every layer
    variables = dict(init(jax.random.key(config.seed), jnp.zeros((1, *kept.images.shape[1:]))))
    if start:
        variables = _started(start, variables)
    fitted = fitting.fit(
        module.apply, variables, kept, validation, config, resume=resume, progress=progress,
        mesh=mesh,
    )  # fmt: skip
    variables = fitted.variables
    shortened = None
    if config.activation == "rate_norm" and config.rate_inference_epochs:
        variables, shortened = _shortened(
            module.apply, variables, kept, validation, config, progress
        )
    test, levels = datasets.first(data.test, config.max_test_images), config.finest_levels
    right = {
        n: count_correct(module.apply, variables, *test, levels=n, mesh=mesh) for n in {levels, 0}
    }
    scale = threshold_balancing.measure_output_scale(
        network, variables, kept.images[:10_000].astype(np.float32) / 255
    )
    record = {
        "config": asdict(config),
        "start": origin,
        "dataset": describe(data),
        "images": {
            "train": len(kept.images),
            "validation": len(validation.images),
            "test": len(test.images),
        },
        "history": fitted.history,
        "shortened": shortened,
        "validation_accuracy": max(row["accuracy"] for row in fitted.history),
        "test_accuracy": {
            "trained": right[levels] / len(test.images),
            "smooth": right[0] / len(test.images),
        },
        "output_scale": scale,
    }
    seconds = round(time.perf_counter() - begun, 1)
    records.write_json(
        output / "train.json", {**record, "seconds": seconds, **records.provenance()}
    )
    checkpoint.save(path, variables, kind="ann", metadata=record)
    if checkpoint.is_writer():
        resume.unlink(missing_ok=True)
    return path


def _digests(*paths: Path) -> list[str | None]:
    """SHA-256 of each file, or None where there is none."""
    return [hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else None for p in paths]


def _origin(start: Path | None) -> dict[str, str] | None:
    """What a record says of the file that a training began from."""
    if start is None:
        return None
    checkpoint.load_metadata(start, kind="ann")
    return {"file": start.name, "sha256": str(_digests(start)[0])}


def _check_unseen(config: TrainConfig, start: Path) -> None:
    """Refuse to choose an epoch by images that the network in `start` was trained on."""
    before = recorded(checkpoint.load_metadata(start, kind="ann"))
    if config.keep == "last" or isinstance(before, AdoptedConfig):
        return
    if before.dataset != config.dataset:
        return
    # The images held out for a smaller share are among those held out for a larger one.
    unseen = before.validation if before.max_images == config.max_images else 0.0
    if config.validation > unseen:
        raise ValueError(
            f"validation is {config.validation:g}, but {start} has learnt from all but"
            f" {unseen:g} of these images, so its accuracy on them would choose too early an"
            " epoch; hold out no more, take equal images, or keep the last epoch"
        )


def _started(start: Path, variables: dict[str, Any]) -> dict[str, Any]:
    """The variables in a file, in the place of those that were drawn."""
    tree, _ = checkpoint.load(start, kind="ann")
    found, wanted = (
        {jax.tree_util.keystr(keys, simple=True, separator="/"): np.shape(leaf) for keys, leaf in
         jax.tree_util.tree_flatten_with_path(t)[0]}
        for t in (tree, variables)
    )  # fmt: skip
    for name in sorted(found.keys() | wanted.keys()):
        has, means = found.get(name, "nothing"), wanted.get(name, "nothing")
        if has != means:
            raise ValueError(
                f"{start} is of another network: it has {has} at {name}, and the options mean"
                f" {means}"
            )
    return {**variables, **tree}


def _shortened(
    apply: Any,
    variables: dict[str, Any],
    kept: datasets.Split,
    validation: datasets.Split,
    config: TrainConfig,
    progress: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The second stage of rate_norm, kept where it costs at most TOLERANCE on validation."""
    shorter = rate_norm.train_shares(
        apply, variables, kept.images, weight=config.rate_inference_weight,
        epochs=config.rate_inference_epochs, batch_size=config.batch_size, seed=config.seed,
        progress=progress,
    )  # fmt: skip
    before, after = (
        count_correct(apply, v, *validation) / len(validation.images) for v in (variables, shorter)
    )
    keep = after >= before - TOLERANCE
    if not keep:
        logger.warning(
            "the second stage of rate_norm costs %.2f %%: left out", 100 * (before - after)
        )
    return (shorter if keep else variables), {"before": before, "after": after, "kept": keep}


def convert(ann: Path, config: ConvertConfig, output: Path) -> Path:
    """Convert the parameters in the file `ann`, and write `snn.safetensors`.

    Returns:
      The path of `snn.safetensors`.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no trained network, or holds NaN or Inf.
      OSError: if `output` cannot be written.
    """
    found = convert_file(ann, config)
    path = output / "snn.safetensors"
    metadata = {"trained": found.trained, "config": asdict(found.config)}
    checkpoint.save(path, found.params, kind="snn", metadata=metadata)
    return path


def simulate(
    snn: Path,
    config: SimulateConfig,
    output: Path,
    *,
    dataset: DatasetName | None = None,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
    device_count: int = 0,
) -> dict[str, Any]:
    """Score the test images after every timestep; write `simulation.json` and `accuracy.png`.

    Without a `dataset` it is the one that the network was trained on. Each of `device_count`
    devices, or of all that are visible, gets `batch_size` images at a time.

    Returns:
      The record that went into the JSON.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if a setting is out of range, or the images do not fit the network.
      OSError: if `output` cannot be written.
    """
    network, params, metadata = load_network(snn)
    config = settled(config, metadata["config"]["method"])
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; want at least 1")
    params = with_readout(params, metadata, config, snn)
    how: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "progress": progress}
    processes.check_same(f"options and {snn}", config, dataset, batch_size, seed, _digests(snn))
    how["mesh"] = sharding.make_mesh(device_count)
    data = datasets.load(dataset or metadata["trained"]["config"]["dataset"])
    start, trained = time.perf_counter(), recorded(metadata["trained"])
    test = datasets.first(data.test, trained.max_test_images)
    scores = evaluate(network, params, test, config, levels=trained.finest_levels, **how)
    if config.exits:
        scores["exit"] = evaluate_exits(
            network, params, test, _held(trained, config), config, **how
        )
    record = {
        "config": {**asdict(config), "batch_size": batch_size, "seed": seed},
        "conversion": metadata["config"],
        "training": metadata["trained"]["config"],
        "readout": metadata.get("readout"),
        "dataset": describe(data),
        "images": len(test.images),
        **scores,
        "seconds": round(time.perf_counter() - start, 1),
        **records.provenance(),
    }
    records.write_json(output / "simulation.json", record)
    figures.save(_picture(record), output / "accuracy.png")
    return record


def _held(trained: TrainConfig, config: SimulateConfig) -> datasets.Split | None:
    """The validation images of the training, where a margin is to be found on them."""
    if config.exit_tolerance is None:
        return None
    return split_off(trained, datasets.load(trained.dataset))[1]


def run(
    train_config: TrainConfig,
    convert_config: ConvertConfig,
    simulate_config: SimulateConfig,
    readout_config: ReadoutConfig = ReadoutConfig(),
    output: Path | None = None,
    *,
    progress: bool = True,
    device_count: int = 0,
) -> tuple[Path, dict[str, Any]]:
    """Train, convert and simulate, and let the readout learn in between where it does.

    Methods share a folder of trained parameters; each has its results in its own.

    Returns:
      The folder of the results, and the record that `simulate` returns.

    Raises:
      ValueError: as `train`, `convert` and `simulate`.
      OSError: as `train`, `convert` and `simulate`.
    """
    train_config = with_method(train_config, convert_config.method)
    steps = convert_config.for_steps or simulate_config.num_steps
    convert_config = replace(convert_config, for_steps=steps)
    # What cannot work is refused before the training.
    with_conversion(convert_config, train_config)
    used = settled(simulate_config, convert_config.method)
    neuron = NEURONS[used.neuron or DEFAULT_NEURON]
    simulation.count_pre_steps(
        train_config.architecture(), neuron, used.pre_steps or 0, used.num_steps
    )
    output = output or default_folder(train_config)
    results = output / (convert_config.method or "")
    ann = train(train_config, output, progress=progress, device_count=device_count)
    snn = convert(ann, convert_config, results)
    if simulate_config.readout in ("leaky", "stdp"):
        if simulate_config.readout == "leaky":
            readout_config = replace(readout_config, readout_rule="nothing")
        learn(snn, readout_config, results, how=simulate_config, seed=train_config.seed)
    return results, simulate(
        snn, simulate_config, results,
        dataset=train_config.dataset, batch_size=train_config.batch_size,
        seed=train_config.seed, progress=progress, device_count=device_count,
    )  # fmt: skip


def _picture(record: dict[str, Any]) -> Any:
    percent = [100 * a for a in record["snn"]]
    curves = {f"SNN, {record['config']['neuron']}, {record['config']['encoding']}": percent}
    if record["ceiling"]:
        curves["ANN on the mean of the frames"] = [100 * a for a in record["ceiling"]]
    name = record["dataset"]["name"] + ("" if record["dataset"]["exact_pixels"] else " (inexact)")
    title = f"{record['training']['network']} on {name}, {record['images']:,} test images"
    return plots.accuracy_against_time(curves, ann={"ANN": 100 * record["ann"]}, title=title)
