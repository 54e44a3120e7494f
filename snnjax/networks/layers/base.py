"""Base classes of layers, one for each role that a layer can have in a network.

A layer is a frozen dataclass without arrays. Its class knows all that the package needs of its
kind: the ANN's forward pass, the current that spikes cause, and how conversion rescales it. A new
kind of layer is a new subclass in one file; what it leaves out, Python refuses to instantiate.

| role | in the ANN | in the spiking network |
| --- | --- | --- |
| `Weights` | a linear map with parameters | synapses, rescaled by conversion |
| `FixedSynapse` | a linear map without parameters | the same map |
| `Folded` | a normalisation | nothing: conversion folds it into weights |
| `Activation` | sthLeakyReLU and its kin | a layer of neurons |
| `Block` | branches side by side | the same branches |
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
"""Every kind of layer by the name of its class; a subclass that has a `kind` adds itself."""


class ForwardMode(NamedTuple):
    """Mode of the ANN's forward pass.

    levels: number of steps that activations are quantised to; None leaves them smooth.
    train: use the batch's own statistics, and dropout.
    dtype: of the outputs of layers; parameters are float32.
    """

    levels: ArrayLike | None = None
    train: bool = False
    dtype: Any = jnp.float32


@dataclass(frozen=True)
class Layer(ABC):
    """Specification of a layer.

    kind: short name that is part of the layer's path, such as "conv" in "03_conv".
    drops_inputs: the ANN applies dropout to the layer's inputs while training.
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

    def remark(self, weights: str) -> str:
        """Describe for a report what conversion makes of the layer.

        Args:
          weights: path of the weights before it, or "".
        """
        del weights
        return ""


class Synapse(Layer):
    """A linear map between the image or neurons and the next neurons."""

    @abstractmethod
    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the layer in the ANN, inside a compact method of a Flax module.

        Args:
          x: `[B, ...]`.
          name: of the layer, for its parameters.
          mode: of the forward pass.
        """

    @abstractmethod
    def linear(self, params: Params, x: jax.Array, elapsed: ArrayLike = 1.0) -> jax.Array:
        """Current that spikes `x` cause, without the bias.

        Products are in full float32 precision on every platform: a threshold turns a rounding
        error into a whole spike.

        Args:
          params: the layer's arrays, as conversion returns them.
          x: `[B, ...]`, of one timestep or the sum of several.
          elapsed: number of timesteps that `x` is the sum of, a number or `[B]`.

        Raises:
          TypeError: from JAX, if shapes do not fit.
        """

    def current(self, params: Params, x: jax.Array, elapsed: ArrayLike = 1.0) -> jax.Array:
        """Current that spikes `x` cause, with the bias, which flows `elapsed` times; see `linear`.

        Raises:
          TypeError: from JAX, if shapes do not fit.
        """
        y = self.linear(params, x, elapsed)
        if "bias" not in params:
            return y
        return y + jnp.reshape(elapsed, (-1, *[1] * (y.ndim - 1))) * params["bias"]

    @abstractmethod
    def incidence(self, params: Params, x: jax.Array) -> jax.Array:
        """`linear` with a weight of 1 in the place of every weight that is not 0.

        Its transpose counts synapses: the fan-out of every input, with the borders of maps exact.
        """


class FixedSynapse(Synapse):
    """A linear map without parameters, the same in the ANN and the spiking network."""

    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the layer in the ANN; see `Synapse.forward`."""
        del name, mode
        return self.linear({}, x)


class Weights(Synapse):
    """A linear map with parameters.

    absorbs: normalisations beside the layer can be folded into it, by `scale_outputs` and
      `normalise_inputs`.
    """

    absorbs: ClassVar[bool] = False

    @abstractmethod
    def parameter_names(self) -> frozenset[str]:
        """Names of the layer's arrays in the collection "params"."""

    @abstractmethod
    def rescale(self, params: Params, scale_in: jax.Array, scale_out: jax.Array) -> Params:
        """Weights times scale_in / scale_out and biases over scale_out (eq. 11).

        Args:
          params: the layer's arrays, normalisations folded.
          scale_in: what an input spike stands for, a number or one for each channel.
          scale_out: what a unit of current stands for, a number or one for each channel.
        """

    def scale_outputs(self, params: Params, slope: jax.Array, shift: jax.Array) -> Params:
        """Parameters with which the layer's outputs are `slope` times as large plus `shift`.

        Args:
          params: the layer's arrays.
          slope: one number for each output channel.
          shift: one number for each output channel.

        Raises:
          ValueError: if the kind of layer cannot absorb a normalisation.
        """
        raise ValueError(f"a {type(self).__name__} cannot absorb a normalisation behind it")

    def normalise_inputs(self, params: Params, mean: jax.Array, std: jax.Array) -> Params:
        """Parameters with which raw inputs cause what (x - mean) / std caused before.

        Args:
          params: the layer's arrays.
          mean: one number for each channel of the image.
          std: one number for each channel of the image.

        Raises:
          ValueError: if the kind of layer cannot absorb a normalisation, or has other channels.
        """
        raise ValueError(f"a {type(self).__name__} cannot absorb a normalisation before it")

    def prepare_kernel(self, params: Params) -> Params:
        """Parameters in the form that is fastest for many calls; the same current."""
        return params


class Folded(Layer):
    """A normalisation that the ANN has and conversion folds into weights."""

    @abstractmethod
    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the layer in the ANN; see `Synapse.forward`."""


class Block(Layer):
    """Branches that the input passes side by side; a branch without layers is the identity."""

    @property
    @abstractmethod
    def branches(self) -> Mapping[str, tuple[Layer, ...]]:
        """Layers of each branch, by the branch's name."""

    @abstractmethod
    def with_branches(self, change: Callable[[tuple[Layer, ...]], tuple[Layer, ...]]) -> Block:
        """The same block with `change` applied to every branch."""

    @abstractmethod
    def join(self, outputs: Sequence[jax.Array]) -> jax.Array:
        """Output of the block from those of its branches.

        Raises:
          TypeError: from JAX, if shapes do not fit.
        """

    @abstractmethod
    def split_scale(self, scale: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Scale at the end of every branch, and the weight behind `join`, None for 1.

        Args:
          scale: what a unit of current stands for behind the block, a number or one for each
            channel.
        """


def per_channel(values: ArrayLike, x: jax.Array) -> ArrayLike:
    """One value, or one for each channel, in the shape of the last axis of `x`, in which channels
    repeat pixel by pixel behind a Flatten.
    """
    if not jnp.ndim(values):
        return values
    return jnp.tile(jnp.asarray(values), x.shape[-1] // len(values))  # type: ignore[arg-type]
