"""Files of a run, the split of its data, and the file digests that identify them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from snnjax.app.configurations import TrainConfig, recorded_training
from snnjax.io import checkpoint, datasets
from snnjax.networks import architecture
from snnjax.snn.engine import with_leaks

__all__ = [
    "describe_dataset",
    "digest",
    "hold_out_validation",
    "image_shape",
    "load_network",
    "load_trained",
]

SPLIT_SEED = 0
"""All seeds of a training share one validation split, so that they can be compared."""


def hold_out_validation(
    config: TrainConfig, data: datasets.Dataset
) -> tuple[datasets.Split, datasets.Split]:
    """Split the training images into those to learn from and those held out for validation."""
    images = datasets.first(data.train, config.max_images)
    held = round(config.validation * len(images.images))
    return datasets.hold_out(images, held, seed=SPLIT_SEED)


def load_trained(ann: Path) -> tuple[architecture.Network, dict[str, Any], dict[str, Any]]:
    """Architecture, variables and metadata of a trained network.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no trained network.
    """
    variables, metadata = checkpoint.load(ann, kind="ann")
    return recorded_training(metadata).architecture(), variables, metadata


def load_network(snn: Path) -> tuple[architecture.Network, dict[str, Any], dict[str, Any]]:
    """Architecture, parameters and metadata of a converted network.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no converted network.
    """
    params, metadata = checkpoint.load(snn, kind="snn")
    params = {**params, "layers": with_leaks(params["layers"])}
    return recorded_training(metadata["trained"]).architecture(), params, metadata


def describe_dataset(data: datasets.Dataset) -> dict[str, Any]:
    """Return the entry "dataset" of a record: name, version, and if pixels are exact."""
    return {"name": data.name, "version": data.version, "exact_pixels": data.exact}


def image_shape(metadata: dict[str, Any]) -> tuple[int, int, int]:
    """`(H, W, C)` of the images of a converted network with this metadata."""
    return datasets.SHAPES[metadata["trained"]["dataset"]["name"]]


def digest(path: Path) -> str | None:
    """SHA-256 of a file, or None if there is no such file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
