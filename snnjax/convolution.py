"""How a convolution is computed: XLA's own, or one matrix product of patches.

XLA's convolutions are slow on a CPU where there are few input channels or few pixels. There,
copying the patches out and multiplying once is faster, forward and backward, and both give
the same sums in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["borders", "conv_general_dilated", "from_patches", "suits_patches"]

Padding = str | Sequence[tuple[int, int]]


def from_patches(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Padding,
    *,
    precision: Any = None,
) -> jax.Array:
    """A convolution as one product of `[B * H' * W', kh * kw * C]` and `[kh * kw * C, features]`.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[kh, kw, C, features]`.
      strides: `(sh, sw)`.
      padding: "SAME", "VALID", or the border before and after each axis.
      precision: of the product, as in `jax.numpy.dot`.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    kh, kw, channels, features = kernel.shape
    borders, (rows, columns) = _borders_and_size(x.shape, kernel.shape, strides, padding)
    x = jnp.pad(x, ((0, 0), *borders, (0, 0)))
    sh, sw = strides
    patches = [
        x[:, i : i + (rows - 1) * sh + 1 : sh, j : j + (columns - 1) * sw + 1 : sw]
        for i in range(kh)
        for j in range(kw)
    ]
    # Without the barrier XLA fuses the copies into the products and makes them once for each.
    rows_of = jax.lax.optimization_barrier(jnp.concatenate(patches, -1))
    y = jnp.dot(
        rows_of.reshape(-1, kh * kw * channels), kernel.reshape(-1, features), precision=precision
    )
    return y.reshape(x.shape[0], rows, columns, features)


def suits_patches(
    shape: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
    *,
    gradient: bool = False,
) -> bool:
    """Whether a CPU is faster with patches, measured over the shapes of the known networks.

    They win for up to 4 input channels, for a kernel of one pixel, and for up to 4 output
    pixels; where the gradient is wanted too, for up to 64.

    Args:
      shape: of the input, `[B, H, W, C]`.
      kernel: its shape, `[kh, kw, C, features]`.
      strides: `(sh, sw)`.
      padding: "SAME", "VALID", or the border before and after each axis.
      gradient: whether the gradient is computed too.
    """
    kh, kw, channels, _ = kernel
    _, (rows, columns) = _borders_and_size(shape, kernel, strides, padding)
    return channels <= 4 or kh * kw == 1 or rows * columns <= (64 if gradient else 4)


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = ("NHWC", "HWIO", "NHWC"),
    feature_group_count: int = 1,
    precision: Any = None,
    *,
    gradient: bool = False,
) -> jax.Array:
    """`jax.lax.conv_general_dilated` for channels last, by patches where that is faster.

    Choice: by patches on a CPU, without groups or dilation, for what `suits_patches`.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    plain = all(d == 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
    if (
        plain
        and feature_group_count == 1
        and jax.default_backend() == "cpu"
        and suits_patches(lhs.shape, rhs.shape, window_strides, padding, gradient=gradient)
    ):
        return from_patches(lhs, rhs, window_strides, padding, precision=precision)
    return jax.lax.conv_general_dilated(
        lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
        feature_group_count, precision=precision,
    )  # fmt: skip


def borders(
    size: Sequence[int], window: Sequence[int], strides: Sequence[int], padding: Padding
) -> Sequence[tuple[int, int]]:
    """The border before and after each axis of a map, for a window of so many pixels.

    Raises:
      ValueError: from JAX, if `padding` is no name that it knows.
    """
    if isinstance(padding, str):
        return jax.lax.padtype_to_pads(size, window, strides, padding)
    return padding


def _borders_and_size(
    shape: Sequence[int], kernel: Sequence[int], strides: Sequence[int], padding: Padding
) -> tuple[Sequence[tuple[int, int]], tuple[int, int]]:
    """The border before and after each axis, and rows and columns of the output."""
    size, window = shape[1:3], kernel[:2]
    padding = borders(size, window, strides, padding)
    rows, columns = (
        (n + sum(border) - w) // s + 1
        for n, border, w, s in zip(size, padding, window, strides, strict=True)
    )
    return padding, (rows, columns)
