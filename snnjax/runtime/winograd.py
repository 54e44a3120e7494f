"""Winograd's algorithm: convolutions with kernels of 3x3 taps in 4/9 of the multiplications."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from snnjax.runtime.windows import Window

__all__ = ["conv_by_winograd", "transform_kernel"]


def transform_kernel(kernel: jax.Array) -> jax.Array:
    """Transform a kernel `[3, 3, C, features]` for `conv_by_winograd`: `[16, C, features]`.

    Source: Lavin and Gray 2016, F(2x2, 3x3): G g G^T.
    """

    def side(k: jax.Array) -> jax.Array:
        half = (k[0] + k[2]) / 2
        return jnp.stack([k[0], half + k[1] / 2, half - k[1] / 2, k[2]])

    return jax.vmap(side)(side(kernel)).reshape(16, *kernel.shape[2:])


def conv_by_winograd(
    x: jax.Array, transformed: jax.Array, window: Window, *, precision: Any = None
) -> jax.Array:
    """Convolve with 3x3 taps and strides of 1 by Winograd's algorithm F(2x2, 3x3).

    Each tile of 4x4 input pixels is transformed to 16 numbers per channel, which are multiplied
    once each; its 2x2 output pixels would otherwise take 36 multiplications. Transformed spikes are
    small whole numbers, which are exact: only the kernel and the sums are rounded, as in every
    algorithm.

    Source: Lavin and Gray 2016, section 4.1.

    Args:
      x: `[B, H, W, C]`.
      transformed: `[16, C, features]`, from `transform_kernel`.
      window: of 3x3 taps, with strides and dilation of 1.
      precision: of the products, as in `jax.numpy.dot`.

    Returns:
      `[B, H', W', features]`.

    Raises:
      ValueError: if the padded map is smaller than the window.
      TypeError: from JAX, if shapes do not fit.
    """
    batch, features = len(x), transformed.shape[2]
    rows, columns = window.outputs(x.shape[1:])
    tile_rows, tile_columns = -(-rows // 2), -(-columns // 2)
    tiles = _transform_tiles(x, window, (tile_rows, tile_columns))
    # As in `conv_by_patches`, without barriers XLA would copy the tiles again for each product.
    products = jax.lax.optimization_barrier(jax.lax.dot_general(
        jax.lax.optimization_barrier(tiles), transformed, (((2,), (1,)), ((0,), (0,))),
        precision=precision,
    )).reshape(16, -1)  # fmt: skip
    # As a product with ones, which XLA does not compute anew for each pixel in what comes next.
    out = jnp.array([[1, 1, 1, 0], [0, 1, -1, -1]], products.dtype)
    y = jnp.dot(jnp.kron(out, out), products, precision=precision)
    y = y.reshape(2, 2, batch, tile_rows, tile_columns, features).transpose(2, 3, 0, 4, 1, 5)
    return y.reshape(batch, 2 * tile_rows, 2 * tile_columns, features)[:, :rows, :columns]


def _transform_tiles(x: jax.Array, window: Window, tiles: tuple[int, int]) -> jax.Array:
    """Transform all tiles of 4x4 pixels: `[16, B * tile rows * tile columns, C]`.

    Args:
      x: `[B, H, W, C]`.
      window: of the convolution.
      tiles: rows and columns of tiles; they lie two pixels apart.
    """
    (above, below), (left, right) = window.pads(x.shape[1:])
    rows, columns = window.outputs(x.shape[1:])
    high, wide = 2 * tiles[0], 2 * tiles[1]
    x = jnp.pad(x, ((0, 0), (above, below + high - rows), (left, right + wide - columns), (0, 0)))

    def side(d: list[jax.Array]) -> list[jax.Array]:
        return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]

    return jnp.stack([
        tile.reshape(-1, x.shape[-1])
        for row in side([x[:, i : i + high - 1 : 2] for i in range(4)])
        for tile in side([row[:, :, j : j + wide - 1 : 2] for j in range(4)])
    ])  # fmt: skip
