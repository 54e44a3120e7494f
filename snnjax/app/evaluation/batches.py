"""Batches of a split, shared among the devices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from snnjax.io import datasets
from snnjax.runtime import sharding
from snnjax.runtime.images import check_dataset_images, unit_images

__all__ = ["Batch", "batches"]


class Batch(NamedTuple):
    """Images of a split.

    images: floats `[B, H, W, C]` or `[B, D]`; labels: `[B]`; first: position of the first image in
    the split; valid: number of images that are not filling.
    """

    images: jax.Array
    labels: jax.Array
    first: int
    valid: int


def batches(
    split: datasets.Split, size: int, mesh: Mesh, *, name: str, progress: bool
) -> Iterator[Batch]:
    """Yield batches of one size behind a progress bar; copies of the last image fill the last one.

    All batches have one shape, so that one compiled program serves them.

    Args:
      split: the images.
      size: images per batch, on all devices of `mesh` together; a batch that would be larger than
        the split has as many images as the split, and devices to share them.
      mesh: the devices.
      name: text of the progress bar.
      progress: show it.

    Raises:
      ValueError: if there are no images.
    """
    images, labels = check_dataset_images(split.images, purpose=" to score"), split.labels
    size = min(size, math.ceil(len(images) / mesh.size) * mesh.size)
    starts = range(0, len(images), size)
    for first in tqdm(starts, name, unit="batch", mininterval=1, disable=not progress):
        places = np.minimum(np.arange(first, first + size), len(images) - 1)
        shown = unit_images(images[places])
        yield Batch(
            images=sharding.shard(mesh, shown),
            labels=sharding.shard(mesh, labels[places]),
            first=first,
            valid=min(size, len(images) - first),
        )
