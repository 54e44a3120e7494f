"""What the files of a run hold, and the split of its data that they go with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snnjax.app.configurations import TrainConfig, recorded
from snnjax.io import checkpoint, datasets
from snnjax.networks import architecture
from snnjax.snn.engine import with_leaks

__all__ = ["describe", "image_shape", "load_network", "load_trained", "split_off"]

SPLIT_SEED = 0
"""All seeds of a training share one validation split, so that they can be compared."""


def split_off(config: TrainConfig, data: datasets.Dataset) -> tuple[datasets.Split, datasets.Split]:
    """The training images to learn from, and those held out to choose by."""
    images = datasets.first(data.train, config.max_images)
    held = round(config.validation * len(images.images))
    return datasets.hold_out(images, held, seed=SPLIT_SEED)


def load_trained(ann: Path) -> tuple[architecture.Network, dict[str, Any], dict[str, Any]]:
    """The architecture, variables and metadata of a trained network.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no trained network.
    """
    variables, metadata = checkpoint.load(ann, kind="ann")
    return recorded(metadata).architecture(), variables, metadata


def load_network(snn: Path) -> tuple[architecture.Network, dict[str, Any], dict[str, Any]]:
    """The architecture, parameters and metadata of a converted network.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no converted network.
    """
    params, metadata = checkpoint.load(snn, kind="snn")
    params = {**params, "layers": with_leaks(params["layers"])}
    return recorded(metadata["trained"]).architecture(), params, metadata


def describe(data: datasets.Dataset) -> dict[str, Any]:
    """What a record says of the data."""
    return {"name": data.name, "version": data.version, "exact_pixels": data.exact}


def image_shape(metadata: dict[str, Any]) -> tuple[int, int, int]:
    """Of the images that a converted network, whose metadata this is, was trained on."""
    return datasets.SHAPES[metadata["trained"]["dataset"]["name"]]
