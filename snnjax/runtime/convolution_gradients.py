"""Gradients of XLA's convolution on a CPU, as convolutions in the one form that it is fast for.

JAX's own rule swaps the axes by the convolution's dimension numbers. In a loop or a branch XLA then
takes up to a hundred times as long; after transposes of the arrays it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.runtime.windows import Window

__all__ = [
    "CHANNELS_LAST",
    "Equation",
    "bind_with_gradients",
    "conv_with_gradients",
    "find_equation",
]

CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")
"""Axes of images, of kernels and of outputs."""


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_with_gradients(
    x: jax.Array, kernel: jax.Array, window: Window, precision: Any = None
) -> jax.Array:
    """Convolve by XLA; only reverse-mode gradients are defined.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[kh, kw, C, features]`.
      window: of the kernel, without dilation.
      precision: of the products, as in `jax.numpy.dot`.

    Returns:
      `[B, H', W', features]`.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    return jax.lax.conv_general_dilated(
        x, kernel, window.strides, window.padding, dimension_numbers=CHANNELS_LAST,
        precision=precision,
    )  # fmt: skip


def _forward(x: jax.Array, kernel: jax.Array, window: Window, precision: Any) -> Any:
    return conv_with_gradients(x, kernel, window, precision), (x, kernel)


def _backward(window: Window, precision: Any, operands: Any, cotangent: jax.Array) -> Any:
    x, kernel = operands
    return (
        _gradient_of_images(x.shape, kernel, cotangent, window, precision),
        _gradient_of_kernel(x, kernel.shape, cotangent, window, precision),
    )


conv_with_gradients.defvjp(_forward, _backward)


Equation = tuple[tuple[str, Any], ...]
"""Parameters of a convolution of JAX by name, with any order of axes; hashable."""


def find_equation(options: Mapping[str, Any], dtype: Any) -> Equation | None:
    """Return a convolution that `bind_with_gradients` takes, or None for others.

    It takes those of two axes without groups and dilations, on a CPU.

    Args:
      options: parameters of `jax.lax.conv_general_dilated_p`.
      dtype: of both operands.

    Raises:
      Nothing.
    """
    plain = {
        "lhs_dilation": (1, 1), "rhs_dilation": (1, 1), "feature_group_count": 1,
        "batch_group_count": 1,
    }  # fmt: skip
    is_plain = all(options[name] == value for name, value in plain.items())
    if options["preferred_element_type"] not in (None, dtype) or not is_plain:
        return None
    return tuple(options.items()) if jax.default_backend() == "cpu" else None


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def bind_with_gradients(x: jax.Array, kernel: jax.Array, equation: Equation) -> jax.Array:
    """Compute a convolution as it is; only reverse-mode gradients are defined.

    Args:
      x: images.
      kernel: of the same dtype.
      equation: from `find_equation`.

    Returns:
      What the primitive returns.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    return jax.lax.conv_general_dilated_p.bind(x, kernel, **dict(equation))


def _forward_of_equation(x: jax.Array, kernel: jax.Array, equation: Equation) -> Any:
    return bind_with_gradients(x, kernel, equation), (x, kernel)


def _backward_of_equation(equation: Equation, operands: Any, cotangent: jax.Array) -> Any:
    """Gradients with axes in the order of CHANNELS_LAST, and back."""
    options = dict(equation)
    image, taps, out = options["dimension_numbers"]
    orders = [(of[0], *of[2:], of[1]) for of in (image, out)]
    orders.insert(1, (*taps[2:], taps[1], taps[0]))
    arrays = zip((*operands, cotangent), orders, strict=True)
    x, kernel, upstream = (jnp.transpose(array, order) for array, order in arrays)
    rows, columns = kernel.shape[:2]
    window = Window((rows, columns), options["window_strides"], options["padding"])
    found = _backward(window, options["precision"], (x, kernel), upstream)
    return tuple(
        jnp.transpose(gradient, np.argsort(order).tolist())
        for gradient, order in zip(found, orders[:2], strict=True)
    )


bind_with_gradients.defvjp(_forward_of_equation, _backward_of_equation)


def _gradient_of_kernel(
    x: jax.Array, shape: tuple[int, ...], cotangent: jax.Array, window: Window, precision: Any
) -> jax.Array:
    """Gradient `[kh, kw, C, features]`: each channel is an image, and the batch its channels."""
    found = jax.lax.conv_general_dilated(
        jnp.transpose(x, (3, 1, 2, 0)), jnp.transpose(cotangent, (1, 2, 0, 3)), (1, 1),
        window.pads(x.shape[1:]), rhs_dilation=window.strides, dimension_numbers=CHANNELS_LAST,
        precision=precision,
    )  # fmt: skip
    # Strides may leave rows and columns of the input that no window reads.
    return jnp.transpose(found, (1, 2, 0, 3))[: shape[0], : shape[1]]


def _gradient_of_images(
    shape: tuple[int, ...], kernel: jax.Array, cotangent: jax.Array, window: Window, precision: Any
) -> jax.Array:
    """Gradient `[B, H, W, C]`: the flipped kernel over the outputs, strides apart."""
    pads = []
    for axis, (before, _) in enumerate(window.pads(shape[1:])):
        size, apart = window.size[axis], window.strides[axis]
        low = size - 1 - before
        reached = (cotangent.shape[1 + axis] - 1) * apart + 1
        pads.append((low, shape[1 + axis] + size - 1 - reached - low))
    return jax.lax.conv_general_dilated(
        cotangent, jnp.transpose(jnp.flip(kernel, (0, 1)), (0, 1, 3, 2)), (1, 1), pads,
        lhs_dilation=window.strides, dimension_numbers=CHANNELS_LAST, precision=precision,
    )  # fmt: skip
