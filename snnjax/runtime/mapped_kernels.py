"""Convolutions of several images with a kernel each, under `jax.vmap`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.custom_batching import custom_vmap

__all__ = ["loop_over_mapped_kernels"]

Convolve = Callable[[jax.Array, jax.Array], jax.Array]


def loop_over_mapped_kernels(convolve: Convolve, learning: Convolve) -> Convolve:
    """Make `jax.vmap` loop where it maps a convolution over kernels and images on a CPU.

    JAX's own rule turns them into groups of one convolution, which takes a CPU three times as long.
    Mapped images with one kernel become a larger batch, and one batch with mapped kernels gets
    more features, as with JAX's rule.

    Args:
      convolve: of images `[B, H, W, C]` and a kernel, linear in each.
      learning: the same function by the algorithm that is fast for gradients, which are its own.
    """

    @custom_vmap
    def call(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolve(x, kernel)

    @call.def_vmap  # type: ignore[untyped-decorator]
    def mapped(
        count: int, is_mapped: Sequence[bool], x: jax.Array, kernel: jax.Array
    ) -> tuple[jax.Array, bool]:
        images_are_mapped, kernels_are_mapped = is_mapped
        if not kernels_are_mapped:
            y = call(x.reshape(-1, *x.shape[2:]), kernel)
            return y.reshape(count, -1, *y.shape[1:]), True
        if images_are_mapped and jax.default_backend() == "cpu":
            return jax.lax.map(lambda pair: call(*pair), (x, kernel)), True
        return jax.vmap(convolve, (0 if images_are_mapped else None, 0))(x, kernel), True

    @jax.custom_vjp
    def differentiable(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return call(x, kernel)

    def forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Any]:
        return differentiable(x, kernel), (x, kernel)

    def backward(operands: Any, cotangent: jax.Array) -> Any:
        return jax.vjp(learning, *operands)[1](cotangent)

    differentiable.defvjp(forward, backward)
    return differentiable
