"""Convolutions by the fastest algorithm for their shapes and the platform.

XLA's own convolution, one product of patches, pixels in pairs and Winograd's algorithm give the
same sums in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.runtime.convolution_gradients import CHANNELS_LAST, conv_with_gradients
from snnjax.runtime.cores import cores_are_devices
from snnjax.runtime.mapped_kernels import loop_over_mapped_kernels
from snnjax.runtime.patches import (
    conv_by_pairs,
    conv_by_patches,
    pairs_are_faster,
    patches_are_faster,
)
from snnjax.runtime.split_kernels import FASTEST, SplitKernel, repeat_inputs
from snnjax.runtime.windows import Window
from snnjax.runtime.winograd import conv_by_winograd, transform_kernel

__all__ = [
    "ConvSpec",
    "PreparedKernel",
    "choose_algorithm",
    "conv",
    "conv_general_dilated",
    "prepare_kernel",
]

WINOGRAD_PIXELS = 16
"""Pixels of a map from which on Winograd's algorithm is used; with fewer, patches are as fast."""
WINOGRAD_CHANNELS = 128
"""Channels, of the input and of the output, from which on Winograd's algorithm is used; with fewer,
copying its tiles takes as long as the multiplications that it saves."""


Algorithm = Literal["winograd", "patches", "pairs", "xla"]


@dataclass(frozen=True)
class ConvSpec:
    """A convolution apart from its kernel: its windows, and the groups of its channels."""

    window: Window
    groups: int = 1


