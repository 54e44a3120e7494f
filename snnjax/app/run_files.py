"""Files of a run, the split of its data, and the file digests that identify them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from snnjax.app.configurations import TrainConfig, recorded_training
from snnjax.io import checkpoint, datasets
from snnjax.networks import architecture
from snnjax.snn.engine import with_leaks

__all__ = [
    "describe_dataset",
    "describe_own",
    "digest",
    "fit_to_data",
    "hold_out_validation",
    "image_shape",
    "load_data",
    "load_network",
    "load_trained",
    "validation_images",
]

SPLIT_SEED = 0
"""All seeds of a training share one validation split, so that they can be compared."""


def fit_to_data(config: TrainConfig) -> TrainConfig:
    """Fill in what a user's own data decide, and check that the network is for the images.

    Raises:
      FileNotFoundError: if there are no data at the path.
      ValueError: as `datasets.load` and `TrainConfig.architecture`.
    """
    if datasets.is_path(config.dataset) and not config.data_sha256:
        config = replace(config, **describe_own(config.dataset, datasets.load(config.dataset)))
    elif not config.data_sha256:
        datasets.check_name(config.dataset, more=datasets.OR_PATH)
    config.architecture()
    return config


def describe_own(path: str, data: datasets.Dataset) -> dict[str, Any]:
    """Fields of `TrainConfig` that a user's own data decide, the path made absolute."""
    return {
        "dataset": str(Path(path).expanduser().resolve()),
        "image_shape": tuple(data.train.images.shape[1:]),
        "classes": data.classes,
        "data_sha256": data.sha256,
    }


def load_data(trained: dict[str, Any], dataset: str | None = None) -> datasets.Dataset:
    """Data set for a trained network: `dataset`, or else the one that it was trained on.

    Args:
      trained: metadata of the trained network.
      dataset: name or path.

    Raises:
      FileNotFoundError: if the data are not there.
      ValueError: if the data that it was trained on have changed, or `dataset` has another
        number of classes.
    """
    config = recorded_training(trained)
    if dataset is not None:
        data = datasets.load(dataset)
        if data.classes != config.classes:
            raise ValueError(
                f"{dataset} has {data.classes} classes, and the network was trained on"
                f" {config.classes}; want as many"
            )
        return data
    try:
        data = datasets.load(config.dataset)
    except datasets.DatasetNotPrepared:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"no data at {config.dataset}, on which the network was trained; give --dataset PATH"
        ) from error
    if data.sha256 != config.data_sha256:
        raise ValueError(
            f"{config.dataset} has changed since the network was trained on it: SHA-256 is"
            f" {data.sha256[:12]} and was {config.data_sha256[:12]}; put the old data back, or give"
            " --dataset to use the new ones"
        )
    return data


def hold_out_validation(
    config: TrainConfig, data: datasets.Dataset
) -> tuple[datasets.Split, datasets.Split]:
    """Split the training images into those to learn from and those held out for validation.

    Raises:
      ValueError: if one of the two parts would be empty.
    """
    images = datasets.first(data.train, config.max_images)
    held = round(config.validation * len(images.images))
    if not 0 < held < len(images.images):
        raise ValueError(
            f"validation is {config.validation:g}, which holds out {held} of"
            f" {len(images.images)} training images; want some held out and some to learn from:"
            " change --validation or --max-images"
        )
    return datasets.hold_out(images, held, seed=SPLIT_SEED)


def validation_images(trained: dict[str, Any], data: datasets.Dataset) -> datasets.Split:
    """Images that a training held out for validation.

    Args:
      trained: metadata of the trained network.
      data: loaded already; other data are loaded if the network was trained on others.

    Raises:
      FileNotFoundError: as `load_data`.
      ValueError: as `load_data`, or if no image would be held out.
    """
    config = recorded_training(trained)
    moved = data.sha256 and data.sha256 == config.data_sha256  # or not moved
    return hold_out_validation(config, data if moved else load_data(trained))[1]


def load_trained(ann: Path) -> tuple[architecture.Network, dict[str, Any], dict[str, Any]]:
    """Architecture, variables and metadata of a trained network.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no trained network.
    """
    variables, metadata = checkpoint.load(ann, kind="ann")
    _check_entries(ann, metadata, ("config", "dataset", "output_scale"))
    return recorded_training(metadata).architecture(), variables, metadata


def load_network(snn: Path) -> tuple[architecture.Network, dict[str, Any], dict[str, Any]]:
    """Architecture, parameters and metadata of a converted network.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no converted network.
    """
    params, metadata = checkpoint.load(snn, kind="snn")
    _check_entries(snn, params, ("gain", "layers", "output_leak"))
    _check_entries(snn, metadata, ("config", "trained"))
    _check_entries(snn, metadata["config"], ("method",))
    _check_entries(snn, metadata["trained"], ("config", "dataset"))
    if any(np.isnan(leaf).any() for leaf in jax.tree.leaves(params)):
        raise ValueError(f"{snn} holds NaN; want finite numbers, so convert the network again")
    params = {**params, "layers": with_leaks(params["layers"])}
    return recorded_training(metadata["trained"]).architecture(), params, metadata


def _check_entries(path: Path, found: Any, wanted: tuple[str, ...]) -> None:
    """Check that a mapping in a file has entries.

    Raises:
      ValueError: naming the first that is missing.
    """
    for name in wanted:
        if not isinstance(found, dict) or name not in found:
            raise ValueError(
                f"{path} has no entry {name!r}, which snnjax writes; want a file that it wrote"
            )


def describe_dataset(data: datasets.Dataset) -> dict[str, Any]:
    """Return the entry "dataset" of a record: name, version, and if pixels are exact.

    A user's own data have their SHA-256, the numbers of images and the names of classes too.
    """
    known = {"name": data.name, "version": data.version, "exact_pixels": data.exact}
    if not data.sha256:
        return known
    counts = {"train": len(data.train.images), "test": len(data.test.images)}
    return {
        **known, "sha256": data.sha256, "images": counts, "class_names": list(data.class_names),
        "image_shape": list(data.train.images.shape[1:]),
    }  # fmt: skip


def image_shape(metadata: dict[str, Any]) -> tuple[int, ...]:
    """`(H, W, C)` of the images of a converted network with this metadata."""
    data = metadata["trained"]["dataset"]
    return tuple(data["image_shape"]) if "image_shape" in data else datasets.SHAPES[data["name"]]


def digest(path: Path) -> str | None:
    """SHA-256 of a file, or None if there is no such file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
