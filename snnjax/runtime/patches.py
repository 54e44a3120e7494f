"""Convolutions of few channels or few pixels: one product of patches, or pixels in pairs.

XLA's convolutions are slow on a CPU where there are few input channels or few pixels. Copying the
patches out and multiplying once is faster there, forward and backward. With up to 16 channels half
of a CPU's vectors stay empty; two pixels side by side fill them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from snnjax.runtime.windows import Window

__all__ = ["conv_by_pairs", "conv_by_patches", "pairs_are_faster", "patches_are_faster"]


def conv_by_patches(
    x: jax.Array, kernel: jax.Array, window: Window, *, groups: int = 1, precision: Any = None
) -> jax.Array:
    """Convolve by one matrix product, `[B * H' * W', kh * kw * C]` by `[kh * kw * C, features]`.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[kh, kw, C / groups, features]`.
      window: of `(kh, kw)` taps, with dilation of 1.
      groups: of channels, with a matrix product each.
      precision: of the product, as in `jax.numpy.dot`.

    Returns:
      `[B, H', W', features]`.

    Raises:
      ValueError: if the padded map is smaller than the window.
      TypeError: from JAX, if shapes do not fit.
    """
    if groups != 1:
        apart = [array.reshape(*array.shape[:3], groups, -1) for array in (x, kernel)]
        of_group = partial(conv_by_patches, window=window, precision=precision)
        y = jax.vmap(of_group, (3, 3), 3)(*apart)
        return y.reshape(*y.shape[:3], -1)
    kh, kw, channels, features = kernel.shape
    rows, columns = window.outputs(x.shape[1:])
    x = jnp.pad(x, ((0, 0), *window.pads(x.shape[1:]), (0, 0)))
    sh, sw = window.strides
    taps = [
        x[:, i : i + (rows - 1) * sh + 1 : sh, j : j + (columns - 1) * sw + 1 : sw]
        for i in range(kh)
        for j in range(kw)
    ]
    # Without the barrier XLA fuses the copies into the products and makes them once for each.
    patches = jax.lax.optimization_barrier(jnp.concatenate(taps, -1))
    y = jnp.dot(
        patches.reshape(-1, kh * kw * channels), kernel.reshape(-1, features), precision=precision
    )
    return y.reshape(x.shape[0], rows, columns, features)


def patches_are_faster(
    image: Sequence[int],
    kernel: Sequence[int],
    window: Window,
    *,
    groups: int = 1,
    gradient: bool = False,
) -> bool:
    """Return True where a CPU is faster with `conv_by_patches` than with XLA's convolution.

    Choice: up to 4 input channels, groups, a kernel of one pixel, and up to 4 output pixels; where
    the gradient is computed too, up to 16, and for kernels of 5 columns or more up to 64. Measured
    over the shapes of the known networks.

    Args:
      image: shape of an image of the input, `(H, W, C)`.
      kernel: its shape, `(kh, kw, C / groups, features)`.
      window: of `(kh, kw)` taps.
      groups: of channels.
      gradient: True if the gradient is computed too.
    """
    kh, kw, channels, _ = kernel
    rows, columns = window.outputs(image)
    most = (64 if kw >= 5 else 16) if gradient else 4
    return rows * columns <= most or channels <= 4 or groups != 1 or kh * kw == 1


def conv_by_pairs(
    x: jax.Array, kernel: jax.Array, window: Window, *, precision: Any = None
) -> jax.Array:
    """Convolve with strides of 1, two neighbouring pixels of a row as one with twice the channels.

    Two output pixels become one with twice the features, so the kernel stands in the new one twice,
    one pixel apart and with zeros beside it. That takes (kw + 1) / kw times the multiplications
    for an odd width kw, on vectors twice as long.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[kh, kw, C, features]`.
      window: of `(kh, kw)` taps, with strides and dilation of 1.
      precision: of the products, as in `jax.numpy.dot`.

    Returns:
      `[B, H', W', features]`.

    Raises:
      ValueError: if the padded map is smaller than the window.
      TypeError: from JAX, if shapes do not fit, or the output has an odd number of columns.
    """
    kh, kw, channels, features = kernel.shape
    above_below, (left, _) = window.pads(x.shape[1:])
    rows, columns = window.outputs(x.shape[1:])
    batch, high, wide, _ = x.shape
    width = kw // 2 + 1  # of the new kernel, in pairs
    right = columns + 2 * width - 2 - left - wide
    # Padded with channels and columns as one axis, since XLA's loops over few channels are slow.
    x = jnp.pad(x.reshape(batch * high, -1), ((0, 0), (left * channels, right * channels)))
    both = [
        jnp.pad(kernel, ((0, 0), (at, 2 * width - kw - at), (0, 0), (0, 0))) for at in (0, 1)
    ]  # fmt: skip
    y = jax.lax.conv_general_dilated(
        x.reshape(batch, high, -1, 2 * channels),
        jnp.stack(both, -2).reshape(kh, width, 2 * channels, 2 * features),
        (1, 1), (above_below, (0, 0)), dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )  # fmt: skip
    return y.reshape(batch, rows, columns, features)


def pairs_are_faster(image: Sequence[int], kernel: Sequence[int], window: Window) -> bool:
    """Return True where one core is faster with `conv_by_pairs` than with XLA's convolution.

    Choice: strides of 1, an even number of columns, and up to 16 input channels and features,
    which XLA's faster convolutions leave out; measured over the shapes of the known networks.

    Args:
      image: shape of an image of the input, `(H, W, C)`.
      kernel: its shape, `(kh, kw, C, features)`.
      window: of `(kh, kw)` taps.
    """
    _, columns = window.outputs(image)
    return max(kernel[2:]) <= 16 and tuple(window.strides) == (1, 1) and columns % 2 == 0
