"""Channels without a spike on some images, and the other images on which they fire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from snnjax.conversion.pruning import fired_channels
from snnjax.snn.engine import Observer

__all__ = ["beside_channels", "describe_silent"]


def beside_channels(observer: Observer) -> Observer:
    """Make an observer of the channels that fire, beside another observer.

    Its recording has the entries "counts", of the other observer, and "fired", bools `[T, B, C]` by
    path of the neurons.
    """
    return Observer(_observe, observer)


def _observe(
    observer: Observer, frame: jax.Array, spikes: dict[str, jax.Array]
) -> dict[str, dict[str, Any]]:
    return {"counts": observer(frame, spikes), "fired": fired_channels(spikes)}


def describe_silent(
    shown: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Return the silent channels of each layer, and the share of other images where they fire.

    Args:
      shown: channels that fired in an image, bools `[N, C]` by path of the neurons.
      others: the same for other images, `[M, C]`.

    Returns:
      "channels" and "silent", their numbers by path, and "fire_on_others", the share of the other
      images in which a silent channel fires.
    """
    silent: dict[str, Any] = {path: ~of.any(0) for path, of in shown.items()}
    wrong = [others[path][:, mask].any(1) for path, mask in silent.items()]
    return {
        "channels": {path: len(mask) for path, mask in silent.items()},
        "silent": {path: int(mask.sum()) for path, mask in silent.items()},
        "fire_on_others": float(np.any(wrong, axis=0).mean()) if wrong else 0.0,
    }
