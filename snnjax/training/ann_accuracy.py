"""Number of images that an ANN classifies correctly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from snnjax.runtime import sharding
from snnjax.runtime.checks import check_count
from snnjax.runtime.images import check_dataset_images, unit_images
from snnjax.snn.answers import classify

__all__ = ["count_correct"]

Variables = dict[str, Any]
ApplyFn = Callable[..., Any]


def count_correct(
    apply: ApplyFn,
    variables: Variables,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    levels: int = 0,
    batch_size: int = 500,
    mesh: Mesh | None = None,
) -> int:
    """Count the images whose largest logit is that of their label.

    Args:
      apply: a Flax module's `apply`, taking `levels`.
      variables: of that module.
      images: bytes (uint8) `[N, H, W, C]` or `[N, D]`, or floats in the range of the network.
      labels: int `[N]`.
      levels: quantisation levels of the activations; 0 leaves them smooth.
      batch_size: images at a time on each device, or on all cores of a CPU together.
      mesh: devices that share each batch; None for one device.

    Raises:
      ValueError: if there are no images, they are neither bytes nor finite floats, or the batch
        size is below 1.
    """
    images, batch_size = check_dataset_images(images), check_count("batch_size", batch_size)
    size = sharding.global_batch_size(mesh, batch_size) if mesh else batch_size
    correct = 0
    for i in range(0, len(images), size):
        batch: list[Any] = [images[i : i + size], labels[i : i + size]]
        if mesh:
            batch = sharding.shard_padded(mesh, *batch)
        correct += int(_correct_in_batch(variables, *batch, apply=apply, levels=levels or None))
    return correct


@partial(jax.jit, static_argnames=("apply",))
def _correct_in_batch(
    variables: Variables, images: jax.Array, labels: jax.Array, *, apply: ApplyFn, levels: Any
) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        logits = apply(variables, unit_images(images), levels=levels)
    return jnp.sum(classify(logits) == labels)
