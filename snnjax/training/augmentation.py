"""Random changes of training images, compiled into the training step."""

from __future__ import annotations

from functools import partial

import dm_pix
import jax
import jax.numpy as jnp

from snnjax.runtime.images import unit_images

__all__ = ["augment", "check_colour", "colour", "cutout", "flip", "shift"]

GREY = 0.5


def augment(
    key: jax.Array,
    images: jax.Array,
    *,
    max_shift: int = 0,
    flip_images: bool = False,
    colour_strength: float = 0.0,
    cutout_size: int = 0,
) -> jax.Array:
    """Return images as floats, bytes divided by 255, with random changes.

    Args:
      key: to draw with.
      images: bytes (uint8) or floats, `[B, H, W, C]`, or `[B, D]` without changes.
      max_shift: largest translation along each axis, in pixels; 0 for none.
      flip_images: mirror half of the images left to right.
      colour_strength: largest relative change of brightness, contrast and saturation; 0 for none.
      cutout_size: side of a grey square in pixels; 0 for none.

    Raises:
      ValueError: if colours are to change and the images do not have three channels.
    """
    flip_key, colour_key, cutout_key = (jax.random.fold_in(key, i) for i in range(1, 4))
    if max_shift:
        images = shift(key, images, max_shift=max_shift)
    if flip_images:
        images = flip(flip_key, images)
    images = unit_images(images)
    if colour_strength:
        images = colour(colour_key, images, strength=colour_strength)
    if cutout_size:
        images = cutout(cutout_key, images, size=cutout_size)
    return images


def shift(key: jax.Array, images: jax.Array, *, max_shift: int) -> jax.Array:
    """Translate each image of `[B, H, W, C]` by its own random offset; pixels from outside are 0.

    Raises:
      ValueError: from JAX, if `max_shift` is negative.
    """
    padding = ((0, 0), (max_shift, max_shift), (max_shift, max_shift), (0, 0))
    padded = jnp.pad(images, padding)
    offsets = jax.random.randint(key, (len(images), 2), 0, 2 * max_shift + 1, jnp.int32)

    def crop(image: jax.Array, offset: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (offset[0], offset[1], jnp.int32(0)), images.shape[1:])

    return jax.vmap(crop)(padded, offsets)


def flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Mirror each image of `[B, H, W, C]` left to right with a probability of one half."""
    return jax.vmap(dm_pix.random_flip_left_right)(jax.random.split(key, len(images)), images)


def check_colour(strength: float, shape: tuple[int, ...]) -> None:
    """Check that images of a shape have colours to change; a strength of 0 changes none.

    Raises:
      ValueError: if they do not have three channels.
    """
    if strength and shape[-1] != 3:
        raise ValueError(
            f"colour is {strength}, but the images have {shape[-1]} channels; want 0, or images"
            " with 3 channels"
        )


def colour(key: jax.Array, images: jax.Array, *, strength: float) -> jax.Array:
    """Change the brightness, contrast and saturation of each image by its own random amounts.

    Args:
      key: to draw with.
      images: floats in [0, 1], `[B, H, W, 3]`.
      strength: largest relative change, in (0, 1).

    Raises:
      ValueError: if the images do not have three channels.
    """
    check_colour(strength, images.shape)
    low, high = 1 - strength, 1 + strength
    changes = (
        partial(dm_pix.random_brightness, max_delta=strength),
        partial(dm_pix.random_contrast, lower=low, upper=high),
        partial(dm_pix.random_saturation, lower=low, upper=high),
    )
    for i, change in enumerate(changes):
        keys = jax.random.split(jax.random.fold_in(key, i), len(images))
        images = jnp.clip(jax.vmap(change)(keys, images), 0.0, 1.0)
    return images


def cutout(key: jax.Array, images: jax.Array, *, size: int) -> jax.Array:
    """Cover a square around a random pixel of each image with grey; part may lie outside.

    Source: DeVries and Taylor 2017.

    Args:
      key: to draw with.
      images: floats in [0, 1], `[B, H, W, C]`.
      size: side of the square in pixels.

    Raises:
      Nothing.
    """
    batch, rows, columns, _ = images.shape
    row_key, column_key = jax.random.split(key)

    def covered(key: jax.Array, length: int) -> jax.Array:
        start = jax.random.randint(key, (batch, 1), 0, length, jnp.int32) - size // 2
        position = jnp.arange(length)
        return (position >= start) & (position < start + size)

    square = covered(row_key, rows)[:, :, None] & covered(column_key, columns)[:, None, :]
    return jnp.where(square[..., None], GREY, images)
