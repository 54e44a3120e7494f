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
      images: uint8 `[N, H, W, C]`.
      labels: int `[N]`.
      levels: quantisation levels of the activations; 0 leaves them smooth.
      batch_size: images at a time on each device, or on all cores of a CPU together.
      mesh: devices that share each batch; None for one device.

    Raises:
      ValueError: if there are no images, or the batch size is below 1.
    """
    if len(images) == 0 or batch_size < 1:
        raise ValueError(f"{len(images)} images in batches of {batch_size}; want at least 1 each")
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
        logits = apply(variables, images.astype(jnp.float32) / 255, levels=levels)
    return jnp.sum(classify(logits) == labels)
