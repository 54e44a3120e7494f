"""Salt-and-pepper noise on images, in all timesteps or in some."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_count, check_value
from snnjax.runtime.images import check_floats

__all__ = ["Noise", "corrupt", "make_noise", "salt_and_pepper"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Noise:
    """Salt-and-pepper noise in `steps` of every `out_of` timesteps; `make_noise` checks the fields.

    density and steps are traced; out_of and fresh are static.
    """

    density: ArrayLike
    """share of the pixels that are noisy, in [0, 1]"""
    steps: ArrayLike = 1
    """k: number of noisy timesteps in a block, drawn for each image and block"""
    out_of: int = field(default=1, metadata={"static": True})
    """n: number of timesteps in a block"""
    fresh: bool = field(default=True, metadata={"static": True})
    """True to draw new pixels in each noisy timestep; False to keep the pixels of an image"""
    channel_axis: int = field(default=-1, metadata={"static": True})
    """axis of the channels among the three axes of an image; simulations set it to the network's"""


def make_noise(
    density: ArrayLike, *, steps: ArrayLike = 1, out_of: int = 1, fresh: bool = True
) -> Noise:
    """Noise for `simulation.simulate`; by default in every timestep, drawn anew in each.

    Source: He et al. 2024, section 5.2, which corrupts 2 of every 5 timesteps.
    Choice: the paper does not say whether noisy timesteps share their pixels; `fresh` sets it.

    Args:
      density: share of the pixels, in [0, 1].
      steps: k, from 0 to `out_of`.
      out_of: n, at least 1.
      fresh: True to draw new pixels in each noisy timestep.

    Raises:
      ValueError: if a number that is not traced is out of its range.
    """
    out_of = check_count("out_of", out_of)
    _check_density(density)
    check_value(
        "steps", steps, lambda k: (k >= 0) & (k <= out_of), f"it from 0 to out_of = {out_of}"
    )
    return Noise(density, steps, out_of, fresh)


def salt_and_pepper(
    key: jax.Array, images: jax.Array, density: ArrayLike, channel_axis: int = -1
) -> jax.Array:
    """Set a share of the pixels to 0 or 1, with equal probability.

    Source: He et al. 2024, section 5.2; the rule for a pixel is from Wang et al. 2023.
    Choice: the paper's signal-to-noise ratio is read as the density, 0 for a clean image;
    all channels of a pixel change together. With the same key, the noisy pixels of a lower
    density are a subset of the noisy pixels of a higher one.

    Args:
      key: key of one draw for all of `images`.
      images: floats `[..., H, W, C]` in [0, 1], or with the channels at another of the last three
        axes; or `[D]` or `[B, D]` without channels.
      density: share of the pixels, in [0, 1]; may be traced.
      channel_axis: axis of the channels among the last three, -1 to 2.

    Raises:
      ValueError: if a density that is not traced is outside [0, 1], or images are no floats.
    """
    _check_density(density)
    images = check_floats(jnp.asarray(images))
    where, which = jax.random.split(key)
    pixels = list(images.shape)
    if images.ndim > 2:
        pixels[channel_axis if channel_axis < 0 else channel_axis - 3] = 1
    value = jax.random.bernoulli(which, jnp.float32(0.5), pixels).astype(images.dtype)
    return jnp.where(jax.random.uniform(where, pixels, jnp.float32) < density, value, images)


def corrupt(keys: jax.Array, images: jax.Array, noise: Noise, t: ArrayLike) -> jax.Array:
    """Images with the noise of timestep t.

    Each image has its own draws: its noisy timesteps depend on its key and the block, and its
    noisy pixels on its key and, if the noise is `fresh`, on the timestep.

    Args:
      keys: one key for each image, `[B]`.
      images: `[B, H, W, C]` in [0, 1], or with the channels at `noise.channel_axis`, or `[B, D]`.
      noise: density and timesteps of the noise.
      t: the timestep, from 0; may be traced.

    Raises:
      Nothing.
    """
    block, place = jnp.divmod(jnp.asarray(t), noise.out_of)

    def one(key: jax.Array, image: jax.Array) -> jax.Array:
        times, pixels = jax.random.split(key)
        draws = jax.random.uniform(jax.random.fold_in(times, block), (noise.out_of,), jnp.float32)
        noisy = jnp.sum(draws < draws[place]) < noise.steps  # rank of t in its block
        pixels = jax.random.fold_in(pixels, t if noise.fresh else 0)
        corrupted = salt_and_pepper(pixels, image, noise.density, noise.channel_axis)
        return jnp.where(noisy, corrupted, image)

    return jax.vmap(one)(keys, images)


def _check_density(density: ArrayLike) -> None:
    check_value(
        "density", density, lambda x: (x >= 0) & (x <= 1), "a share of the pixels in [0, 1]"
    )
