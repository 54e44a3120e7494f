"""Base classes of layers, one for each role that a layer can have in a network.

A layer is a frozen dataclass without arrays. Its class implements all that the package needs: the
forward pass of the ANN, the current caused by spikes, and the rescaling by conversion. A new kind
of layer is a new subclass in one file; a subclass that lacks a method cannot be instantiated.

| role | in the ANN | in the spiking network |
| --- | --- | --- |
| `Weights` | a linear map with parameters | synapses, rescaled by conversion |
| `FixedSynapse` | a linear map without parameters | the same map |
| `Folded` | a normalisation | nothing: conversion folds it into weights |
| `Activation` | an activation function | a layer of neurons |
| `Block` | parallel branches | the same branches |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

__all__ = [
    "KINDS",
    "Block",
    "DoesNotFit",
    "FixedSynapse",
    "Folded",
    "ForwardMode",
    "Layer",
    "Synapse",
    "Weights",
    "per_channel",
]

Params = dict[str, Any]

KINDS: dict[str, type[Layer]] = {}
"""Classes of layers by name; a subclass that defines `kind` adds itself."""


class DoesNotFit(ValueError):
    """An input that a layer does not take, because of its shape."""


class ForwardMode(NamedTuple):
    """Mode of the ANN's forward pass.

    levels: number of steps to quantise activations to; None leaves them smooth.
    train: use the statistics of the batch, and dropout.
    dtype: dtype of the layers' outputs; parameters are float32.
    """

    levels: ArrayLike | None = None
    train: bool = False
    dtype: Any = jnp.float32


@dataclass(frozen=True)
class Layer(ABC):
    """Specification of a layer.

    kind: short name that is part of the layer's path, such as "conv" in "03_conv".
    drops_inputs: True if the ANN applies dropout to the layer's inputs in training.
    """

    kind: ClassVar[str]
    drops_inputs: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Add a class that has a `kind` to KINDS."""
        super().__init_subclass__()
        if "kind" in cls.__dict__:
            KINDS[cls.__name__] = cls

    def parameter_names(self) -> frozenset[str]:
        """Names of the layer's arrays in the collection "params"."""
        return frozenset()

    def parameter_shapes(self, inputs: int | None = None) -> Mapping[str, tuple[int | None, ...]]:
        """Shapes of the layer's arrays by name, None for a length that is not known.

        Names that it leaves out are not checked.

        Args:
          inputs: channels of the input, None where only the images decide them.
        """
        del inputs
        return {}

    def remark(self, weights: str) -> str:
        """Describe for a report what conversion makes of the layer.

        Args:
          weights: path of the weights before the layer, or "".
        """
        del weights
        return ""


class Synapse(Layer):
    """A linear map from the image or from neurons to the next neurons."""

    @abstractmethod
    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the layer in the ANN, inside a compact method of a Flax module.

        Args:
          x: `[B, ...]`.
          name: name of the layer, under which Flax stores its parameters.
          mode: mode of the forward pass.
        """

    @abstractmethod
    def linear(self, params: Params, x: jax.Array, elapsed: ArrayLike = 1.0) -> jax.Array:
        """Current caused by spikes `x`, without the bias.

        Products are in full float32 precision on every platform: a threshold turns a rounding
        error into a whole spike.

        Args:
          params: the layer's arrays, as conversion returns them.
          x: `[B, ...]`, of one timestep or the sum of several.
          elapsed: number of timesteps summed in `x`, a scalar or `[B]`.

        Raises:
          DoesNotFit: if the layer does not take an input of this shape.
        """

    def current(self, params: Params, x: jax.Array, elapsed: ArrayLike = 1.0) -> jax.Array:
        """Current caused by spikes `x`, plus `elapsed` times the bias; see `linear`.

        Raises:
          TypeError: from JAX, if shapes do not fit.
        """
        y = self.linear(params, x, elapsed)
        if "bias" not in params:
            return y
        return y + jnp.reshape(elapsed, (-1, *[1] * (y.ndim - 1))) * params["bias"]

    @abstractmethod
    def incidence(self, params: Params, x: jax.Array) -> jax.Array:
        """Apply `linear` with every nonzero weight replaced by 1.

        Its transpose counts synapses: the fan-out of every input, exact at the borders of maps.
        """


class FixedSynapse(Synapse):
    """A linear map without parameters, the same in the ANN and the spiking network."""

    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the layer in the ANN; see `Synapse.forward`."""
        del name, mode
        return self.linear({}, x)


