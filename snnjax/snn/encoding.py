"""Encodings of a batch of images as input at one timestep.

An `Encoding` has a pure function `encode(keys, images, gain, t) -> [B, H, W, C]`, whose mean over
time is gain * image. Where |gain * image| > 1, it saturates at one spike per timestep, except for
constant current. `temporal` encodes gain * image in the time of a spike instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_count

__all__ = ["CONSTANT", "DETERMINISTIC", "ENCODINGS", "RATE", "Encoding", "temporal"]

EncodeFn = Callable[[Any, jax.Array, ArrayLike, ArrayLike], jax.Array]


class Encoding(NamedTuple):
    """Function of images, and facts about it.

    encode: input at one timestep.
    needs_key: True if it is random.
    varies: True if the timestep or the key matters.
    largest: largest |gain * image| that it can represent; 1 for spikes, inf without a limit.
    """

    encode: EncodeFn
    needs_key: bool
    varies: bool
    largest: float = math.inf


def _constant(
    keys: jax.Array | None, images: jax.Array, gain: ArrayLike, t: ArrayLike
) -> jax.Array:
    """The image itself as a current, the same at every timestep.

    Source: the analog input of Rueckauer et al. 2017; the paper does not use it.
    """
    del keys, t
    return jnp.asarray(gain) * images


def _rate(keys: jax.Array, images: jax.Array, gain: ArrayLike, t: ArrayLike) -> jax.Array:
    """Bernoulli spikes: sign(x) with probability gain * |x|, independent for every pixel.

    Source: He et al. 2024, eq. 17.
    Choice: eq. 17 has one random R and no negative input; here every pixel, channel, timestep
    and image has its own R, and a negative input sends -1. R is in [0, 1), and a pixel fires
    if R < gain * |x|, so that 0 never fires and 1 always does.

    Args:
      keys: one key for each image, `[B]`, so a draw does not depend on the batch.
      images: `[B, H, W, C]`.
      gain: c of eq. 17, above 0.
      t: the timestep, from 0.
    """

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(key, t), images.shape[1:], jnp.float32)

    x = gain * images
    return jnp.sign(x) * (jax.vmap(draw)(keys) < jnp.abs(x))


def _deterministic(
    keys: jax.Array | None, images: jax.Array, gain: ArrayLike, t: ArrayLike
) -> jax.Array:
    """Evenly spaced spikes: the spike count after t timesteps is t * gain * |x|, rounded.

    Source: error-feedback coding of a firing rate. For uniform pixels its RMSE is
    1 / (sqrt(12) T), against 1 / sqrt(6 T) of Bernoulli spikes.
    """
    del keys
    x = gain * images
    size = jnp.minimum(jnp.abs(x), 1.0)
    sent = jnp.floor(jnp.asarray(t) * size + 0.5)
    return jnp.sign(x) * (jnp.floor((jnp.asarray(t) + 1) * size + 0.5) - sent)


@lru_cache
def temporal(window: int) -> Encoding:
    """Time-to-first-spike coding: one spike per window, earlier for brighter pixels.

    A pixel fires at timestep round((1 - gain * |x|) * (window - 1)) of every window; 0 never
    fires.

    Source: He et al. 2024, section 3 and figure 4, in words only.
    Choice: spike times fall linearly with the value. Converted networks need firing rates, so
    this encoding is for illustration and comparison only.

    Args:
      window: number of timesteps in a window, at least 1.

    Raises:
      ValueError: if the window is below 1.
    """
    window = check_count("window", window)

    def encode(
        keys: jax.Array | None, images: jax.Array, gain: ArrayLike, t: ArrayLike
    ) -> jax.Array:
        del keys
        x = gain * images
        size = jnp.minimum(jnp.abs(x), 1.0)
        fires = jnp.round((1 - size) * (window - 1)) == jnp.asarray(t) % window
        return jnp.sign(x) * (fires & (size > 0))

    return Encoding(encode, needs_key=False, varies=True, largest=1.0)


CONSTANT = Encoding(_constant, needs_key=False, varies=False)
"""A constant current; the first layer is then computed once."""

RATE = Encoding(_rate, needs_key=True, varies=True, largest=1.0)
"""Bernoulli rate coding (eq. 17)."""

DETERMINISTIC = Encoding(_deterministic, needs_key=False, varies=True, largest=1.0)
"""Evenly spaced spikes of the same firing rate, not random."""

ENCODINGS = {"constant": CONSTANT, "rate": RATE, "deterministic": DETERMINISTIC}
