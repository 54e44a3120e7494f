"""Networks as tuples of layer specifications, and functions that traverse them.

A specification holds no arrays. The ANN (`ann.ANN`) and the spiking network (`propagate`) are built
from the same specification, so they always have the same layers. The name of a layer is its index
and its kind ("03_conv"), so sorted names are in network order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax
from jax.typing import ArrayLike

from snnjax.networks.layers import (
    KINDS,
    Activation,
    AvgPool,
    BatchNorm,
    Block,
    Concat,
    Conv,
    Dense,
    DoesNotFit,
    FixedSynapse,
    Flatten,
    Folded,
    Layer,
    Normalise,
    Residual,
    Scale,
    Synapse,
    Transpose,
    Weights,
)
from snnjax.networks.layers.base import per_channel
from snnjax.networks.layers.fields import layer_tuple, set_fields

__all__ = [
    "Activation",
    "AvgPool",
    "BatchNorm",
    "Block",
    "Concat",
    "Conv",
    "Dense",
    "FixedSynapse",
    "Flatten",
    "Folded",
    "Layer",
    "Network",
    "Normalise",
    "Residual",
    "Scale",
    "Synapse",
    "Transpose",
    "Weights",
    "activations",
    "changed",
    "inside",
    "map_params",
    "named",
    "propagate",
    "unknown_layer",
    "walk",
    "with_activation",
    "without_biases",
]

Params = dict[str, Any]
Layers = tuple[Layer, ...]

Fire = Callable[[str, Params, jax.Array], jax.Array]
"""fire(path, numbers, current) -> output of the layer of neurons at `path`; `numbers` are its
parameters, as `conversion.convert` returns them."""


@dataclass(frozen=True)
class Network:
    """A name and the layers from the image to the logits.

    Networks are hashable, and equal ones share a compilation.

    image_shape: of one image, in the order of axes that the network takes; None if unknown.
    user_names: pairs of a layer's path and its name in the model that the network was traced from.

    Raises:
      ValueError: if an entry of `layers` is not a Layer or holds a value that cannot be hashed, or
        a Normalise is neither the first layer nor behind a Transpose of the images.
    """

    name: str
    layers: Layers
    image_shape: tuple[int, ...] | None = field(default=None, compare=False)
    user_names: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"name of Network is {self.name!r}; want a text")
        set_fields(self, layers=layer_tuple)
        for name, layer in walk(self.layers):
            if not isinstance(layer, Layer):
                raise ValueError(f"layer {name} is {layer!r}; want one of {', '.join(KINDS)}")
            if isinstance(layer, Transpose) and name != "00_transpose":
                raise ValueError(f"layer {name} is a Transpose; want it as the first layer only")
            first = 0 if self.image_order is None else 1
            if isinstance(layer, Normalise) and name != f"{first:02d}_normalise":
                raise ValueError(f"layer {name} is a Normalise; want it as the first layer only")
            try:
                hash(layer)
            except TypeError as error:
                hashable = f"({error}); want numbers, texts and tuples in its fields"
                raise ValueError(f"{name} is {layer!r}, which has no hash {hashable}") from error

    @property
    def image_order(self) -> Transpose | None:
        """The layer that puts the axes of the images in order, or None without one."""
        first = self.layers[0] if self.layers else None
        return first if isinstance(first, Transpose) else None

    @property
    def channel_axis(self) -> int:
        """Axis of the channels of an image that the network takes; -1 is the last."""
        return -1 if self.image_order is None else self.image_order.axes[-1]

    @property
    def sites(self) -> tuple[str, ...]:
        """Paths of the layers of neurons, in network order."""
        return tuple(activations(self))

    def propagate(
        self, params: Params, x: jax.Array, fire: Fire, elapsed: ArrayLike = 1.0
    ) -> jax.Array:
        """Send an input through the network once; see `propagate`."""
        return propagate(self.layers, params, x, fire, elapsed=elapsed)


def named(layers: Layers) -> list[tuple[str, Layer]]:
    """Pairs of name and layer; inside a block the indices start at 00 again."""
    return [
        (f"{place:02d}_{getattr(layer, 'kind', 'unknown')}", layer)
        for place, layer in enumerate(layers)
    ]


def walk(layers: Layers, prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield path and layer of all layers, also inside blocks ("02_residual/body/00_conv")."""
    for name, layer in named(layers):
        yield prefix + name, layer
        if isinstance(layer, Block):
            for branch, inner in layer.branches.items():
                yield from walk(inner, f"{prefix}{name}/{branch}/")


