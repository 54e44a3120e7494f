"""Noise on images, pure and keyed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.checks import check_value

__all__ = ["salt_and_pepper"]


def salt_and_pepper(key: jax.Array, images: jax.Array, density: ArrayLike) -> jax.Array:
    """Set a share of the pixels to 0 or 1, either with equal chance.

    Source: He et al. 2024, section 5.2; the rule for a pixel is that of Wang et al. 2023.
    Choice: the paper's signal-to-noise ratio is read as the density, 0 for a clean image;
    all channels of a pixel change together. With one key, the pixels of a lower density
    are among those of a higher one.

    Args:
      key: one draw for the whole batch.
      images: `[B, H, W, C]` in [0, 1].
      density: share of the pixels, in [0, 1]; may be traced.

    Raises:
      ValueError: if a density that is not traced is outside [0, 1].
    """
    check_value(
        "density", density, lambda x: (x >= 0) & (x <= 1), "a share of the pixels in [0, 1]"
    )
    where, which = jax.random.split(key)
    pixels = (*images.shape[:-1], 1)
    value = jax.random.bernoulli(which, 0.5, pixels).astype(images.dtype)
    return jnp.where(jax.random.uniform(where, pixels) < density, value, images)
