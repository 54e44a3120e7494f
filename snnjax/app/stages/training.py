"""Training stage: images and options in, `ann.safetensors` and `train.json` out."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from snnjax.app.configurations import TrainConfig, recorded_training
from snnjax.app.run_files import describe_dataset, digest, fit_to_data, hold_out_validation
from snnjax.app.stages.starting_network import check_validation_unseen, describe_start, load_start
from snnjax.app.stages.trained_function import make_trained_function, record_synapses_in_use
from snnjax.conversion import threshold_balancing
from snnjax.io import checkpoint, datasets, records
from snnjax.io.folder_lock import lock_folder
from snnjax.networks.ann import ANN
from snnjax.runtime import processes, sharding
from snnjax.training import augmentation, fitting, rate_norm, resuming
from snnjax.training.ann_accuracy import count_correct

__all__ = ["default_folder", "train"]

logger = logging.getLogger(__name__)

TOLERANCE = 0.002
"""Share of the validation images that the second stage of rate_norm may lose."""

OF_OWN_DATA = ("image_shape", "classes", "data_sha256")
"""Options that only a user's own data set; folders of other runs do not depend on them."""

LATER = ("weight_bits", "spike_penalty")
"""Options that came later; folders of runs without them do not depend on them."""

MEASURED = 10_000
"""Training images on which the largest logit is measured."""


def default_folder(config: TrainConfig, start: Path | None = None) -> Path:
    """runs/<dataset>-<network>-<digest>: the same options find the same folder again.

    Raises:
      FileNotFoundError: if there is no file `start`.
    """
    options = {**asdict(config), **({"start": describe_start(start)} if start else {})}
    if not config.data_sha256:
        options = {k: v for k, v in options.items() if k not in OF_OWN_DATA}
    options = {k: v for k, v in options.items() if v or k not in LATER}
    name = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    return Path("runs") / f"{Path(config.dataset).stem}-{config.network}-{name[:8]}"


def train(
    config: TrainConfig,
    output: Path,
    *,
    start: Path | None = None,
    progress: bool = True,
    device_count: int = 0,
) -> Path:
    """Train, and write `ann.safetensors` and `train.json`; resume a training that was stopped.

    Args:
      config: the network and how it is trained.
      output: folder for the files.
      start: a trained network of the same architecture to start from, such as a smooth one
        that is to be quantised; what its activations do not learn yet starts from initial
        values. None starts from random parameters.
      progress: show a progress bar.
      device_count: share every batch among this many devices; 0 for all visible ones.

    Returns:
      The path of `ann.safetensors`.

    Raises:
      ValueError: if an option is out of range, `output` holds another run or another process
        trains there, `start` is of another network, or it has learnt from images that would choose
        the epoch.
      OSError: if data or `start` are missing or `output` cannot be written.
    """
    config = fit_to_data(config)
    path, resume = output / "ann.safetensors", output / "training.safetensors"
    origin, mesh = (
        describe_start(start),
        sharding.make_mesh(device_count, batch_size=config.batch_size),
    )
    processes.check_same(
        f"options and files in {output}", config, origin, digest(path), digest(resume)
    )
    if _is_finished(path, config, origin):
        logger.info("%s is trained already; delete it to train again", path)
        return path
    if start:
        check_validation_unseen(config, start)
    sharding.check_divides(config.batch_size, mesh)
    checkpoint.check_writable(output / "config.json")
    data = datasets.load(config.dataset)
    _check_images(config, data)
    with lock_folder(output):
        if not _is_finished(path, config, origin):  # by a process that has just ended
            _train_in(output, config, data, start=start, progress=progress, mesh=mesh)
    return path


def _check_images(config: TrainConfig, data: datasets.Dataset) -> None:
    """Check that options fit the number and the size of the training images.

    Raises:
      ValueError: naming the option that does not.
    """
    learnt_from, _ = hold_out_validation(config, data)
    count, height, width, _ = learnt_from.images.shape
    if config.batch_size > count:
        raise ValueError(
            f"batch_size is {config.batch_size}; want at most the {count} training images"
        )
    for name, most in (("max_shift", min(height, width) - 1), ("cutout", min(height, width))):
        if getattr(config, name) > most:
            raise ValueError(
                f"{name} is {getattr(config, name)}; want at most {most} for images of"
                f" {height} x {width} pixels"
            )
    augmentation.check_colour(config.colour, learnt_from.images.shape)


