"""Images as arguments: the checks of every function that takes images, and their dtype.

There are two kinds of functions. Most take the input of a network: floats in the range that its ANN
was trained on, which only the user knows, so whole numbers are refused. Those that train, learn or
score take the images of a data set: bytes, which stand for 0 to 1, or the floats that the network
takes. Inside, images are float32, whatever float comes in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "FUNCTION_RANKS",
    "NETWORK_RANKS",
    "check_dataset_images",
    "check_floats",
    "check_images",
    "check_range",
    "float_images",
    "unit_images",
]

LARGEST = float(np.finfo(np.float32).max)
"""Images are computed in float32, so larger pixels would be infinite."""


NETWORK_RANKS = (2, 4)
"""Numbers of axes of the images of a network of layers."""

FUNCTION_RANKS = tuple(range(2, 9))
"""Numbers of axes of the input of a function, the axis of the images included."""


def check_images(
    images: Any, name: str = "images", purpose: str = "", ranks: Sequence[int] = NETWORK_RANKS
) -> Any:
    """Return the input of a network as an array, after a check of its type, shape and values.

    A traced array has no values yet; its type and shape are checked.

    Args:
      images: floats `[B, H, W, C]` or `[B, D]`; an array, or what NumPy makes one of.
      name: of the argument, for messages.
      purpose: of the images in a message, such as " to measure on".
      ranks: numbers of axes that are good.

    Raises:
      ValueError: if they are no floats, of another shape, or not finite in float32.
    """
    array = check_floats(_as_array(images, name), name)
    _check_shape(array, name, purpose, ranks)
    low, high = _extremes(array)
    if math.isnan(low) or math.isinf(low) or math.isinf(high):
        raise ValueError(f"{name} hold NaN or Inf; want finite pixels")
    if max(-low, high) > LARGEST:
        raise ValueError(f"{name} reach {max(-low, high):g}; want pixels that float32 can hold")
    return array


def check_floats(images: Any, name: str = "images") -> Any:
    """Return an array of floats as it is, traced or not.

    Raises:
      ValueError: if it is of another type, such as bytes.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        advice = "floats, so divide bytes by 255, as in the training of the ANN"
        if images.dtype != np.uint8:
            advice += "; for tokens, pass their embeddings"
        raise ValueError(f"{name} are {images.dtype}; want {advice}")
    return images


def float_images(
    images: Any, name: str = "images", purpose: str = "", ranks: Sequence[int] = NETWORK_RANKS
) -> Any:
    """Return the input of a network as float32; arguments and errors as in `check_images`.

    Raises:
      ValueError: as `check_images`.
    """
    return check_images(images, name, purpose, ranks).astype(np.float32)


def check_range(images: jax.Array | np.ndarray, low: float, high: float, reason: str) -> None:
    """Check that all pixels are in [low, high] up to rounding; traced ones pass.

    Args:
      images: what `float_images` returned.
      low: smallest good value.
      high: largest good value.
      reason: end of the message: why this range is needed, and what to do.

    Raises:
      ValueError: if one is not.
    """
    least, most = _extremes(images)
    if least < low - 1e-6 * abs(low) or most > high + 1e-6 * abs(high):
        raise ValueError(f"images hold pixels from {least:g} to {most:g}; {reason}")


def check_dataset_images(images: Any, name: str = "images", purpose: str = "") -> Any:
    """Return the images of a data set as an array, after a check of type, shape and values.

    Args:
      images: bytes (uint8) `[N, H, W, C]` or `[N, D]`, or floats as `check_images` takes them.
      name: of the argument, for messages.
      purpose: of the images in a message, such as " to score".

    Raises:
      ValueError: if they are of another type or shape, or not finite.
    """
    array = _as_array(images, name)
    if array.dtype != np.uint8:
        if not jnp.issubdtype(array.dtype, jnp.floating):
            wanted = "bytes (uint8), or floats in the range that the network takes"
            raise ValueError(f"{name} are {array.dtype}; want {wanted}")
        return check_images(array, name, purpose)
    _check_shape(array, name, purpose)
    return array


def unit_images(images: jax.Array | np.ndarray) -> Any:
    """Float32 images of a data set: bytes divided by 255, floats as they are."""
    floats = images.astype(np.float32)
    return floats / 255 if images.dtype == np.uint8 else floats


def _as_array(images: Any, name: str) -> Any:
    if isinstance(images, jax.Array | np.ndarray):
        return images
    try:
        return np.asarray(images)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} are a {type(images).__name__} that is no array ({error}); want an array"
            " [B, H, W, C] or [B, D]"
        ) from error


def _check_shape(
    array: jax.Array | np.ndarray,
    name: str,
    purpose: str,
    ranks: Sequence[int] = NETWORK_RANKS,
) -> None:
    shape = array.shape
    if len(shape) in ranks and 0 not in shape:
        return
    if purpose and len(shape) and shape[0] == 0:
        raise ValueError(f"there are no {name}{purpose}; want at least one")
    wanted = "[B, H, W, C] or [B, D]" if tuple(ranks) == NETWORK_RANKS else "[B, ...]"
    raise ValueError(f"{name} have shape {shape}; want {wanted} with no empty axis")


def _extremes(array: jax.Array | np.ndarray) -> tuple[float, float]:
    """Smallest and largest value, NaN if there is one; zeros where they are traced."""
    if not isinstance(array, jax.Array):
        return float(array.min()), float(array.max())
    found = _device_extremes(array)  # without a transfer of the images
    if isinstance(found, jax.core.Tracer):
        return 0.0, 0.0
    low, high = np.asarray(found)
    return float(low), float(high)


@jax.jit
def _device_extremes(array: jax.Array) -> jax.Array:
    return jnp.stack([array.min(), array.max()])
