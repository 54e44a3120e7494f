"""The linear layers of a spiking network: what stands between one neuron and the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.runtime.convolution import ConvSpec, conv, prepare_kernel
from snnjax.runtime.windows import Window

__all__ = ["apply", "in_rows", "join", "of_each", "prepared", "rows"]

FEW = 32
"""Channels of a map from which XLA's loops over neurons are as fast as they are over rows."""


def rows(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape in which a simulation keeps a layer's neurons: on a CPU, `(H, W * C)` for a map
    `(H, W, C)` of fewer than FEW channels; otherwise as it is.

    Choice: XLA's loops over 12 or 16 channels take up to 7 times as long as those over whole rows,
    those over 32 as long as they. With more, XLA adds biases in the convolution itself.
    """
    if len(shape) == 3 and shape[2] < FEW and jax.default_backend() == "cpu":
        return (shape[0], shape[1] * shape[2])
    return tuple(shape)


def in_rows(values: ArrayLike, shape: Sequence[int]) -> jax.Array:
    """Numbers of a layer of that shape, laid out to go with arrays `[..., *rows(shape)]`.

    Args:
      values: one number, one for each channel, or one for each neuron.
      shape: of the layer for one image.

    Raises:
      ValueError: from JAX, if they do not fit the shape.
    """
    values = jnp.asarray(values)
    if values.ndim == 0 or rows(shape) == tuple(shape):
        return values
    if values.ndim == 1:
        # Behind a barrier a loop is given them, and does not look up the channel of each neuron.
        return jax.lax.optimization_barrier(jnp.tile(jnp.broadcast_to(values, shape[2:]), shape[1]))
    return jnp.broadcast_to(values, shape).reshape(rows(shape))


def prepared(layer: arch.Conv, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with the kernel as `prepare_kernel` returns it, computed once for many images.

    Args:
      layer: the specification.
      params: as `apply` takes them.

    Raises:
      KeyError: if there is no kernel.
    """
    return {**params, "kernel": prepare_kernel(params["kernel"], conv_spec(layer))}


def conv_spec(layer: arch.Conv) -> ConvSpec:
    """The convolution of a layer, apart from its kernel."""
    window = Window(layer.kernel_size, layer.strides, layer.padding, layer.dilation)
    return ConvSpec(window, layer.groups)


def apply(
    layer: arch.Layer,
    params: dict[str, Any],
    x: jax.Array,
    *,
    elapsed: ArrayLike = 1.0,
    by_rows: bool = False,
) -> jax.Array:
    """Current that spikes `x` cause through a Dense, Conv, Scale, AvgPool or Flatten.

    Products are in full float32 precision on every platform: a threshold turns a rounding
    error into a whole spike.

    Args:
      layer: the specification.
      params: "kernel", or "scale", and, where there is one, "bias", which flows at every
        timestep, and "border", the input of each channel beyond the image, where otherwise it is 0.
      x: `[B, N]` or `[B, H, W, C]`, of one timestep or the sum of several.
      elapsed: how many, a number or `[B]`; as often flows what flows at every timestep.
      by_rows: add biases in the layout of `rows`, for neurons that are kept so.

    Raises:
      ValueError: if `layer` is of another kind, or a window larger than the image.
      TypeError: from JAX, if shapes do not fit.
    """
    times = jnp.reshape(elapsed, (-1, *[1] * (x.ndim - 1)))
    match layer:
        case arch.Dense():
            x = jnp.dot(x, params["kernel"], precision=jax.lax.Precision.HIGHEST)
        case arch.Conv():
            spec = conv_spec(layer)
            if "border" in params:
                x = _framed(spec.window, times * params["border"], x)
                spec = replace(spec, window=replace(spec.window, padding="VALID"))
            x = conv(x, params["kernel"], spec, precision=jax.lax.Precision.HIGHEST)
        case arch.Scale():
            x = x * params["scale"]
        case arch.AvgPool(window, strides):
            if x.shape[1] < window[0] or x.shape[2] < window[1]:
                raise ValueError(
                    f"a map of {x.shape[1]}x{x.shape[2]} pixels is smaller than the window"
                    f" {window[0]}x{window[1]} of a pooling; want larger images for this network"
                )
            sums = jax.lax.reduce_window(
                x, 0.0, jax.lax.add, (1, *window, 1), (1, *(strides or window), 1), "VALID"
            )
            return sums / (window[0] * window[1])
        case arch.Flatten():
            return x.reshape(x.shape[0], -1)
        case _:
            raise ValueError(
                f"{layer!r} is no synapse; want a Dense, Conv, Scale, AvgPool or Flatten"
            )
    if "bias" not in params:
        return x
    if not by_rows:
        return x + times * params["bias"]
    shape = x.shape[1:]
    bias = in_rows(params["bias"], shape)
    x = x.reshape(-1, *rows(shape))
    return (x + times.reshape(-1, *[1] * (x.ndim - 1)) * bias).reshape(-1, *shape)


def join(layer: arch.Block, parts: Sequence[jax.Array]) -> jax.Array:
    """What a block makes of the outputs of its branches: their sum, or all of their channels.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    match layer:
        case arch.Residual():
            return parts[0] + parts[1]
        case arch.Concat():
            return jnp.concatenate(parts, -1)


def of_each(values: jax.Array, x: jax.Array) -> jax.Array:
    """One value, or one for each channel, for the last axis of `x`, where channels may repeat
    pixel by pixel behind a Flatten.
    """
    return jnp.tile(values, x.shape[-1] // len(values)) if jnp.ndim(values) else values


def _framed(window: Window, border: jax.Array, x: jax.Array) -> jax.Array:
    """The input with its padding around it."""
    width = (*window.pads(x.shape[1:]), (0, 0))
    frame = border - jnp.pad(
        jnp.broadcast_to(border, (len(border), *x.shape[1:])), ((0, 0), *width)
    )
    return jnp.pad(x, ((0, 0), *width)) + frame
