"""A trained network's file converted, with what the rules of a method measure on images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snnjax.app.configurations import ConvertConfig, recorded, with_conversion
from snnjax.app.run_files import load_trained
from snnjax.conversion import calibration, conversion, threshold_balancing
from snnjax.io import datasets
from snnjax.networks import architecture

__all__ = ["Converted", "convert_file"]


class Converted(NamedTuple):
    """network, variables and trained: of the file; config: settled; scales: None for theta."""

    network: architecture.Network
    variables: dict[str, Any]
    trained: dict[str, Any]
    config: ConvertConfig
    scales: dict[str, Any] | None
    params: dict[str, Any]


def convert_file(ann: Path, config: ConvertConfig) -> Converted:
    """Convert the parameters in the file `ann`.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no trained network, holds NaN or Inf, or does not fit the settings.
      OSError: if images are needed and missing.
    """
    network, variables, trained = load_trained(ann)
    config = with_conversion(config, recorded(trained))
    scales, images = None, np.zeros(0)
    if config.scales != "theta" or config.correct != "nothing":
        measured = datasets.load(trained["dataset"]["name"]).train.images
        if config.calibration_images > len(measured):
            raise ValueError(
                f"calibration_images is {config.calibration_images}, but"
                f" {trained['dataset']['name']} has {len(measured)} training images"
            )
        images = measured[: config.calibration_images].astype(np.float32) / 255
    if config.scales != "theta":
        rule = threshold_balancing.BALANCING_RULES[config.scales]
        steps = {"num_steps": config.for_steps} if config.scales == "least_error" else {}
        scales = rule(network, variables, images, **steps)
    params = conversion.convert(
        network,
        variables,
        scales=scales,
        gain=config.gain,
        threshold=config.threshold,
        initial=config.initial_potential,
        shift=1 / (2 * config.for_steps) if config.shift else 0.0,
        output_scale=trained["output_scale"],
        output_leak=config.output_leak,
    )
    if config.correct != "nothing":
        params = calibration.calibrate(
            network, params, images, num_steps=config.for_steps, correction=config.correct
        )
    return Converted(network, variables, trained, config, scales, params)
