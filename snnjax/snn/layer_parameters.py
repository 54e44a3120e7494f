"""Checks of a spiking network's parameters: missing and unknown ones, and those of neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snnjax.networks.architecture import named
from snnjax.networks.layers import Block, Layer, Weights

__all__ = ["check_layers", "check_neurons"]


def check_layers(
    layers: tuple[Layer, ...], params: Mapping[str, Any], where: str, prefix: str = ""
) -> None:
    """Check that parameters are those of a network's layers, and that no weights are missing.

    Args:
      layers: of the architecture.
      params: the "layers" of `conversion.convert`.
      where: the network in words, for messages.
      prefix: path of the block that contains the layers, with a "/" at its end.

    Raises:
      ValueError: naming a parameter that is missing or unknown.
    """
    names = [name for name, _ in named(layers)]
    if unknown := sorted(set(params) - set(names)):
        raise ValueError(f"params hold {prefix}{unknown[0]}, and {where} has no such layer")
    for name, layer in named(layers):
        path, own = prefix + name, params.get(name, {})
        missing = sorted(_needed(layer) - {key for key in own if own[key] is not None})
        if missing:
            raise ValueError(f"params lack {path}/{missing[0]}; {where} needs it: convert it again")
        if isinstance(layer, Block):
            for branch, stack in layer.branches.items():
                check_layers(stack, own.get(branch, {}), where, f"{path}/{branch}/")


def check_neurons(path: str, numbers: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    """Check that the parameters of a layer of neurons fit its shape for one image.

    Raises:
      ValueError: naming a parameter that does not.
    """
    for name, value in numbers.items():
        found = np.shape(value)[-len(shape) :] if shape else ()
        fits = all(n in (1, size) for n, size in zip(found[::-1], shape[::-1], strict=False))
        if np.ndim(value) > len(shape) + 1 or not fits:
            raise ValueError(
                f"{path}/{name} has shape {np.shape(value)}; want a number, one for each channel,"
                f" or one for each neuron of {list(shape)}"
            )


def _needed(layer: Layer) -> frozenset[str]:
    """Names of the weights without which a layer cannot be computed."""
    shaped = frozenset(layer.parameter_shapes()) if isinstance(layer, Weights) else frozenset()
    return (shaped & layer.parameter_names()) - {"bias"}
