"""Kernels as sums of bfloat16 numbers, for exact products with whole numbers.

bfloat16 has 8 significant bits, so it holds every whole number up to MOST_WHOLE, and a float32
number is the sum of three bfloat16 numbers. A product of two bfloat16 numbers is exact in float32.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["FASTEST", "MOST_WHOLE", "SplitKernel", "repeat_inputs", "split_kernel"]

MOST_WHOLE = 256
"""Whole number up to which bfloat16 holds all."""

FASTEST = jax.lax.Precision.DEFAULT
"""Precision of products with parts. Where a library has no convolution of bfloat16 numbers with a
float32 result, XLA converts them to float32; the default precision then lets a GPU multiply them as
TF32 numbers, which have 11 significant bits and hold them too."""


class SplitKernel(NamedTuple):
    """A kernel and the bfloat16 numbers whose sum it is, for inputs that bfloat16 holds.

    kernel: `[..., C, features]`.
    parts: `[..., n * C, features]` in bfloat16; the parts follow one another along the inputs, so
      that one product sums them in float32.
    """

    kernel: jax.Array
    parts: jax.Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the kernel itself."""
        return self.kernel.shape


def split_kernel(kernel: jax.Array, count: int) -> SplitKernel:
    """Split a kernel into bfloat16 numbers; three are any float32 number, one is a whole number up
    to MOST_WHOLE.

    Args:
      kernel: `[..., C, features]`.
      count: n, number of parts.
    """
    parts, rest = [], kernel
    for _ in range(count):
        # XLA may leave out a conversion to bfloat16 and back, but not this rounding.
        part = jax.lax.reduce_precision(rest, exponent_bits=8, mantissa_bits=7)
        parts.append(part.astype(jnp.bfloat16))
        rest = rest - part
    return SplitKernel(kernel, jnp.concatenate(parts, -2))


def repeat_inputs(x: jax.Array, kernel: SplitKernel) -> jax.Array:
    """Return the input in bfloat16, once for each part, `[..., n * C]`.

    Args:
      x: `[..., C]`, numbers that bfloat16 holds; others would be rounded.
      kernel: that multiplies the result, by its `parts`.
    """
    count = kernel.parts.shape[-2] // kernel.shape[-2]
    return jnp.concatenate([x.astype(jnp.bfloat16)] * count, -1)
