"""Products of dense kernels and spikes that skip silent inputs, on a CPU.

An input is silent if it is 0 in all timesteps that are computed at once. In a trained network most
inputs of an image are silent, each image's own, so each image gathers its own rows of the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from snnjax.runtime.cores import count_cores

__all__ = ["SkippingKernel", "dot_active", "skipping_pays"]

Dot = Callable[[jax.Array, jax.Array], jax.Array]

MOST_IMAGES = 16
"""Batch size up to which silent inputs are skipped: images are computed one after another."""

MOST_CORES = 2
"""Number of cores up to which silent inputs are skipped. On one core a product takes 0.4 to 0.6 of
the dense one's time at a quarter of active inputs, and XLA divides only the dense one among
threads; `experiments/throughput` measures one core and two."""

FEWEST_CHANNELS = 256
FEWEST_WEIGHTS = 2**18
"""Inputs and outputs, and weights, from which skipping saves time: measured for 16 timesteps and a
quarter of active inputs, 256 x 256 takes 0.9 to 1.2 of the time, 512 x 512 takes 0.6 to 0.8."""

FEWEST_STEPS = 8
"""Timesteps at once from which skipping saves time, since rows of the kernel are gathered once for
all of them: at a quarter of active inputs 4 timesteps take 0.7 to 0.9 of the dense product's time
and 16 take 0.4 to 0.6."""

MOST_ACTIVE = 3 / 8
"""Share of active inputs up to which they are gathered: there it takes 0.5 to 1.0 of the time of
the dense product, at a half 0.6 to 1.6."""

TOGETHER = 64
"""Rows of a kernel that are gathered at once, so that they stay in the cache of a core; with 32 or
128 a product takes as long or up to 1.2 times as long."""


@partial(jax.tree_util.register_dataclass, data_fields=["kernel"], meta_fields=["batch_size"])
@dataclass(frozen=True)
class SkippingKernel:
    """A kernel whose product with spikes skips silent inputs.

    kernel: `[N, features]`.
    batch_size: B, number of images at a time.
    """

    kernel: jax.Array
    batch_size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the kernel itself."""
        return self.kernel.shape


def skipping_pays(shape: tuple[int, ...], batch_size: int) -> bool:
    """True if products with a kernel are faster without silent inputs.

    Only on a CPU of few cores that is one device: loops over a part of the kernel keep one core
    busy, and a GPU computes the dense product in less time than it needs to find active inputs.

    Args:
      shape: `(N, features)`.
      batch_size: B, number of images at a time.
    """
    is_small_cpu = (
        jax.default_backend() == "cpu"
        and jax.local_device_count() == 1
        and count_cores() <= MOST_CORES
    )
    is_large = min(shape) >= FEWEST_CHANNELS and math.prod(shape) >= FEWEST_WEIGHTS
    return is_small_cpu and is_large and batch_size <= MOST_IMAGES


def dot_active(x: jax.Array, kernel: SkippingKernel) -> jax.Array:
    """Multiply inputs by a kernel, `[B * n, features]`, without inputs that are silent.

    The products are the same as in a dense product, and the order of the sum is another. If more
    than MOST_ACTIVE of the inputs are active, or fewer than FEWEST_STEPS timesteps are computed at
    once, it is the dense product. So are derivatives, and the products of mapped inputs or kernels
    under `jax.vmap`.

    Args:
      x: `[B * n, N]`, the n timesteps of an image together.
      kernel: for batches of B images.
    """
    if x.shape[0] < FEWEST_STEPS * kernel.batch_size:
        return _dot(x, kernel.kernel)
    return _dot_by_image(kernel.batch_size)(x, kernel.kernel)


def _dot(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jnp.dot(x, kernel, precision=jax.lax.Precision.HIGHEST)


@cache
def _dot_by_image(batch_size: int) -> Dot:
    """The product for a batch size, with rules for `jax.vmap` and derivatives."""

    @custom_vmap
    def call(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _choose(x, kernel, batch_size)

    @call.def_vmap  # type: ignore[untyped-decorator]
    def mapped(
        count: int, is_mapped: Sequence[bool], x: jax.Array, kernel: jax.Array
    ) -> tuple[jax.Array, bool]:
        del count
        return jax.vmap(_dot, [0 if of else None for of in is_mapped])(x, kernel), True

    @jax.custom_jvp
    def differentiable(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return call(x, kernel)

    differentiable.defjvp(partial(jax.jvp, _dot))
    return differentiable


def _choose(x: jax.Array, kernel: jax.Array, batch_size: int) -> jax.Array:
    """Skip silent inputs unless many of the inputs of all images are active."""
    by_image = x.reshape(batch_size, -1, x.shape[-1])
    active = (by_image != 0).any(1)
    few = active.sum(dtype=jnp.int32) <= int(MOST_ACTIVE * active.size)
    return jax.lax.cond(
        few,
        lambda: jax.lax.map(lambda image: _gather(kernel, *image), (by_image, active)),
        lambda: _dot(x, kernel).reshape(*by_image.shape[:2], -1),
    ).reshape(-1, kernel.shape[-1])


def _gather(kernel: jax.Array, x: jax.Array, active: jax.Array) -> jax.Array:
    """Product of one image's inputs `[n, N]` with the rows of the kernel that are active `[N]`."""
    inputs, rows = kernel.shape[0], jnp.arange(kernel.shape[0], dtype=jnp.int32)
    order = jnp.sort(jnp.where(active, rows, inputs))  # the active ones first
    order = jnp.pad(order, (0, -inputs % TOGETHER), constant_values=inputs)
    spikes = jnp.take(x, order, 1, mode="fill", fill_value=0)

    def add(block: jax.Array, y: jax.Array) -> jax.Array:
        some = partial(jax.lax.dynamic_slice_in_dim, start_index=block * TOGETHER)
        weights = jnp.take(kernel, some(order, slice_size=TOGETHER), 0, mode="clip")
        return y + _dot(some(spikes, slice_size=TOGETHER, axis=1), weights)

    blocks = (active.sum(dtype=jnp.int32) + TOGETHER - 1) // TOGETHER
    start = jnp.zeros((len(x), kernel.shape[1]), jnp.result_type(x, kernel))
    return jax.lax.fori_loop(jnp.int32(0), blocks, add, start)
