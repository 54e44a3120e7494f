"""How a convolution is computed: XLA's own, one product of patches, pixels in pairs, or Winograd's.

XLA's convolutions are slow on a CPU where there are few input channels or few pixels. There,
copying the patches out and multiplying once is faster, forward and backward. Up to 16 channels
leave half of a CPU's vectors idle, and two pixels at once fill them. Where there are many
channels, the products themselves are what takes the time, and Winograd's algorithm needs fewer.
All give the same sums in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from snnjax.runtime.devices import cores_are_devices

__all__ = [
    "borders",
    "conv_general_dilated",
    "from_pairs",
    "from_patches",
    "one_by_one",
    "prepare",
    "suits_pairs",
    "suits_patches",
    "way",
    "winograd",
    "winograd_kernel",
]

Padding = str | Sequence[tuple[int, int]]

WINOGRAD_PIXELS = 16
"""Of a map from which Winograd's algorithm is taken; with fewer, patches are as fast."""


def from_patches(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Padding,
    *,
    groups: int = 1,
    precision: Any = None,
) -> jax.Array:
    """A convolution as one product of `[B * H' * W', kh * kw * C]` and `[kh * kw * C, features]`,
    or one for each group.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[kh, kw, C / groups, features]`.
      strides: `(sh, sw)`.
      padding: "SAME", "VALID", or the border before and after each axis.
      groups: of channels.
      precision: of the product, as in `jax.numpy.dot`.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    if groups != 1:
        apart = [of.reshape(*of.shape[:3], groups, -1) for of in (x, kernel)]
        each = partial(from_patches, strides=strides, padding=padding, precision=precision)
        y = jax.vmap(each, (3, 3), 3)(*apart)
        return y.reshape(*y.shape[:3], -1)
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
    groups: int = 1,
    gradient: bool = False,
) -> bool:
    """Whether a CPU is faster with patches, measured over the shapes of the known networks.

    They win for up to 4 input channels, for groups, for a kernel of one pixel, and for up to 4
    output pixels; where the gradient is wanted too, for up to 64.

    Args:
      shape: of the input, `[B, H, W, C]`.
      kernel: its shape, `[kh, kw, C / groups, features]`.
      strides: `(sh, sw)`.
      padding: "SAME", "VALID", or the border before and after each axis.
      groups: of channels.
      gradient: whether the gradient is computed too.
    """
    kh, kw, channels, _ = kernel
    _, (rows, columns) = _borders_and_size(shape, kernel, strides, padding)
    few = rows * columns <= (64 if gradient else 4)
    return few or channels <= 4 or groups != 1 or kh * kw == 1


def from_pairs(
    x: jax.Array, kernel: jax.Array, padding: Padding, *, precision: Any = None
) -> jax.Array:
    """A convolution with strides of 1 where two pixels of a row are one with twice the channels,
    and two of the output one with twice the features.

    The kernel is there twice, one pixel apart, with zeros beside it: (kw + 1) / kw times the
    products for an odd width kw, on vectors twice as long.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[kh, kw, C, features]`.
      padding: "SAME", "VALID", or the border before and after each axis.
      precision: of the products, as in `jax.numpy.dot`.

    Raises:
      TypeError: from JAX, if shapes do not fit, or the output has an odd number of columns.
    """
    kh, kw, channels, features = kernel.shape
    (above, (left, _)), (rows, columns) = _borders_and_size(x.shape, kernel.shape, (1, 1), padding)
    batch, high, wide, _ = x.shape
    reach = kw // 2 + 1  # pairs that two pixels of the output hear
    right = columns + 2 * reach - 2 - left - wide
    # Row by row, since XLA's loops over few channels are slow.
    x = jnp.pad(x.reshape(batch * high, -1), ((0, 0), (left * channels, right * channels)))
    both = [jnp.pad(kernel, ((0, 0), (at, 2 * reach - kw - at), (0, 0), (0, 0))) for at in (0, 1)]
    y = jax.lax.conv_general_dilated(
        x.reshape(batch, high, -1, 2 * channels),
        jnp.stack(both, -2).reshape(kh, reach, 2 * channels, 2 * features),
        (1, 1), (above, (0, 0)), dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=precision,
    )  # fmt: skip
    return y.reshape(batch, rows, columns, features)


def suits_pairs(
    shape: Sequence[int], kernel: Sequence[int], strides: Sequence[int], padding: Padding
) -> bool:
    """Whether a core is faster with pairs: up to 16 channels before and behind the kernel, which
    XLA's faster convolutions leave out, strides of 1, and an even number of columns.

    Args:
      shape: of the input, `[B, H, W, C]`.
      kernel: its shape, `[kh, kw, C, features]`.
      strides: `(sh, sw)`.
      padding: "SAME", "VALID", or the border before and after each axis.
    """
    _, (_, columns) = _borders_and_size(shape, kernel, strides, padding)
    return max(kernel[2:]) <= 16 and tuple(strides) == (1, 1) and columns % 2 == 0


def prepare(
    kernel: jax.Array, strides: Sequence[int], *, dilation: Sequence[int] = (1, 1), groups: int = 1
) -> jax.Array | None:
    """What `conv_general_dilated` takes as `prepared`: a kernel as `winograd` needs it, or None.

    Choice: on a CPU, for 3x3 pixels and from 128 channels on, of the input and of the output;
    copying tiles in and out costs as much as the products that it saves where there are fewer.

    Args:
      kernel: `[kh, kw, C, features]`.
      strides: `(sh, sw)`.
      dilation: pixels from one tap of the kernel to the next.
      groups: of channels.
    """
    kh, kw, *channels = kernel.shape
    plain = (kh, kw, *strides, *dilation, groups) == (3, 3, 1, 1, 1, 1, 1)
    if plain and min(channels) >= 128 and jax.default_backend() == "cpu":
        return winograd_kernel(kernel)
    return None


def winograd_kernel(kernel: jax.Array) -> jax.Array:
    """A kernel of 3x3 pixels, `[3, 3, C, features]`, as `winograd` needs it: `[16, C, features]`.

    Source: Lavin and Gray 2016, F(2x2, 3x3): G g G^T.
    """

    def side(k: jax.Array) -> jax.Array:
        half = (k[0] + k[2]) / 2
        return jnp.stack([k[0], half + k[1] / 2, half - k[1] / 2, k[2]])

    return jax.vmap(side)(side(kernel)).reshape(16, *kernel.shape[2:])


def winograd(
    x: jax.Array, kernel: jax.Array, padding: Padding, *, precision: Any = None
) -> jax.Array:
    """A convolution with 3x3 pixels and strides of 1 in 4/9 of the products: F(2x2, 3x3).

    Every tile of 4x4 pixels becomes 16 numbers that are multiplied once for each channel, where its
    2x2 pixels of output would take 36 products. Spikes make small whole numbers of them, which
    are exact, so what rounding there is is that of the kernel and of the sums, as in any other way.

    Source: Lavin and Gray 2016, section 4.1.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[16, C, features]`, of `winograd_kernel`.
      padding: "SAME", "VALID", or the border before and after each axis.
      precision: of the products, as in `jax.numpy.dot`.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    batch, channels, features = len(x), *kernel.shape[1:]
    pads, (rows, columns) = _borders_and_size(x.shape, (3, 3), (1, 1), padding)
    high, wide = -(-rows // 2), -(-columns // 2)
    (above, below), (left, right) = pads
    x = jnp.pad(x, (
        (0, 0), (above, below + 2 * high - rows), (left, right + 2 * wide - columns), (0, 0),
    ))  # fmt: skip

    def inward(d: list[jax.Array]) -> list[jax.Array]:
        return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]

    tiles = [
        tile.reshape(-1, channels)
        for row in inward([x[:, i : i + 2 * high - 1 : 2] for i in range(4)])
        for tile in inward([row[:, :, j : j + 2 * wide - 1 : 2] for j in range(4)])
    ]
    # As in `from_patches`, without barriers the copies would be made again for each product.
    together = jax.lax.optimization_barrier(jnp.stack(tiles))
    products = jax.lax.optimization_barrier(jax.lax.dot_general(
        together, kernel, (((2,), (1,)), ((0,), (0,))), precision=precision
    )).reshape(16, -1)  # fmt: skip
    # A product with ones is never computed anew for each pixel by what comes next.
    out = jnp.array([[1, 1, 1, 0], [0, 1, -1, -1]], products.dtype)
    y = jnp.dot(jnp.kron(out, out), products, precision=precision)
    y = y.reshape(2, 2, batch, high, wide, features).transpose(2, 3, 0, 4, 1, 5)
    return y.reshape(batch, 2 * high, 2 * wide, features)[:, :rows, :columns]