class Weights(Synapse):
    """A linear map with parameters.

    absorbs: True if `scale_outputs` and `normalise_inputs` can fold a normalisation after or
      before the layer into it.
    """

    absorbs: ClassVar[bool] = False

    @abstractmethod
    def parameter_names(self) -> frozenset[str]:
        """Names of the layer's arrays in the collection "params"."""

    @abstractmethod
    def rescale(self, params: Params, scale_in: jax.Array, scale_out: jax.Array) -> Params:
        """Multiply weights by scale_in / scale_out, and divide biases by scale_out (eq. 11).

        Args:
          params: the layer's arrays, with normalisations folded in.
          scale_in: value in the ANN that an input of 1 represents, a scalar or one per channel.
          scale_out: pre-activation that a current of 1 represents, a scalar or one per channel.
        """

    def scale_outputs(self, params: Params, slope: jax.Array, shift: jax.Array) -> Params:
        """Parameters that turn the layer's output y into slope * y + shift.

        Args:
          params: the layer's arrays.
          slope: one number for each output channel.
          shift: one number for each output channel.

        Raises:
          ValueError: if the layer cannot absorb a normalisation.
        """
        raise ValueError(f"a {type(self).__name__} cannot absorb a normalisation after it")

    def normalise_inputs(self, params: Params, mean: jax.Array, std: jax.Array) -> Params:
        """Parameters that map a raw input x to the previous output for (x - mean) / std.

        Args:
          params: the layer's arrays.
          mean: one number for each channel of the image.
          std: one number for each channel of the image.

        Raises:
          ValueError: if the layer cannot absorb a normalisation, or has other channels.
        """
        raise ValueError(f"a {type(self).__name__} cannot absorb a normalisation before it")

    def prepare_kernel(self, params: Params) -> Params:
        """Parameters in the form that is fastest for many calls; the current is the same."""
        return params

    def split_kernel(self, params: Params, count: int) -> Params:
        """Parameters with the kernel in so many bfloat16 numbers, or as they are.

        Then `linear` takes only inputs that bfloat16 holds.
        """
        del count
        return params

    def skip_silent_inputs(self, params: Params, batch_size: int) -> Params:
        """Parameters with which `linear` skips inputs without a spike, or the same object if that
        is not faster; the current is the same up to the order of its sum.

        Then `linear` takes only inputs `[B * n, ...]`, the n timesteps of an image together.

        Args:
          params: the layer's arrays.
          batch_size: B.
        """
        del batch_size
        return params


class Folded(Layer):
    """A normalisation of the ANN, which conversion folds into weights."""

    @abstractmethod
    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the layer in the ANN; see `Synapse.forward`."""


class Block(Layer):
    """Parallel branches of one input; a branch without layers is the identity."""

    @property
    @abstractmethod
    def branches(self) -> Mapping[str, tuple[Layer, ...]]:
        """Layers of each branch, by the branch's name."""

    @abstractmethod
    def with_branches(self, change: Callable[[tuple[Layer, ...]], tuple[Layer, ...]]) -> Block:
        """The same block with `change` applied to every branch."""

    @abstractmethod
    def join(self, outputs: Sequence[jax.Array]) -> jax.Array:
        """Combine the outputs of the branches into the output of the block.

        Raises:
          TypeError: from JAX, if shapes do not fit.
        """

    @abstractmethod
    def split_scale(self, scale: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Scale at the end of every branch, and the weight after `join`, None for 1.

        Args:
          scale: pre-activation that a current of 1 represents after the block, a scalar or one
            per channel.
        """


def per_channel(values: ArrayLike, x: jax.Array) -> ArrayLike:
    """Tile one value per channel to the last axis of `x`, where channels repeat pixel by pixel
    after a Flatten; return a scalar as it is.
    """
    if not jnp.ndim(values):
        return values
    return jnp.tile(jnp.asarray(values), x.shape[-1] // len(values))  # type: ignore[arg-type]