class PreparedKernel(NamedTuple):
    """A kernel with its transform for Winograd's algorithm, computed once for many images.

    As an array, for NumPy and JAX, it is the kernel itself.

    kernel: `[3, 3, C, features]`.
    winograd: `[16, C, features]`.
    """

    kernel: jax.Array
    winograd: jax.Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the kernel itself."""
        return self.kernel.shape

    def __array__(self, *args: Any, **options: Any) -> np.ndarray:
        return np.array(self.kernel, *args, **options)

    def __jax_array__(self) -> jax.Array:
        return self.kernel


def prepare_kernel(
    kernel: jax.Array | PreparedKernel, spec: ConvSpec
) -> jax.Array | PreparedKernel:
    """Add the transform for Winograd's algorithm where it is faster; return other kernels as given.

    Choice: transformed on a CPU, for 3x3 taps with strides and dilation of 1, without groups, and
    at least WINOGRAD_CHANNELS.

    Args:
      kernel: `[kh, kw, C / groups, features]`.
      spec: of the convolution.
    """
    if isinstance(kernel, PreparedKernel):
        return kernel
    window = spec.window
    taps_are_dense = (window.strides, window.dilation) == ((1, 1), (1, 1))
    fits = window.size == (3, 3) and taps_are_dense and spec.groups == 1
    if fits and min(kernel.shape[2:]) >= WINOGRAD_CHANNELS and jax.default_backend() == "cpu":
        return PreparedKernel(kernel, transform_kernel(kernel))
    return kernel


def conv(
    x: jax.Array,
    kernel: jax.Array | PreparedKernel | SplitKernel,
    spec: ConvSpec,
    *,
    precision: Any = None,
    gradient: bool = False,
) -> jax.Array:
    """Convolve images with a kernel, by the algorithm of `choose_algorithm`.

    Where `jax.vmap` maps over images and kernels, a CPU goes through them one after the other.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[kh, kw, C / groups, features]`, or what `prepare_kernel` made of it; without groups
        also what `split_kernel` made of it, if bfloat16 holds the images.
      spec: of the convolution.
      precision: of the products, as in `jax.numpy.dot`.
      gradient: True if the gradient is computed too.

    Returns:
      `[B, H', W', features]`.

    Raises:
      ValueError: if the kernel is not as large as the window, or the padded map is smaller.
      TypeError: from JAX, if other shapes do not fit.
    """
    convolve = partial(_convolve, spec=spec, precision=precision, gradient=gradient)
    if isinstance(kernel, PreparedKernel | SplitKernel):
        return convolve(x, kernel)
    learning = partial(_convolve, spec=spec, precision=precision, gradient=True)
    return loop_over_mapped_kernels(convolve, learning)(x, kernel)


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
    *,
    gradient: bool = False,
) -> jax.Array:
    """Do what `jax.lax.conv_general_dilated` does in a `flax.linen.Conv`, by a chosen algorithm.

    Unlike `conv` it consists of ordinary operations only, so that JAX's rule for `jax.vmap` holds.

    Args:
      lhs: `[B, H, W, C]`.
      rhs: the kernel, `[kh, kw, C / groups, features]`.
      window_strides: as JAX's, like all that follow.
      padding: as JAX's.
      lhs_dilation: as JAX's; 1 on each axis, or None.
      rhs_dilation: as JAX's.
      dimension_numbers: not used; channels are always last.
      feature_group_count: as JAX's.
      precision: as JAX's.
      gradient: True if the gradient is computed too.

    Raises:
      ValueError: if the input is dilated, the padding has an unknown name, or the padded map is
        smaller than the window.
      TypeError: from JAX, if shapes do not fit.
    """
    if any(d != 1 for d in lhs_dilation or ()):
        raise ValueError(f"lhs_dilation is {lhs_dilation}; want 1: no transposed convolution")
    size, strides, dilation = map(tuple, (rhs.shape[:2], window_strides, rhs_dilation or (1, 1)))
    pads = padding if isinstance(padding, str) else tuple(map(tuple, padding))
    window = Window(size, strides, pads, dilation)  # type: ignore[arg-type]
    spec = ConvSpec(window, feature_group_count)
    return _convolve(lhs, rhs, spec, precision=precision, gradient=gradient)


def choose_algorithm(x: Any, kernel: Any, spec: ConvSpec, *, gradient: bool = False) -> Algorithm:
    """Name of the algorithm that `conv` uses: "winograd", "patches", "pairs" or "xla".

    Choice: Winograd's algorithm for a PreparedKernel and maps of at least WINOGRAD_PIXELS; XLA's
    for a SplitKernel. On a CPU, without dilation, patches and then pairs where they are faster;
    pairs without gradient, and where each core is a device of its own: among the threads of one
    device XLA divides a convolution of few channels, but not the one of its pairs.

    Args:
      x: images `[B, H, W, C]`, or anything with such a shape.
      kernel: `[kh, kw, C / groups, features]`, or anything with such a shape, or a PreparedKernel
        or SplitKernel.
      spec: of the convolution.
      gradient: True if the gradient is computed too.

    Raises:
      ValueError: if the kernel is not as large as the window, or the padded map is smaller.
    """
    window, image = spec.window, x.shape[1:]
    window.outputs(image)
    if tuple(kernel.shape[:2]) != window.size:
        raise ValueError(
            f"the kernel has shape {kernel.shape}; want {window.size} taps, as its window has"
        )
    if isinstance(kernel, PreparedKernel) and image[0] * image[1] >= WINOGRAD_PIXELS:
        return "winograd"
    is_split = isinstance(kernel, SplitKernel)
    if is_split or window.dilation != (1, 1) or jax.default_backend() != "cpu":
        return "xla"
    if patches_are_faster(image, kernel.shape, window, groups=spec.groups, gradient=gradient):
        return "patches"
    if gradient or not pairs_are_faster(image, kernel.shape, window) or not cores_are_devices():
        return "xla"
    return "pairs"


def _convolve(
    x: jax.Array,
    kernel: jax.Array | PreparedKernel | SplitKernel,
    spec: ConvSpec,
    *,
    precision: Any,
    gradient: bool,
) -> jax.Array:
    """Convolve as `conv` does, under JAX's own rule for `jax.vmap`."""
    algorithm = choose_algorithm(x, kernel, spec, gradient=gradient)
    window, groups = spec.window, spec.groups
    if isinstance(kernel, PreparedKernel):
        if algorithm == "winograd":
            return conv_by_winograd(x, kernel.winograd, window, precision=precision)
        kernel = kernel.kernel
    if isinstance(kernel, SplitKernel):
        return jax.lax.conv_general_dilated(
            repeat_inputs(x, kernel), kernel.parts, window.strides, window.padding,
            rhs_dilation=window.dilation, dimension_numbers=CHANNELS_LAST,
            precision=FASTEST, preferred_element_type=jnp.float32,
        )  # fmt: skip
    if algorithm == "patches":
        return conv_by_patches(x, kernel, window, groups=groups, precision=precision)
    if algorithm == "pairs":
        return conv_by_pairs(x, kernel, window, precision=precision)
    if gradient and jax.default_backend() == "cpu" and (groups, window.dilation) == (1, (1, 1)):
        return conv_with_gradients(x, kernel, window, precision)
    return jax.lax.conv_general_dilated(
        x, kernel, window.strides, window.padding, rhs_dilation=window.dilation,
        dimension_numbers=CHANNELS_LAST, feature_group_count=groups, precision=precision,
    )  # fmt: skip