def _train_in(
    output: Path,
    config: TrainConfig,
    data: datasets.Dataset,
    *,
    start: Path | None,
    progress: bool,
    mesh: Mesh,
) -> None:
    """Train in a folder in which no other process trains; see `train`."""
    resume, origin = output / "training.safetensors", {"start": describe_start(start)}
    if resume.is_file():
        resuming.check_resumable(resume, config, origin)
        logger.info("continuing the training in %s", resume)
    records.write_json(output / "config.json", asdict(config))
    begun = time.perf_counter()
    trained = _train(
        config, data, start=start, origin=origin, resume=resume, progress=progress, mesh=mesh
    )
    record = {
        "config": asdict(config),
        **origin,
        "dataset": describe_dataset(data),
        **trained.record,
    }
    seconds = round(time.perf_counter() - begun, 1)
    records.write_json(
        output / "train.json", {**record, "seconds": seconds, **records.provenance()}
    )
    checkpoint.save(output / "ann.safetensors", trained.variables, kind="ann", metadata=record)
    if checkpoint.is_writer():
        resume.unlink(missing_ok=True)


def _is_finished(path: Path, config: TrainConfig, origin: dict[str, str] | None) -> bool:
    """Return True if the file `path` holds the network that these options train.

    Raises:
      ValueError: if it holds another one.
    """
    if not path.is_file():
        return False
    found = checkpoint.load_metadata(path, kind="ann")
    if recorded_training(found) != config or found.get("start") != origin:
        raise ValueError(f"{path} was trained otherwise; choose another --output folder")
    return True


class _Trained(NamedTuple):
    """Variables of a trained network, and the entries of its record that training determines."""

    variables: dict[str, Any]
    record: dict[str, Any]


def _train(
    config: TrainConfig,
    data: datasets.Dataset,
    *,
    start: Path | None,
    origin: dict[str, Any],
    resume: Path,
    progress: bool,
    mesh: Mesh,
) -> _Trained:
    """Train on the images of `data`, and measure accuracy and the largest logit.

    With `weight_bits` the ANN computes with rounded variables, and these are the result.
    """
    learnt_from, validation = hold_out_validation(config, data)
    network = config.architecture()
    module = ANN(network.layers, config.dropout, jnp.bfloat16 if config.bfloat16 else jnp.float32)
    shape = learnt_from.images.shape[1:]
    variables = _first_variables(module, shape, config, start)
    function = make_trained_function(config, network, module.apply, variables, shape)
    fitted = fitting.fit(
        function.apply, variables, learnt_from, validation, config, resume=resume,
        origin=origin, progress=progress, mesh=mesh,
    )  # fmt: skip
    variables, second_stage = function.rounded(fitted.variables), None
    if config.activation == "rate_norm" and config.rate_inference_epochs:
        variables, second_stage = _train_rate_inference(
            module.apply, variables, learnt_from, validation, config, progress
        )
    test = datasets.first(data.test, config.max_test_images)
    right = {
        levels: count_correct(module.apply, variables, *test, levels=levels, mesh=mesh)
        for levels in {config.finest_levels, 0}
    }
    shown = learnt_from.images[:MEASURED].astype(np.float32) / 255
    record = {
        "images": {
            "train": len(learnt_from.images),
            "validation": len(validation.images),
            "test": len(test.images),
        },
        "history": fitted.history,
        "shortened": second_stage,
        "validation_accuracy": max(row["accuracy"] for row in fitted.history),
        "test_accuracy": {
            "trained": right[config.finest_levels] / len(test.images),
            "smooth": right[0] / len(test.images),
        },
        "output_scale": threshold_balancing.measure_output_scale(network, variables, shown),
        **record_synapses_in_use(config, function, module.apply, variables, test.images),
    }
    return _Trained(variables, record)


def _first_variables(
    module: ANN, shape: tuple[int, ...], config: TrainConfig, start: Path | None
) -> dict[str, Any]:
    """Variables before the first step: random ones, or those in the file `start`."""
    init = jax.jit(module.init)  # one program instead of one for every operation of every layer
    variables = dict(init(jax.random.key(config.seed), jnp.zeros((1, *shape))))
    return load_start(start, variables, config) if start else variables


def _train_rate_inference(
    apply: Any,
    variables: dict[str, Any],
    learnt_from: datasets.Split,
    validation: datasets.Split,
    config: TrainConfig,
    progress: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the second stage of rate_norm, and keep it if it costs at most TOLERANCE of accuracy."""
    shorter = rate_norm.train_shares(
        apply, variables, learnt_from.images, weight=config.rate_inference_weight,
        epochs=config.rate_inference_epochs, batch_size=config.batch_size, seed=config.seed,
        progress=progress,
    )  # fmt: skip
    before, after = (
        count_correct(apply, v, *validation) / len(validation.images) for v in (variables, shorter)
    )
    keep = after >= before - TOLERANCE
    if not keep:
        logger.warning(
            "the second stage of rate_norm lowers validation accuracy by %.2f points and is left"
            " out", 100 * (before - after),
        )  # fmt: skip
    return (shorter if keep else variables), {"before": before, "after": after, "kept": keep}
