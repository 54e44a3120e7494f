"""Checks of a network's variables, and of the shapes that the network alone decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snnjax.networks.architecture import Network, named
from snnjax.networks.layers import Activation, Block, Folded, Layer, Weights

__all__ = ["check_layered", "check_shapes", "check_variables"]


def check_layered(network: Any) -> None:
    """Check that a network is a Network of layers, and not its layers or its name.

    Raises:
      ValueError: if it is something else.
    """
    if not isinstance(network, Network):
        given = repr(network) if isinstance(network, str) else f"a {type(network).__name__}"
        raise ValueError(
            f"network is {given}; want a Network, such as"
            " snnjax.networks.architecture.Network(name, layers)"
        )


def check_variables(network: Any, variables: Any) -> None:
    """Check a network and that its variables hold the collection "params".

    Raises:
      ValueError: if the network is no Network, or the variables are no such collections.
    """
    check_layered(network)
    wanted = "want the collection 'params', as a Flax module's init returns it"
    if not isinstance(variables, Mapping):
        raise ValueError(f"variables is a {type(variables).__name__}; {wanted}")
    if not isinstance(variables.get("params"), Mapping):
        held = ", ".join(sorted(map(str, variables))) or "nothing"
        raise ValueError(f"variables has {held}; {wanted}")
    for name, collection in variables.items():
        if not isinstance(collection, Mapping):
            raise ValueError(f"variables holds {name}, which is no collection; {wanted}")


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
