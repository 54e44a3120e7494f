"""The axis of a site's value that holds the images, alone or joined with others."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from snnjax.conversion.spiking.program import RecordedFunction
from snnjax.conversion.spiking.sites import Site

__all__ = ["ImageAxis", "as_made", "check_sites", "find_image_axis", "images_first"]


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


def check_sites(
    two: tuple[RecordedFunction, tuple[Site, ...]], three: tuple[RecordedFunction, tuple[Site, ...]]
) -> None:
    """Check that the programs for 2 and for 3 images have the same sites.

    Args:
      two: the program for 2 images, and its sites.
      three: the same for 3 images.

    Raises:
      ValueError: naming what differs first, if they have not.
    """
    (program, sites), (other, others) = two, three
    names, wanted = ([site.name for site in of] for of in (sites, others))
    if names == wanted:
        return
    if len(sites) == len(others):
        steps = zip(program.steps, other.steps, strict=False)
        pairs = [(a, b) for a, b in steps if a.kind != b.kind]
        pairs += [(a.step, b.step) for a, b in zip(sites, others, strict=True) if a.name != b.name]
        first, second = pairs[0]
        raise ValueError(
            "operations of apply depend on the number of images: for 2 images it has"
            f" {first.kind} at {first.operation.line} where it has {second.kind} at"
            f" {second.operation.line} for 3; want the same operations for any number, such as"
            " x.reshape(len(x), -1) in place of a fixed number of rows"
        )
    name, line = next(
        (site.name, site.step.operation.line)
        for site in (*sites, *others)
        if site.name not in {*names} & {*wanted}
    )
    raise ValueError(
        f"operations of apply depend on the number of images: it has {len(sites)} sites for 2"
        f" images and {len(others)} for 3: {name} at {line} is in one of them; want the same"
        " operations for any number, and jax.vmap in place of a loop over images"
    )


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
