"""The input of a simulation: images, their noise, and their encoding at a timestep."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.snn.encoding import Encoding
from snnjax.snn.noise import Noise, corrupt

__all__ = ["NOISE", "Stimulus", "frame", "image_keys", "make_stimulus"]

NOISE = 2**32 - 1
"""Folded into the key for the noise; no image has this index."""


class Stimulus(NamedTuple):
    """Images and randomness of a simulation; all of it is traced.

    images: floats `[B, H, W, C]`.
    key: key for random encodings and for noise; None if nothing is random.
    first: index of the first image among all that share `key`.
    noise: corruption of the images before they are encoded; None for clean ones.
    """

    images: jax.Array
    key: jax.Array | None = None
    first: ArrayLike = 0
    noise: Noise | None = None


def make_stimulus(
    network: Any,
    images: ArrayLike,
    key: jax.Array | None = None,
    first: ArrayLike = 0,
    noise: Noise | None = None,
) -> Stimulus:
    """Input of a network, with noise on whole pixels of the images as the network takes them.

    Raises:
      ValueError: if the noise is no Noise.
    """
    if noise is not None:
        if not isinstance(noise, Noise):
            raise ValueError(f"noise is {noise!r}; want snnjax.snn.noise.make_noise(density)")
        noise = replace(noise, channel_axis=getattr(network, "channel_axis", -1))
    return Stimulus(images, key, first, noise)  # type: ignore[arg-type]


def image_keys(key: jax.Array, first: ArrayLike, batch_size: int) -> jax.Array:
    """One key for each image, `[B]`: fold_in(key, first + i)."""
    indices = jnp.asarray(first) + jnp.arange(batch_size, dtype=jnp.int32)
    return jax.vmap(partial(jax.random.fold_in, key))(indices)


def frame(stimulus: Stimulus, gain: ArrayLike, t: ArrayLike, encoding: Encoding) -> jax.Array:
    """Input of the first layer at timestep t: the images, corrupted and then encoded.

    The noise has its own keys, derived from fold_in(key, NOISE) instead of `key`.

    Args:
      stimulus: images, key, index of the first image, and noise.
      gain: c of eq. 17.
      t: the timestep, from 0; may be traced.
      encoding: how an image becomes input.

    Returns:
      `[B, H, W, C]`.

    Raises:
      ValueError: if a key is missing for the noise.
    """
    images, key, first, noise = stimulus
    if noise is not None:
        if key is None:
            raise ValueError("noise is drawn at random; pass key=jax.random.key(seed)")
        own = image_keys(jax.random.fold_in(key, NOISE), first, images.shape[0])
        images = corrupt(own, images, noise, t)
    keys = None if key is None else image_keys(key, first, images.shape[0])
    return encoding.encode(keys, images, gain, t)
