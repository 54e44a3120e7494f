"""The stages joined by files: train, convert, simulate. Only this module knows them all."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from tqdm.auto import tqdm

from snnjax import (
    architecture,
    checkpoint,
    conversion,
    datasets,
    methods,
    metrics,
    plots,
    records,
    scaling,
    simulation,
    spiking,
    training,
)
from snnjax.ann import ANN
from snnjax.encoding import ENCODINGS, Encoding
from snnjax.neuron import NEURONS
from snnjax.readout import READOUTS

__all__ = [
    "ConvertConfig",
    "SimulateConfig",
    "TrainConfig",
    "convert",
    "default_folder",
    "evaluate",
    "load_network",
    "load_trained",
    "results_folder",
    "run",
    "simulate",
    "train",
    "with_method",
]

logger = logging.getLogger(__name__)

DatasetName = Literal["mnist5k", "mnist", "fashion_mnist", "cifar10"]
MethodName = Literal[
    "sth_leaky_relu", "sth_exact", "model_norm", "data_norm", "robust_norm", "opi", "snm",
    "ter_mapping", "aug_mapping", "qcfs",
]  # fmt: skip
NeuronName = Literal[
    "double-threshold", "double-threshold-hard", "exact-charge", "augmented", "signed-memory"
]
WITHIN = 0.0005
"""An SNN has reached its ANN when it is at most 0.05 points below it."""
SPLIT_SEED = 0
"""All seeds of a training share one validation split, so that they can be compared."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(training.TrainingConfig):
    """Everything that decides the trained parameters.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    dataset: DatasetName = "mnist5k"
    """images to train on"""
    network: Literal["net1", "net2"] = "net2"
    """architecture"""
    activation: Literal["sth_leaky_relu", "leaky_relu", "th_relu", "relu"] = "sth_leaky_relu"
    """leaky_relu and relu have no bound, th_relu and relu no slope below zero"""
    alpha: float = 0.1
    """slope of the activation below zero, in (0, 1]"""
    theta: float = 1.0
    """bound of the activation; where it is learnt, its initial value"""
    learn_theta: Literal["nothing", "layer", "channel"] = "nothing"
    """learn one theta for each layer or channel"""
    dropout: float = 0.25
    """probability of dropping an input of a Dense layer behind the first weights"""
    validation: float = 0.1
    """share of the training images kept apart to choose the epoch"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}; want a slope in (0, 1], such as 0.1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; want it in [0, 1)")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation is {self.validation}; want a share in (0, 1)")
        if not 0 < self.theta < float("inf"):
            raise ValueError(f"theta is {self.theta}; want a finite bound above 0")
        if self.levels and self.activation in ("leaky_relu", "relu"):
            raise ValueError(
                f"levels is {self.levels}, but {self.activation} has no bound to divide; want 0"
            )
        architecture.find(self.network)

    def architecture(self) -> architecture.Network:
        """The network with the activation that this configuration asks for."""
        alpha = 0.0 if self.activation in ("th_relu", "relu") else self.alpha
        theta = float("inf") if self.activation in ("leaky_relu", "relu") else self.theta
        activation = architecture.Activation(alpha, theta, self.learn_theta)
        return architecture.with_activation(architecture.find(self.network), activation)


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Everything that decides the converted parameters, beside the trained ones.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    method: MethodName | None = None
    """a published method: sets what it is made of in every stage"""
    scales: Literal["theta", "largest", "percentile", "model_norm", "data_norm"] = "theta"
    """what a rate of 1 stands for: the activation's bound, or measured on training images"""
    calibration_images: int = 1000
    """training images to measure scales on"""
    gain: float = 1.0
    """c of eq. 17: input spikes per step for a white pixel, above 0"""
    initial_potential: float = 0.5
    """v(0) as a fraction of the positive threshold; the paper's formulas have 0"""
    threshold: float = 1.0
    """positive threshold v_p, in membrane units"""

    def __post_init__(self) -> None:
        for name in ("gain", "threshold"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; want it finite and above 0")
        if self.calibration_images < 1:
            raise ValueError(
                f"calibration_images is {self.calibration_images}; want at least 1 image"
            )
        if not np.isfinite(self.initial_potential):
            raise ValueError(f"initial_potential is {self.initial_potential}; want it finite")


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """How to simulate.

    Raises:
      ValueError: naming the field that is out of its range.
    """

    encoding: Literal["constant", "rate", "deterministic"] = "constant"
    """input: a constant current, Bernoulli spikes, or evenly spread spikes"""
    neuron: NeuronName | None = None
    """neuron of the hidden layers [default: the method's, or exact-charge]"""
    readout: Literal["membrane", "count"] = "membrane"
    """answer: accumulated current of the last layer, or its spike counts (the paper's)"""
    num_steps: int = 16
    """timesteps T; accuracy is given after each"""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps is {self.num_steps}; want at least 1 timestep")
        for name, known in (("encoding", ENCODINGS), ("readout", READOUTS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; want one of {', '.join(known)}"
                )


def default_folder(config: TrainConfig) -> Path:
    """runs/<dataset>-<network>-<digest>: the same options find the same folder again."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()
    return Path("runs") / f"{config.dataset}-{config.network}-{digest[:8]}"


def with_method(config: TrainConfig, method: MethodName | None) -> TrainConfig:
    """The training of the networks that a method converts.

    Raises:
      ValueError: if the configuration asks for something else than the method.
    """
    if method is None:
        return config
    found = methods.find(method)
    return methods.applied(found, config, {"activation": found.activation, **found.train})


def results_folder(output: Path, config: ConvertConfig) -> Path:
    """Methods share a folder of trained parameters; each has its results in its own."""
    return output / config.method if config.method else output


def train(config: TrainConfig, output: Path, *, progress: bool = True) -> Path:
    """Train, and write `ann.safetensors` and `train.json`; continue what was begun there.

    Returns:
      The path of `ann.safetensors`.

    Raises:
      ValueError: if a setting is out of range or `output` holds another run.
      OSError: if data are missing or `output` cannot be written.
    """
    path, resume = output / "ann.safetensors", output / "training.safetensors"
    if path.is_file():
        if _config_of(checkpoint.load(path, kind="ann").metadata) != config:
            raise ValueError(f"{path} was trained otherwise; choose another --output folder")
        logger.info("%s is trained already; delete it to train again", path)
        return path
    if resume.is_file():
        training.check_resumable(resume, config)
        logger.info("continuing the training in %s", resume)
    records.write_json(output / "config.json", asdict(config))  # an unwritable folder fails here
    start = time.perf_counter()
    data = datasets.load(config.dataset)
    held = round(config.validation * len(data.train.images))
    kept, validation = datasets.hold_out(data.train, held, seed=SPLIT_SEED)
    network = config.architecture()
    module = ANN(network.layers, config.dropout)
    variables = module.init(jax.random.key(config.seed), jnp.zeros((1, *kept.images.shape[1:])))
    fitted = training.fit(
        module.apply, dict(variables), kept, validation, config, resume=resume, progress=progress
    )
    right = {
        form: training.count_correct(module.apply, fitted.variables, *data.test, levels=levels)
        for form, levels in {"trained": config.finest_levels, "smooth": 0}.items()
    }
    scale = scaling.measure_output_scale(
        network, fitted.variables, kept.images[:10_000].astype(np.float32) / 255
    )
    record = {
        "config": asdict(config),
        "dataset": _describe(data),
        "images": {"train": len(kept.images), "validation": held, "test": len(data.test.images)},
        "history": fitted.history,
        "validation_accuracy": max(row["accuracy"] for row in fitted.history),
        "test_accuracy": {form: n / len(data.test.images) for form, n in right.items()},
        "output_scale": scale,
    }
    seconds = round(time.perf_counter() - start, 1)
    records.write_json(
        output / "train.json", {**record, "seconds": seconds, **records.provenance()}
    )
    checkpoint.save(path, fitted.variables, kind="ann", metadata=record)
    resume.unlink(missing_ok=True)
    return path


def convert(ann: Path, config: ConvertConfig, output: Path) -> Path:
    """Convert the parameters in the file `ann`, and write `snn.safetensors`.

    Returns:
      The path of `snn.safetensors`.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no trained network, or holds NaN or Inf.
      OSError: if `output` cannot be written.
    """
    network, variables, trained = load_trained(ann)
    if config.method:
        method = methods.find(config.method)
        methods.check_fits(method, _config_of(trained).activation)
        config = methods.applied(method, config, method.convert)
    scales = None
    if config.scales != "theta":
        images = datasets.load(trained["dataset"]["name"]).train.images
        measured = images[: config.calibration_images].astype(np.float32) / 255
        scales = scaling.RULES[config.scales](network, variables, measured)
    params = conversion.convert(
        network,
        variables,
        scales=scales,
        gain=config.gain,
        threshold=config.threshold,
        initial=config.initial_potential,
        output_scale=trained["output_scale"],
    )
    path = output / "snn.safetensors"
    metadata = {"trained": trained, "config": asdict(config)}
    checkpoint.save(path, params, kind="snn", metadata=metadata)
    return path


def load_trained(ann: Path) -> tuple[architecture.Network, dict[str, Any], dict[str, Any]]:
    """The architecture, variables and metadata of a trained network.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no trained network.
    """
    variables, metadata = checkpoint.load(ann, kind="ann")
    return _network_of(metadata), variables, metadata


def load_network(snn: Path) -> tuple[architecture.Network, dict[str, Any], dict[str, Any]]:
    """The architecture, parameters and metadata of a converted network.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no converted network.
    """
    params, metadata = checkpoint.load(snn, kind="snn")
    return _network_of(metadata["trained"]), params, metadata


def simulate(
    snn: Path,
    config: SimulateConfig,
    output: Path,
    *,
    dataset: DatasetName,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Score every test image after every timestep; write `simulation.json` and `accuracy.png`.

    Returns:
      The record that went into the JSON.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if a setting is out of range, or the images do not fit the network.
      OSError: if `output` cannot be written.
    """
    network, params, metadata = load_network(snn)
    if config.neuron is None:
        method = metadata["config"].get("method")
        neuron: Any = methods.find(method).neuron if method else "exact-charge"
        config = replace(config, neuron=neuron)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; want at least 1")
    data = datasets.load(dataset)
    start = time.perf_counter()
    levels = _config_of(metadata["trained"]).finest_levels
    scores = evaluate(
        network, params, data.test, config,
        levels=levels, batch_size=batch_size, seed=seed, progress=progress,
    )  # fmt: skip
    record = {
        "config": {**asdict(config), "batch_size": batch_size, "seed": seed},
        "conversion": metadata["config"],
        "training": metadata["trained"]["config"],
        "dataset": _describe(data),
        "images": len(data.test.images),
        **scores,
        "seconds": round(time.perf_counter() - start, 1),
        **records.provenance(),
    }
    records.write_json(output / "simulation.json", record)
    plots.save(_picture(record), output / "accuracy.png")
    return record


def run(
    train_config: TrainConfig,
    convert_config: ConvertConfig,
    simulate_config: SimulateConfig,
    output: Path,
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """Train, convert and simulate in one folder; returns what `simulate` does.

    Raises:
      ValueError: as `train`, `convert` and `simulate`.
      OSError: as `train`, `convert` and `simulate`.
    """
    train_config = with_method(train_config, convert_config.method)
    ann = train(train_config, output, progress=progress)
    results = results_folder(output, convert_config)
    snn = convert(ann, convert_config, results)
    return simulate(
        snn, simulate_config, results,
        dataset=train_config.dataset, batch_size=train_config.batch_size,
        seed=train_config.seed, progress=progress,
    )  # fmt: skip


def evaluate(
    network: architecture.Network,
    params: dict[str, Any],
    split: datasets.Split,
    config: SimulateConfig,
    *,
    levels: int = 0,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Accuracy of ANN and SNN on a split, spikes, loss and latency.

    "ann" is the network as trained (its quantised form where it has one), "ann_smooth"
    with the plain activation; both are read from the converted parameters. "ceiling" is
    the ANN on the time-average of the very frames that the SNN saw, where they vary.

    Raises:
      ValueError: if the split is empty, or the images do not fit the network.
    """
    images, labels = split
    if not len(images):
        raise ValueError("there are no images to score; want at least one")
    encoding, key = ENCODINGS[config.encoding], jax.random.key(seed)
    neuron = NEURONS[config.neuron or "exact-charge"]
    total = {
        form: np.zeros(config.num_steps, np.int64) for form in ("correct", "spikes", "ceiling")
    }
    right = {"ann": 0, "smooth": 0}
    layers: dict[str, int] = {}
    batches = range(0, len(images), batch_size)
    for first in tqdm(batches, "simulate", unit="batch", mininterval=1, disable=not progress):
        x, y = _batch(images, labels, first, batch_size)
        result = simulation.simulate(
            network, params, x, num_steps=config.num_steps, neuron=neuron,
            encoding=encoding, readout=READOUTS[config.readout], key=key, first=first,
        )  # fmt: skip
        valid = len(images) - first  # the last batch is filled up with copies
        total["correct"] += np.asarray(metrics.correct(result.values, y))[:, :valid].sum(1)
        total["spikes"] += np.asarray(result.spikes)[:, :valid].sum(1, dtype=np.int64)
        for path, spikes in result.layer_spikes.items():
            layers[path] = layers.get(path, 0) + int(np.asarray(spikes)[:valid].sum())
        for form, at in (("ann", levels), ("smooth", 0)):
            logits = _limit(network, params, x, at or None)
            right[form] += int((np.asarray(logits).argmax(-1) == y)[:valid].sum())
        if encoding.varies:
            reached = _ceiling(
                network, params, x, y, key, first, levels or None,
                encoding=encoding, num_steps=config.num_steps,
            )  # fmt: skip
            total["ceiling"] += np.asarray(reached)[:, :valid].sum(1)
    count, steps = len(images), np.arange(1, config.num_steps + 1)
    neurons = {path: int(n) for path, n in result.neurons.items()}
    ann, snn = right["ann"] / count, total["correct"] / count
    return {
        "ann": ann,
        "ann_smooth": right["smooth"] / count,
        "snn": snn.tolist(),
        "loss": np.asarray(ann - snn).tolist(),
        "latency": metrics.latency(ann, snn.tolist(), within=WITHIN),
        "spike_rate": (total["spikes"] / (count * sum(neurons.values()) * steps)).tolist(),
        "layer_spike_rate": {
            path: layers[path] / (count * size * config.num_steps) for path, size in neurons.items()
        },
        "ceiling": (total["ceiling"] / count).tolist() if encoding.varies else None,
    }


def _batch(
    images: np.ndarray, labels: np.ndarray, first: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images as floats; a last batch is filled up, so that all have one compiled shape."""
    places = np.minimum(np.arange(first, first + batch_size), len(images) - 1)
    return images[places].astype(np.float32) / 255, labels[places]


@partial(jax.jit, static_argnames=("network",))
def _limit(
    network: architecture.Network, params: dict[str, Any], images: jax.Array, levels: Any
) -> jax.Array:
    return spiking.limit(network, params, images, levels=levels)


@partial(jax.jit, static_argnames=("network", "encoding", "num_steps"))
def _ceiling(
    network: architecture.Network,
    params: dict[str, Any],
    images: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    first: int,
    levels: Any,
    *,
    encoding: Encoding,
    num_steps: int,
) -> jax.Array:
    """Where the ANN is right on the mean of the first t frames, bool `[T, B]`."""
    keys = simulation.image_keys(key, first, len(images))

    def body(total: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        total = total + encoding.encode(keys, images, params["gain"], t)
        mean = total / ((t + 1) * params["gain"])
        logits = spiking.limit(network, params, mean, levels=levels)
        return total, jnp.argmax(logits, -1) == labels

    return jax.lax.scan(body, jnp.zeros_like(images), jnp.arange(num_steps))[1]


def _describe(data: datasets.Dataset) -> dict[str, Any]:
    return {"name": data.name, "version": data.version, "exact_pixels": data.exact}


def _network_of(metadata: dict[str, Any]) -> architecture.Network:
    return _config_of(metadata).architecture()


def _config_of(metadata: dict[str, Any]) -> TrainConfig:
    try:
        return TrainConfig(**metadata["config"])
    except TypeError as error:
        raise ValueError(
            f"the file's training settings are of another version of snnjax ({error})"
        ) from error


def _picture(record: dict[str, Any]) -> Any:
    percent = [100 * a for a in record["snn"]]
    curves = {f"SNN, {record['config']['neuron']}, {record['config']['encoding']}": percent}
    if record["ceiling"]:
        curves["ANN on the mean of the frames"] = [100 * a for a in record["ceiling"]]
    name = record["dataset"]["name"] + ("" if record["dataset"]["exact_pixels"] else " (inexact)")
    title = f"{record['training']['network']} on {name}, {record['images']:,} test images"
    return plots.accuracy_against_time(curves, ann={"ANN": 100 * record["ann"]}, title=title)