def way(
    shape: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
    *,
    dilated: bool = False,
    groups: int = 1,
    gradient: bool = False,
    prepared: bool = False,
) -> str:
    """How `conv_general_dilated` computes: "winograd", "patches", "pairs" or "xla".

    Choice: Winograd's algorithm where its kernel is there, which `prepare` made, and the map has
    at least WINOGRAD_PIXELS; patches on a CPU, without dilation, for what `suits_patches`; then
    pairs for what `suits_pairs`, without gradient, where the cores are devices, since XLA shares a
    convolution of so few channels among the threads of a device and that of their pairs not.

    Args:
      shape: of the input, `[B, H, W, C]`.
      kernel: its shape, `[kh, kw, C / groups, features]`.
      strides: `(sh, sw)`.
      padding: "SAME", "VALID", or the border before and after each axis.
      dilated: whether there is a dilation of the input or of the kernel.
      groups: of channels.
      gradient: whether the gradient is computed too.
      prepared: whether `prepare` made a kernel for Winograd's algorithm.
    """
    if prepared and shape[1] * shape[2] >= WINOGRAD_PIXELS:
        return "winograd"
    if dilated or jax.default_backend() != "cpu":
        return "xla"
    if suits_patches(shape, kernel, strides, padding, groups=groups, gradient=gradient):
        return "patches"
    if gradient or not suits_pairs(shape, kernel, strides, padding):
        return "xla"
    return "pairs" if cores_are_devices() else "xla"


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
    prepared: jax.Array | None = None,
) -> jax.Array:
    """`jax.lax.conv_general_dilated` for channels last, in another way where that is faster.

    Args:
      lhs: as JAX's, like all that follow.
      rhs: the kernel.
      window_strides: as JAX's.
      padding: as JAX's.
      lhs_dilation: as JAX's.
      rhs_dilation: as JAX's.
      dimension_numbers: as JAX's.
      feature_group_count: as JAX's.
      precision: as JAX's.
      gradient: whether the gradient is computed too; see `way`.
      prepared: what `prepare` made of the kernel.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    chosen = way(
        lhs.shape, rhs.shape, window_strides, padding,
        dilated=any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ()))),
        groups=feature_group_count, gradient=gradient, prepared=prepared is not None,
    )  # fmt: skip
    if chosen == "winograd" and prepared is not None:
        return winograd(lhs, prepared, padding, precision=precision)
    if chosen == "patches":
        return from_patches(
            lhs, rhs, window_strides, padding, groups=feature_group_count, precision=precision
        )
    if chosen == "pairs":
        return from_pairs(lhs, rhs, padding, precision=precision)
    return jax.lax.conv_general_dilated(
        lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
        feature_group_count, precision=precision,
    )  # fmt: skip


def one_by_one(
    convolve: Callable[[jax.Array, jax.Array], jax.Array],
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A convolution that goes through its kernels one after the other where `jax.vmap` runs over
    them and over images on a CPU.

    JAX's own rule makes groups of one convolution of them, which takes a CPU three times as long.
    Mapped images with one kernel are a larger batch, and one batch with mapped kernels has more
    features, as ever.

    Args:
      convolve: of images `[B, H, W, C]` and a kernel, linear in each.
    """

    @custom_vmap
    def call(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolve(x, kernel)

    @call.def_vmap  # type: ignore[untyped-decorator]
    def mapped(
        count: int, is_mapped: Sequence[bool], x: jax.Array, kernel: jax.Array
    ) -> tuple[jax.Array, bool]:
        of_images, of_kernels = is_mapped
        if not of_kernels:
            y = call(x.reshape(-1, *x.shape[2:]), kernel)
            return y.reshape(count, -1, *y.shape[1:]), True
        if of_images and jax.default_backend() == "cpu":
            return jax.lax.map(lambda pair: call(*pair), (x, kernel)), True
        return jax.vmap(convolve, (0 if of_images else None, 0))(x, kernel), True

    @jax.custom_jvp
    def differentiable(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return call(x, kernel)

    @differentiable.defjvp
    def tangent(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[jax.Array, jax.Array]:
        (x, kernel), (dx, dkernel) = primals, tangents
        return differentiable(x, kernel), convolve(dx, kernel) + convolve(x, dkernel)

    return differentiable


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
