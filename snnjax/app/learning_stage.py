"""A stage between conversion and simulation: a leaky readout that learns, kept in the file."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from snnjax.app.configurations import (
    ReadoutConfig,
    SimulateConfig,
    recorded,
    settled,
)
from snnjax.app.run_files import load_network, split_off
from snnjax.io import checkpoint, datasets
from snnjax.snn.readout import COUNT, LEAKY, leaky_layer, read
from snnjax.training import readout_learning
from snnjax.training.class_assignment import with_assigned_classes
from snnjax.training.output_recording import RecordingSettings, record_output_currents
from snnjax.training.plasticity_rules import LEARNING_RULES, PlasticityParams, make_plasticity

__all__ = ["learn", "with_readout"]

logger = logging.getLogger(__name__)

MOST = 10_000
"""Training images to learn from where the user does not say how many."""


def learn(
    snn: Path, config: ReadoutConfig, output: Path, *, how: SimulateConfig, seed: int = 0
) -> dict[str, Any]:
    """Give the network in the file `snn` a leaky layer that has learnt, in its `snn.safetensors`.

    The layer learns from training images and is judged on the validation images. What STDP
    learns from the identity is kept only where accuracy has grown; otherwise the weights stay
    the identity, and the record says so.

    Args:
      snn: the file of a conversion.
      config: the layer and how it learns.
      output: folder for the file.
      how: neuron and encoding; its other settings play no part.
      seed: of random weights, the order of images and drawn spikes.

    Returns:
      What the file says of the learning: settings, images, and accuracy before and after.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if there are fewer images than asked for, a class has no labelled image or
        ends without a neuron, or the settings do not fit the network.
      OSError: if `output` cannot be written.
    """
    network, params, metadata = load_network(snn)
    trained = recorded(metadata["trained"])
    kept, validation = split_off(trained, datasets.load(trained.dataset))
    count = config.readout_images or min(MOST, len(kept.images))
    if not config.readout_labels <= count <= len(kept.images):
        raise ValueError(
            f"readout_images is {count} and readout_labels {config.readout_labels}; want at most"
            f" the {len(kept.images)} training images, and labels for some of those learnt from"
        )
    how = settled(how, metadata["config"]["method"])
    recording = RecordingSettings(
        config.readout_steps,
        **{name: how.arguments[name] for name in ("neuron", "encoding", "pre_steps")},
    )
    begun, ordered, judging = jax.random.split(jax.random.key(seed), 3)
    held = record_output_currents(network, params, validation.images, judging, recording)
    first = learnt = _start(config, begun, classes=held.shape[-1])
    if config.readout_rule != "nothing":
        images, labels = datasets.first(kept, count)
        learnt, currents = readout_learning.learn_on_images(
            network, params, first, images, labels, ordered, _plasticity(config),
            recording=recording, rule=LEARNING_RULES[config.readout_rule], epochs=config.epochs,
        )  # fmt: skip
        if config.readout_start == "random":
            few = config.readout_labels
            learnt = with_assigned_classes(params, learnt, currents[:, :few], labels[:few])

    def judged(values: jax.Array) -> float:
        return float(jnp.mean(jnp.argmax(values[-1], -1) == validation.labels))

    before, after = (
        judged(read(LEAKY, {**params, "readout": layer}, held)) for layer in (first, learnt)
    )
    guarded = config.readout_rule == "stdp" and config.readout_start == "identity"
    keep = after > before or not guarded
    if not keep:
        logger.warning(
            "learning did not help: validation accuracy went from %.2f %% to %.2f %%; the weights"
            " stay the identity", 100 * before, 100 * after,
        )  # fmt: skip
    counted = judged(read(COUNT, params, held))
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
        output / "snn.safetensors", {**params, "readout": learnt if keep else first}, kind="snn",
        metadata={**metadata, "readout": record},
    )  # fmt: skip
    return record


def _start(config: ReadoutConfig, key: jax.Array, *, classes: int) -> dict[str, Any]:
    """The layer before it learns; classes of a random one are given to its neurons in turn."""
    numbers = {"leak": config.readout_leak, "threshold": config.readout_threshold}
    if config.readout_start == "identity":
        return leaky_layer(jnp.eye(classes), **numbers)
    neurons = config.readout_neurons or 3 * classes
    weights = readout_learning.random_weights(key, classes, neurons)
    return leaky_layer(weights, **numbers, labels=jnp.arange(neurons) % classes)


def _plasticity(config: ReadoutConfig) -> PlasticityParams:
    names = ("a_plus", "a_minus", "tau_plus", "tau_minus")
    return make_plasticity(**{name: getattr(config, name) for name in names})


def with_readout(
    params: dict[str, Any], metadata: dict[str, Any], config: SimulateConfig, snn: Path
) -> dict[str, Any]:
    """The parameters with the leaky layer that a readout asks for.

    "leaky" takes identity weights, whatever was learnt, with the leak and threshold in the file.

    Raises:
      ValueError: if the file has no leaky layer, or none that learnt where "stdp" wants one.
    """
    if config.readout not in ("leaky", "stdp"):
        return params
    layer, rule = params.get("readout"), "nothing"
    if layer is not None:
        rule = metadata["readout"]["config"]["readout_rule"]
    if layer is None or (config.readout == "stdp" and rule == "nothing"):
        more = "" if config.readout == "stdp" else " --readout-rule nothing"
        raise ValueError(
            f"{snn} has no {'learnt' if config.readout == 'stdp' else 'leaky'} layer; make one with"
            f" snnjax learn {snn}{more}"
        )
    if config.readout == "leaky":
        classes = len(layer["weights"])
        layer = leaky_layer(jnp.eye(classes), leak=layer["leak"], threshold=layer["threshold"])
    return {**params, "readout": layer}
