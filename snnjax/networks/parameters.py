"""Checks of the shapes of a network's arrays, as far as the network alone decides them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snnjax.networks.architecture import named
from snnjax.networks.layers import Activation, Block, Folded, Layer, Weights

__all__ = ["check_shapes"]


def check_shapes(layers: tuple[Layer, ...], params: Mapping[str, Any], prefix: str = "") -> None:
    """Check the shapes of all arrays of layers, also inside blocks.

    Args:
      layers: of the architecture.
      params: arrays by name of the layer; what is missing is not checked.
      prefix: path of the layers for messages, with a "/" at its end.

    Raises:
      ValueError: naming an array of another shape.
    """
    channels: int | None = None  # of the input of a layer, where the layers before it decide them
    for name, layer in named(layers):
        path, own = prefix + name, params.get(name, {})
        if isinstance(layer, Block):
            for branch, stack in layer.branches.items():
                check_shapes(stack, own.get(branch, {}), f"{path}/{branch}/")
        for array, wanted in layer.parameter_shapes(channels).items():
            if array in own:
                _check_shape(f"{path}/{array}", np.shape(own[array]), wanted)
        if isinstance(layer, Weights):
            channels = getattr(layer, "features", None)
        elif not isinstance(layer, Activation | Folded):
            channels = None


def _check_shape(path: str, shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
    pairs = zip(shape, wanted, strict=False)
    if len(shape) != len(wanted) or any(n not in (size, None) for size, n in pairs):
        lengths = ", ".join("any" if n is None else str(n) for n in wanted)
        raise ValueError(f"{path} has shape {shape}; want [{lengths}]")
