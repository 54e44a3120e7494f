"""Fine-tuning stage: `snn.safetensors` in, the same network trained through its simulation out."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from snnjax.analysis.synapses import find_synapses, share_synapses
from snnjax.app.configurations import FineTuneConfig, TrainConfig, recorded_training
from snnjax.app.configurations.methods import resolve_fine_tuning
from snnjax.app.evaluation import evaluate_operations
from snnjax.app.run_files import (
    describe_dataset,
    digest,
    hold_out_validation,
    load_data,
    load_network,
)
from snnjax.app.stages.fine_tuning_files import FILES, FORMS, finished, write_results
from snnjax.io import checkpoint, datasets, records
from snnjax.io.folder_lock import lock_folder
from snnjax.networks.architecture import Network
from snnjax.runtime import processes, sharding
from snnjax.snn.encoding import ENCODINGS
from snnjax.snn.neurons import NEURONS
from snnjax.snn.surrogates import SURROGATES
from snnjax.snn.whole_numbers import is_integer
from snnjax.training import fitting
from snnjax.training.ann_accuracy import count_correct
from snnjax.training.fine_tuning import (
    FineTuned,
    ThroughTime,
    merge_weights,
    quantised_twin,
    split_weights,
)
from snnjax.training.training_config import TrainingConfig

__all__ = ["FORMS", "fine_tune"]

logger = logging.getLogger(__name__)

Params = dict[str, Any]


def fine_tune(
    snn: Path,
    config: FineTuneConfig,
    output: Path,
    *,
    dataset: str | None = None,
    progress: bool = True,
    device_count: int = 0,
) -> dict[str, Any]:
    """Train a converted network through its simulation, and a control as its quantised ANN.

    Writes `snn.safetensors`, `control.safetensors`, `finetune.json` and `finetune.png`. A run that
    was stopped resumes; one that has ended is not repeated.

    Args:
      snn: the file of a conversion.
      config: how to fine-tune; without a neuron or an encoding it takes those of the method.
      output: folder for the files, another than that of `snn`.
      dataset: whose images to use; None for the data set that the network was trained on.
      progress: show a progress bar.
      device_count: share every batch among this many devices; 0 for all visible ones.

    Returns:
      The record in `finetune.json`.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if the network has whole numbers, a readout of its own or is calibrated for
        another neuron, the images do not fit it, the files would be overwritten, or `output` holds
        another run, a damaged one or another process.
      OSError: if `output` cannot be written.
    """
    path = output / "snn.safetensors"
    if path.resolve() == Path(snn).resolve():
        raise ValueError(f"{path} would be overwritten; choose another --output folder")
    checkpoint.check_writable(*(output / name for name in FILES))
    network, params, metadata = load_network(snn)
    _check_params(snn, params)
    config = resolve_fine_tuning(config, metadata)
    source = {"file": Path(snn).name, "sha256": str(digest(snn)), "dataset": dataset}
    digests = [digest(output / name) for name in FILES]
    processes.check_same(f"options, {snn} and files in {output}", config, source, digests)
    if record := finished(output, config, source):
        logger.info("%s is fine-tuned already; delete it to fine-tune again", path)
        return record
    trained = recorded_training(metadata["trained"])
    data = load_data(metadata["trained"], dataset)
    shares = share_synapses(find_synapses(network, params, data.train.images.shape[1:]))
    splits = _splits(trained, config, data)
    fitting.check_splits(*splits, _training_config(trained, config))
    mesh = sharding.make_mesh(device_count, batch_size=config.batch_size or trained.batch_size)
    start = _Start(network, params, shares, metadata, trained, splits, source)
    with lock_folder(output):
        # Another process may have ended just now.
        return finished(output, config, source) or _fine_tune_in(
            output, config, start, data, progress, mesh
        )


class _Start(NamedTuple):
    """Converted network that is fine-tuned.

    network, params, metadata: of its file; shares: of all synapses, by the neurons at which they
    begin; trained: its training; splits: images to learn from and for validation; source: entry
    "start" of the record.
    """

    network: Network
    params: Params
    shares: dict[str, np.ndarray]
    metadata: dict[str, Any]
    trained: TrainConfig
    splits: tuple[datasets.Split, datasets.Split]
    source: dict[str, Any]


def _fine_tune_in(
    output: Path,
    config: FineTuneConfig,
    start: _Start,
    data: datasets.Dataset,
    progress: bool,
    mesh: Mesh,
) -> dict[str, Any]:
    """Fine-tune in a folder in which no other process trains; see `fine_tune`."""
    records.write_json(output / "config.json", {"config": asdict(config), "start": start.source})
    begun, (network, params) = time.perf_counter(), start[:2]
    found = _fit_both(start, config, output, progress, mesh)
    levels = start.trained.finest_levels
    test = datasets.first(data.test, start.trained.max_test_images)
    record = {
        "config": asdict(config),
        "start": start.source,
        "conversion": start.metadata["config"],
        "training": start.metadata["trained"]["config"],
        "dataset": describe_dataset(data),
        "images": len(test.images),
        "levels": levels,
        "ann": _ann_accuracies(network, params, test, levels, mesh),
        **{
            form: {**_score(network, of["params"], test, config, progress, mesh),
                   "history": of["history"]}
            for form, of in {"before": {"params": params, "history": []}, **found}.items()
        },
        "seconds": round(time.perf_counter() - begun, 1),
        **records.provenance(),
    }  # fmt: skip
    networks = {form: of["params"] for form, of in found.items()}
    return write_results(output, networks, start.metadata, record)


def _check_params(snn: Path, params: Params) -> None:
    """Check that the parameters of a network can be fine-tuned.

    Raises:
      ValueError: if they are whole numbers, or have a readout that was learnt.
    """
    if is_integer(params):
        raise ValueError(
            f"{snn} is an integer network, whose weights have no gradient; fine-tune the network"
            " of floats, and then quantise it"
        )
    if "readout" in params:
        raise ValueError(f"{snn} has a learnt readout; fine-tune first, and then learn it again")


def _splits(
    trained: TrainConfig, config: FineTuneConfig, data: datasets.Dataset
) -> tuple[datasets.Split, datasets.Split]:
    """Images to learn from, and those that the training held out."""
    learnt_from, validation = hold_out_validation(trained, data)
    return datasets.first(learnt_from, config.max_images), validation


def _training_config(trained: TrainConfig, config: FineTuneConfig) -> TrainingConfig:
    """Hyper-parameters of the training, with those that fine-tuning has of its own."""
    own = {field.name: getattr(trained, field.name) for field in fields(TrainingConfig)}
    own |= {
        "epochs": config.epochs, "learning_rate": config.learning_rate, "seed": config.seed,
        "batch_size": config.batch_size or trained.batch_size,
        "optimiser": "adamw", "keep": "last", "smooth_epochs": 0, "bfloat16": False,
    }  # fmt: skip
    return TrainingConfig(**own)


def _fit_both(
    start: _Start,
    config: FineTuneConfig,
    output: Path,
    progress: bool,
    mesh: Mesh,
) -> dict[str, dict[str, Any]]:
    """Parameters and history of the fine-tuned network and of its control."""
    network, params, trained = start.network, start.params, start.trained
    origin = {"fine-tuning": asdict(config), "start": start.source}
    variables = split_weights(network, params, start.shares)
    through_time = ThroughTime(
        config.num_steps, NEURONS[str(config.neuron)], ENCODINGS[str(config.encoding)],
        SURROGATES[config.surrogate](),
    )  # fmt: skip
    penalty = config.spike_penalty
    forms = {
        "fine_tuned": FineTuned(network, through_time, config.answer_weights, penalty),
        "control": FineTuned(network, quantised_twin, penalty=penalty),
    }
    found = {}
    for form, apply in forms.items():
        logger.info("training: %s", form.replace("_", "-"))
        resume = output / f"{form}.training.safetensors"
        fitted = fitting.fit(
            apply, variables, *start.splits, _training_config(trained, config),
            resume=resume, origin=origin, progress=progress, mesh=mesh,
        )  # fmt: skip
        # A running mean rounds what stays, such as thresholds.
        weights = {**variables, "params": fitted.variables["params"]}
        found[form] = {"params": merge_weights(weights), "history": fitted.history}
    return found


def _ann_accuracies(
    network: Network, params: Params, test: datasets.Split, levels: int, mesh: Mesh
) -> dict[str, float]:
    """Accuracy of the ANN as it was trained, and with smooth activations."""
    variables, apply = split_weights(network, params, {}), FineTuned(network, quantised_twin)
    right = {of: count_correct(apply, variables, *test, levels=of, mesh=mesh) for of in {levels, 0}}
    count = len(test.images)
    return {"trained": right[levels] / count, "smooth": right[0] / count}


def _score(
    network: Network,
    params: Params,
    test: datasets.Split,
    config: FineTuneConfig,
    progress: bool,
    mesh: Mesh,
) -> dict[str, Any]:
    return evaluate_operations(
        network, params, test, seed=config.seed, progress=progress, mesh=mesh,
        num_steps=config.num_steps, neuron=NEURONS[str(config.neuron)],
        encoding=ENCODINGS[str(config.encoding)],
    )  # fmt: skip