def activations(network: Network) -> dict[str, Activation]:
    """The activations of a network by path, in network order."""
    return {n: layer for n, layer in walk(network.layers) if isinstance(layer, Activation)}


def changed(layers: Layers, change: Callable[[Layer], Layer]) -> Layers:
    """Apply `change` to every layer that is not a block, also inside blocks."""
    return tuple(
        layer.with_branches(lambda inner: changed(inner, change))
        if isinstance(layer, Block)
        else change(layer)
        for layer in layers
    )


def with_activation(network: Network, activation: Activation) -> Network:
    """The same network with every activation replaced."""

    def swap(layer: Layer) -> Layer:
        return activation if isinstance(layer, Activation) else layer

    return replace(network, layers=changed(network.layers, swap))


def without_biases(network: Network) -> Network:
    """The same network with `use_bias=False` in every layer that has this field."""

    def strip(layer: Layer) -> Layer:
        names = {field.name for field in fields(layer)}
        return replace(layer, use_bias=False) if "use_bias" in names else layer  # type: ignore[call-arg]

    return replace(network, layers=changed(network.layers, strip))


def inside(params: Mapping[str, Any], path: str) -> Any:
    """The arrays of the layer at a path.

    Raises:
      KeyError: if there is no such path.
    """
    for name in path.split("/"):
        params = params[name]
    return params


def map_params(layers: Layers, params: Params, change: Callable[[Layer, Params], Params]) -> Params:
    """Apply `change` to the arrays of every layer that has arrays, also inside blocks.

    Args:
      layers: layers of the architecture.
      params: arrays by name of the layer.
      change: maps a layer and its arrays to its new arrays.

    Raises:
      KeyError: if the parameters belong to other layers.
    """
    found = dict(params)
    for name, layer in named(layers):
        if isinstance(layer, Block):
            found[name] = params[name] | {
                branch: map_params(inner, params[name][branch], change)
                for branch, inner in layer.branches.items()
                if branch in params[name]
            }
        elif name in params:
            found[name] = change(layer, params[name])
    return found


def propagate(
    layers: Layers,
    params: Params,
    x: jax.Array,
    fire: Fire,
    *,
    elapsed: ArrayLike = 1.0,
    prefix: str = "",
    start: int = 0,
) -> jax.Array:
    """Send an input through converted layers once; `fire` computes the output of neurons.

    All maps between two layers of neurons are linear, so `x` may also be the sum of the inputs of
    `elapsed` timesteps; biases are then added `elapsed` times.

    Args:
      layers: layers of the architecture.
      params: the "layers" of `conversion.convert`.
      x: input of layer `start`, `[B, ...]`.
      fire: maps path, parameters and current of a layer of neurons to its output; see `Fire`.
      elapsed: number of timesteps summed in `x`, a scalar or `[B]`.
      prefix: path of the block that contains the layers, with a "/" at its end.
      start: index of the layer that `x` enters.

    Returns:
      The current into the readout `[B, K]`.

    Raises:
      DoesNotFit: naming the layer, if it does not take the shape of its input.
      KeyError: if the parameters belong to other layers.
      ValueError: if a layer has none of the roles in `layers.base`.
    """
    for name, layer in named(layers)[start:]:
        inner = params.get(name, {})
        match layer:
            case Activation():
                x = fire(prefix + name, inner, x)
            case Synapse():
                with _named_misfit(prefix + name):
                    x = layer.current(inner, x, elapsed)
            case Folded():
                pass  # conversion folded it into the weights
            case Block():
                outputs = []
                for branch, stack in layer.branches.items():
                    y = propagate(
                        stack, params[name].get(branch, {}), x, fire, elapsed=elapsed,
                        prefix=f"{prefix}{name}/{branch}/",
                    )  # fmt: skip
                    outputs.append(y * per_channel(inner.get(f"{branch}_weight", 1.0), y))
                with _named_misfit(prefix + name):
                    x = layer.join(outputs)
                x = x * per_channel(inner.get("weight", 1.0), x)
            case _:
                raise unknown_layer(prefix + name, layer)
    return x


@contextmanager
def _named_misfit(path: str) -> Iterator[None]:
    """Put the path of a layer in front of the message of its DoesNotFit."""
    try:
        yield
    except DoesNotFit as error:
        raise DoesNotFit(f"layer {path}: {error}") from error


def unknown_layer(path: str, layer: Layer) -> ValueError:
    """Error for a layer that has none of the roles in `layers.base`."""
    return ValueError(
        f"layer {path} is a {type(layer).__name__}, which is neither Weights nor a FixedSynapse,"
        " Folded, an Activation or a Block; derive its class from one of these"
    )
