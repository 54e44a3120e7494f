"""The axis of a site's value that holds the images, alone or joined with others."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax.conversion.spiking.sites import Site

__all__ = ["ImageAxis", "as_made", "find_image_axis", "images_first"]


class ImageAxis(NamedTuple):
    """Place of the images in a value: on one axis, which is `(blocks, B, entries / blocks)` joined.

    axis: the place of the axis.
    entries: number of entries of each image on it; 1 for an axis of its own.
    blocks: number of times that the images follow each other: 1 if each image's entries are
      consecutive, `entries` if the images are the fast part of the axis.
    """

    axis: int
    entries: int = 1
    blocks: int = 1

    def fits(self, shape: tuple[int, ...], batch: int) -> bool:
        """Return True if a value of that shape can hold a batch so."""
        return self.axis < len(shape) and shape[self.axis] == batch * self.entries


def find_image_axis(two: Site, three: Site) -> ImageAxis:
    """Return the axis that grows with the number of images, each image's entries consecutive.

    Args:
      two: a site in the program for 2 images.
      three: the same site for 3 images.

    Raises:
      ValueError: if several axes grow, or one not in proportion.
    """
    shapes = two.value.shape, three.value.shape
    axes = [place for place, (a, b) in enumerate(zip(*shapes, strict=False)) if a != b]
    if len(axes) != 1 or 3 * shapes[0][axes[0]] != 2 * shapes[1][axes[0]]:
        raise ValueError(
            f"{two.name} at {two.step.operation.line} has shape {shapes[0]} for 2 images and"
            f" {shapes[1]} for 3; want one axis that holds the images, and jax.vmap in place of a"
            " loop over images"
        )
    return ImageAxis(axes[0], shapes[0][axes[0]] // 2)


def images_first(value: jax.Array, place: ImageAxis) -> jax.Array:
    """Return a value as `[B, ...]`; an axis that is joined becomes `[B, entries, ...]`."""
    moved = jnp.moveaxis(value, place.axis, 0)
    if place.entries == 1:
        return moved
    rest = moved.shape[1:]
    blocks = moved.reshape(place.blocks, -1, place.entries // place.blocks, math.prod(rest))
    return jnp.swapaxes(blocks, 0, 1).reshape(-1, place.entries, *rest)


def as_made(rows: jax.Array, place: ImageAxis) -> jax.Array:
    """Return what `images_first` was given."""
    if place.entries > 1:
        rest = rows.shape[2:]
        blocks = rows.reshape(len(rows), place.blocks, -1, math.prod(rest))
        rows = jnp.swapaxes(blocks, 0, 1).reshape(-1, *rest)
    return jnp.moveaxis(rows, 0, place.axis)
