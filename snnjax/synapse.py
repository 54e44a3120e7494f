"""The linear layers of a spiking network: what stands between one neuron and the next."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from snnjax import architecture as arch

__all__ = ["apply"]


def apply(layer: arch.Layer, params: dict[str, Any], x: jax.Array) -> jax.Array:
    """Current that spikes `x` cause through a Dense, Conv, AvgPool or Flatten.

    Products are in full float32 precision on every platform: a threshold turns a rounding
    error into a whole spike.

    Args:
      layer: the specification.
      params: "kernel" and, if there is one, "bias", which flows at every timestep.
      x: `[B, N]` or `[B, H, W, C]`.

    Raises:
      ValueError: if `layer` is of another kind.
      TypeError: from JAX, if shapes do not fit.
    """
    match layer:
        case arch.Dense():
            x = jnp.dot(x, params["kernel"], precision=jax.lax.Precision.HIGHEST)
        case arch.Conv():
            x = jax.lax.conv_general_dilated(
                x,
                params["kernel"],
                layer.strides,
                layer.padding,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=layer.groups,
                precision=jax.lax.Precision.HIGHEST,
            )
        case arch.AvgPool(window, strides):
            sums = jax.lax.reduce_window(
                x, 0.0, jax.lax.add, (1, *window, 1), (1, *(strides or window), 1), "VALID"
            )
            return sums / (window[0] * window[1])
        case arch.Flatten():
            return x.reshape(len(x), -1)
        case _:
            raise ValueError(f"{layer!r} is no synapse; want a Dense, Conv, AvgPool or Flatten")
    return x + params["bias"] if "bias" in params else x
