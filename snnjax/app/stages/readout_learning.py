"""Readout stage: a leaky layer behind the network learns, and is added to `snn.safetensors`."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnjax.app.configurations import (
    ReadoutConfig,
    SimulateConfig,
    recorded_training,
    resolve_for_network,
)
from snnjax.app.run_files import hold_out_validation, load_data, load_network
from snnjax.io import checkpoint, datasets
from snnjax.networks import architecture
from snnjax.runtime.ranges import SEEDS
from snnjax.snn import simulation
from snnjax.snn.answers import classify
from snnjax.snn.readout import COUNT, LEAKY, leaky_layer, read
from snnjax.snn.whole_numbers import is_integer
from snnjax.training import readout_learning
from snnjax.training.class_assignment import with_assigned_classes
from snnjax.training.output_recording import RecordingSettings, record_output_currents
from snnjax.training.plasticity_rules import LEARNING_RULES, make_plasticity

__all__ = ["count_images", "learn"]

logger = logging.getLogger(__name__)

MOST = 10_000
"""Training images to learn from where the user does not say how many."""

LABELLED = 1_000
"""Images whose labels assign neurons to classes where the user does not say how many."""


def learn(
    snn: Path,
    config: ReadoutConfig,
    output: Path,
    *,
    how: SimulateConfig,
    dataset: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Add a leaky layer that has learnt to the network in the file `snn`.

    The layer learns from training images and is judged on the validation images. What STDP
    learns from identity weights is kept only if it raises accuracy; otherwise the weights stay
    the identity, and the record says so. Writes `snn.safetensors`.

    Args:
      snn: the file of a conversion.
      config: the layer and how it learns.
      output: folder for the file.
      how: neuron, encoding and pre-steps; its other options are ignored.
      dataset: whose training images to learn from; None for the data set of the training.
      seed: of random weights, the order of images and random spikes.

    Returns:
      The record of the learning in the file: options, images, and accuracy before and after.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if there are fewer images than asked for, a class has no labelled image or
        ends without a neuron, the options do not fit the network, or its weights are whole.
      OSError: if `output` cannot be written.
    """
    SEEDS.check("seed", seed)
    checkpoint.check_writable(output / "snn.safetensors")
    network, params, metadata = load_network(snn)
    if is_integer(params):
        raise ValueError(f"{snn} holds whole numbers, and a leaky readout has fractions")
    trained = recorded_training(metadata["trained"])
    data = load_data(metadata["trained"], dataset)
    training, validation = hold_out_validation(trained, data)
    count = count_images(config, len(training.images), data.classes)
    how = resolve_for_network(how, metadata)
    recording = _recording_settings(network, config.readout_steps, how)
    initial_key, learning_key, validation_key = jax.random.split(jax.random.key(seed), 3)
    currents = record_output_currents(network, params, validation.images, validation_key, recording)
    initial = learnt = _initial_layer(config, initial_key, classes=currents.shape[-1])
    if config.readout_rule != "nothing":
        simulated = _Simulated(network, params, recording)
        shown = datasets.first(training, count)
        learnt = _learnt_layer(simulated, initial, shown, config, learning_key)

    def accuracy(values: jax.Array) -> float:
        return float(jnp.mean(classify(values[-1]) == validation.labels))

    before, after = (
        accuracy(read(LEAKY, {**params, "readout": layer}, currents)) for layer in (initial, learnt)
    )
    keep = _is_kept(config, before, after)
    counted = accuracy(read(COUNT, params, currents))
    record = {
        "config": asdict(config),
        "encoding": how.encoding,
        "neuron": how.neuron,
        "seed": seed,
        "images": {"learning": count, "validation": len(validation.images)},
        "validation_accuracy": {"count": counted, "before": before, "after": after},
        "kept": keep,
    }
    checkpoint.save(
        output / "snn.safetensors", {**params, "readout": learnt if keep else initial}, kind="snn",
        metadata={**metadata, "readout": record},
    )  # fmt: skip
    return record


class _Simulated(NamedTuple):
    """A network, its parameters, and the settings of its simulation."""

    network: architecture.Network
    params: dict[str, Any]
    recording: RecordingSettings


def _recording_settings(
    network: architecture.Network, num_steps: int, how: SimulateConfig
) -> RecordingSettings:
    """Settings of the simulations whose outputs the layer learns from.

    Raises:
      ValueError: if the neuron has no pre-steps, or no timestep is left after them.
    """
    names = ("neuron", "encoding", "pre_steps")
    recording = RecordingSettings(num_steps, **{name: how.arguments[name] for name in names})
    simulation.count_pre_steps(network, recording.neuron, recording.pre_steps, num_steps)
    return recording


def count_images(config: ReadoutConfig, available: int, classes: int) -> int:
    """Number of training images to learn from.

    Args:
      config: how the readout learns.
      available: number of training images.
      classes: number of classes.

    Raises:
      ValueError: if there are fewer images, more labels than images are asked for, or there are
        fewer neurons than classes.
    """
    count = config.readout_images or min(MOST, available)
    if not (config.readout_labels or 1) <= count <= available:
        labels = f" and readout_labels {config.readout_labels}" if config.readout_labels else ""
        raise ValueError(
            f"readout_images is {count}{labels}; want at most the {available} training images, and"
            " labels for some of those learnt from"
        )
    if 0 < config.readout_neurons < classes:
        raise ValueError(
            f"readout_neurons is {config.readout_neurons}; want at least one for each of"
            f" {classes} classes"
        )
    return count


def _initial_layer(config: ReadoutConfig, key: jax.Array, *, classes: int) -> dict[str, Any]:
    """Layer before learning; the neurons of a random one are assigned to the classes in turn."""
    numbers = {"leak": config.readout_leak, "threshold": config.readout_threshold}
    if config.readout_start == "identity":
        return leaky_layer(jnp.eye(classes), **numbers)
    neurons = config.readout_neurons or 3 * classes
    weights = readout_learning.random_weights(key, classes, neurons)
    return leaky_layer(weights, **numbers, labels=jnp.arange(neurons) % classes)


def _learnt_layer(
    simulated: _Simulated,
    initial: dict[str, Any],
    shown: datasets.Split,
    config: ReadoutConfig,
    key: jax.Array,
) -> dict[str, Any]:
    """Layer after learning from the images `shown`; labels assign the neurons of a random one."""
    names = ("a_plus", "a_minus", "tau_plus", "tau_minus")
    plasticity = make_plasticity(**{name: getattr(config, name) for name in names})
    learnt, currents = readout_learning.learn_on_images(
        simulated.network, simulated.params, initial, *shown, key, plasticity,
        recording=simulated.recording, rule=LEARNING_RULES[config.readout_rule],
        epochs=config.epochs,
    )  # fmt: skip
    if config.readout_start == "random":
        few = config.readout_labels or min(LABELLED, len(shown.labels))
        learnt = with_assigned_classes(
            simulated.params, learnt, currents[:, :few], shown.labels[:few]
        )
    return learnt


def _is_kept(config: ReadoutConfig, before: float, after: float) -> bool:
    """Return True unless STDP from identity weights has not raised accuracy."""
    if after > before or config.readout_rule != "stdp" or config.readout_start != "identity":
        return True
    logger.warning(
        "learning did not help: validation accuracy went from %.2f %% to %.2f %%; the weights"
        " stay the identity", 100 * before, 100 * after,
    )  # fmt: skip
    return False
