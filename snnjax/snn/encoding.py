"""One timestep of input spikes for a batch of images.

An `Encoding` is a pure function `encode(key, images, gain, t) -> [B, H, W, C]` whose mean
over time stands for gain * image. Values with |gain * image| > 1 saturate at one spike per
step, except under constant current. `temporal` makes one whose timing stands for it instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

__all__ = ["CONSTANT", "DETERMINISTIC", "ENCODINGS", "RATE", "Encoding", "temporal"]

EncodeFn = Callable[[Any, jax.Array, ArrayLike, ArrayLike], jax.Array]


class Encoding(NamedTuple):
    """encode: one timestep; needs_key: whether it draws; varies: whether t or key matter."""

    encode: EncodeFn
    needs_key: bool
    varies: bool


def _constant(
    keys: jax.Array | None, images: jax.Array, gain: ArrayLike, t: ArrayLike
) -> jax.Array:
    """The image itself as a current, the same at every timestep.

    Source: the analog input of Rueckauer et al. 2017; the paper does not use it.
    """
    del keys, t
    return jnp.asarray(gain) * images


def _rate(keys: jax.Array, images: jax.Array, gain: ArrayLike, t: ArrayLike) -> jax.Array:
    """Bernoulli spikes: sign(x) with probability gain * |x|, drawn anew for every pixel.

    Source: He et al. 2024, eq. 17.
    Choice: eq. 17 compares with one R and knows no negative input; here every pixel,
    channel, step and image has its own draw, and an input below zero sends -1. R is in
    [0, 1) and fires when below gain * |x|, so that 0 never fires and 1 always does.

    Args:
      keys: one key for each image, `[B]`, so a draw does not depend on the batch.
      images: `[B, H, W, C]`.
      gain: c of eq. 17, above 0.
      t: the timestep, from 0.
    """

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(key, t), images.shape[1:])

    x = gain * images
    return jnp.sign(x) * (jax.vmap(draw)(keys) < jnp.abs(x))


def _deterministic(
    keys: jax.Array | None, images: jax.Array, gain: ArrayLike, t: ArrayLike
) -> jax.Array:
    """Evenly spread spikes: after t steps, t * gain * |x| of them, rounded.

    Source: the error-feedback coding of a rate; RMSE 1 / (sqrt(12) T) for uniform pixels
    against 1 / sqrt(6 T) for Bernoulli spikes.
    """
    del keys
    x = gain * images
    size = jnp.minimum(jnp.abs(x), 1.0)
    sent = jnp.floor(jnp.asarray(t) * size + 0.5)
    return jnp.sign(x) * (jnp.floor((jnp.asarray(t) + 1) * size + 0.5) - sent)


@lru_cache
def temporal(window: int) -> Encoding:
    """Coding by the time of the first spike: the brighter, the sooner; one spike a window.

    A pixel of |gain * x| = 1 fires in the first timestep of every window and the faintest in
    the last, at round((1 - gain * |x|) * (window - 1)); 0 never fires.

    Source: He et al. 2024, section 3 and figure 4, in words only.
    Choice: times fall linearly with the value. The paper and this package's converted networks
    read rates, so this is to look at and to compare with; a network converted for rates
    does not understand it.

    Args:
      window: timesteps of a window, at least 1.

    Raises:
      ValueError: if the window is below 1.
    """
    if window < 1:
        raise ValueError(f"window is {window}; want at least 1 timestep")

    def encode(
        keys: jax.Array | None, images: jax.Array, gain: ArrayLike, t: ArrayLike
    ) -> jax.Array:
        del keys
        x = gain * images
        size = jnp.minimum(jnp.abs(x), 1.0)
        fires = jnp.round((1 - size) * (window - 1)) == jnp.asarray(t) % window
        return jnp.sign(x) * (fires & (size > 0))

    return Encoding(encode, needs_key=False, varies=True)


CONSTANT = Encoding(_constant, needs_key=False, varies=False)
"""A constant current; the first layer is then computed once."""

RATE = Encoding(_rate, needs_key=True, varies=True)
"""Bernoulli rate coding (eq. 17)."""

DETERMINISTIC = Encoding(_deterministic, needs_key=False, varies=True)
"""The same rate without chance."""

ENCODINGS = {"constant": CONSTANT, "rate": RATE, "deterministic": DETERMINISTIC}
