"""Conversion stage: a trained network in, `snn.safetensors` out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snnjax.app.configurations import ConvertConfig, recorded_training, resolve_conversion
from snnjax.app.configurations.conversion import MEASURED_SCALES, RULES_FOR_STEPS
from snnjax.app.run_files import load_data, load_trained
from snnjax.conversion import calibration, conversion, threshold_balancing
from snnjax.io import checkpoint, datasets
from snnjax.networks import architecture
from snnjax.runtime.images import unit_images

__all__ = [
    "Converted",
    "balanced_scales",
    "check_calibration_images",
    "convert",
    "convert_file",
    "convert_with_scales",
    "first_training_images",
    "needs_images",
]


class Converted(NamedTuple):
    """Trained network and what conversion made of it.

    network, variables: architecture and parameters in the file; trained: its metadata;
    config: the options with those of the method; scales: activation that a firing rate of 1 stands
    for, by path, or None for theta; params: the converted parameters.
    """

    network: architecture.Network
    variables: dict[str, Any]
    trained: dict[str, Any]
    config: ConvertConfig
    scales: dict[str, Any] | None
    params: dict[str, Any]


def convert(ann: Path, config: ConvertConfig, output: Path, *, dataset: str | None = None) -> Path:
    """Convert the network in the file `ann`, and write `snn.safetensors`.

    Args:
      ann: the file of a training.
      config: how to convert.
      output: folder for the file.
      dataset: whose training images to measure on; None for the data set of the training.

    Returns:
      The path of `snn.safetensors`.

    Raises:
      FileNotFoundError: if there is no file `ann`.
      ValueError: if it is no trained network, or holds NaN or Inf.
      OSError: if `output` cannot be written.
    """
    path = output / "snn.safetensors"
    checkpoint.check_writable(path)
    found = convert_file(ann, config, dataset)
    if dataset is not None and not needs_images(found.config):
        raise ValueError(
            f"dataset is {dataset}, but scales {found.config.scales} are not measured on images;"
            " leave it out"
        )
    metadata = {"trained": found.trained, "config": asdict(found.config)}
    checkpoint.save(path, found.params, kind="snn", metadata=metadata)
    return path


def convert_file(ann: Path, config: ConvertConfig, dataset: str | None = None) -> Converted:
    """Convert the network in the file `ann`, measured on `dataset` or that of its training.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no trained network, holds NaN or Inf, or does not fit the options.
      OSError: if images are needed and missing.
    """
    network, variables, trained = load_trained(ann)
    config = resolve_conversion(config, recorded_training(trained))
    images = np.zeros(0)
    if needs_images(config):
        images = first_training_images(load_data(trained, dataset), config.calibration_images)
    scales = balanced_scales(network, variables, images, config)
    found = Converted(network, variables, trained, config, scales, {})
    return found._replace(params=convert_with_scales(found, images))


def balanced_scales(
    network: architecture.Network,
    variables: dict[str, Any],
    images: np.ndarray,
    config: ConvertConfig,
) -> dict[str, Any] | None:
    """Scales by the rule of `config` on calibration images; None for the bounds theta.

    Raises:
      ValueError: as the rule.
    """
    if config.scales == "theta":
        return None
    rule = threshold_balancing.BALANCING_RULES[config.scales]
    steps = {"num_steps": config.for_steps} if config.scales in RULES_FOR_STEPS else {}
    return rule(network, variables, images, **steps)


def convert_with_scales(found: Converted, images: np.ndarray) -> dict[str, Any]:
    """Parameters of the network in `found` by its options and scales; its `params` are ignored.

    Raises:
      ValueError: as `conversion.convert` and `calibration.calibrate`.
    """
    config = found.config
    params = conversion.convert(
        found.network,
        found.variables,
        scales=found.scales,
        gain=config.gain,
        threshold=config.threshold,
        initial=config.initial_potential,
        shift=1 / (2 * config.for_steps) if config.shift else 0.0,
        output_scale=found.trained["output_scale"],
        output_leak=config.output_leak,
    )
    if config.correct != "nothing":
        params = calibration.calibrate(
            found.network, params, images, num_steps=config.for_steps, correction=config.correct
        )
    return params


def needs_images(config: ConvertConfig) -> bool:
    """Return True if a conversion measures on training images."""
    return config.scales in MEASURED_SCALES or config.correct != "nothing"


def check_calibration_images(count: int, dataset: str, available: int) -> None:
    """Check that a data set has the training images that a stage measures on.

    Raises:
      ValueError: if it has fewer.
    """
    if count > available:
        raise ValueError(
            f"calibration_images is {count}, but {dataset} has {available} training images"
        )


def first_training_images(data: datasets.Dataset, count: int) -> np.ndarray:
    """First `count` training images, floats in [0, 1].

    Raises:
      ValueError: if the data set has fewer.
    """
    images = data.train.images
    check_calibration_images(count, data.name, len(images))
    return unit_images(images[:count])
