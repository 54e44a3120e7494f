"""Folding of image and batch normalisations into weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from snnjax.networks.architecture import Layer, named
from snnjax.networks.layers import (
    BatchNorm,
    Block,
    FixedSynapse,
    Folded,
    Normalise,
    Transpose,
    Weights,
)

__all__ = ["fold"]

Params = dict[str, Any]
Layers = tuple[Layer, ...]


def fold(layers: Layers, params: Mapping[str, Any], statistics: Mapping[str, Any]) -> Params:
    """Fold image and batch normalisations into weights; return the new parameters.

    A Normalise changes the kernel to W / std and the bias to b - sum of W mean / std. Zero padding
    of normalised images equals padding of raw images with the mean, so a convolution with padding
    also gets a "border": the padding value of each channel.
    A BatchNorm changes the kernel to g W / s and the bias to (b - mean) g / s + beta, with
    s = sqrt(variance + epsilon).

    Source: Rueckauer et al. 2017 for batch normalisation. Choice: the paper does not say how
    its images are normalised.

    Args:
      layers: the specifications; their names do not change.
      params: the collection "params" of these layers.
      statistics: the collection "batch_stats" of these layers.

    Raises:
      ValueError: if a BatchNorm does not directly follow a Dense or Conv, or has no statistics;
        if a Normalise is not followed by a Dense or Conv of its channels, possibly after a
        Flatten or AvgPool; or if no rule folds a layer.
    """
    return _fold_batch_norm(layers, _fold_normalise(layers, params), statistics)


def _fold_normalise(layers: Layers, params: Mapping[str, Any]) -> Params:
    folded = dict(params)
    inside = [pair for pair in named(layers) if not isinstance(pair[1], Transpose)]
    if not inside or not isinstance(inside[0][1], Normalise):
        return folded
    (first, normalise), *rest = inside
    assert isinstance(normalise, Normalise)
    name = "nothing"
    for name, layer in rest:
        if isinstance(layer, Weights) and layer.absorbs:
            mean, std = jnp.asarray(normalise.mean), jnp.asarray(normalise.std)
            try:
                folded[name] = layer.normalise_inputs(params[name], mean, std)
            except ValueError as error:
                raise ValueError(
                    f"{first} has {len(mean)} channels, but {name} has {error}; want the same"
                    " channels in both"
                ) from error
            return folded
        if not isinstance(layer, FixedSynapse):
            break
    raise ValueError(
        f"{first} is followed by {name}; want a Dense or Conv, so that it can be folded into its"
        " weights"
    )


def _fold_batch_norm(
    layers: Layers, params: Mapping[str, Any], statistics: Mapping[str, Any]
) -> Params:
    folded: Params = {}
    before: tuple[str, Weights] | None = None
    for name, layer in named(layers):
        if isinstance(layer, Block):
            inner, means = params.get(name, {}), statistics.get(name, {})
            folded[name] = {
                branch: _fold_batch_norm(stack, inner.get(branch, {}), means.get(branch, {}))
                for branch, stack in layer.branches.items()
            }
        elif isinstance(layer, BatchNorm):
            if before is None:
                raise ValueError(
                    f"{name} does not follow a Dense or Conv; put it right after one, so that"
                    " it can be folded into its weights"
                )
            if name not in statistics:
                raise ValueError(
                    f"{name} has no statistics; pass variables with the collection 'batch_stats'"
                )
            weights, spec = before
            slope, shift = layer.affine(params[name], statistics[name])
            folded[weights] = spec.scale_outputs(folded[weights], slope, shift)
        elif isinstance(layer, Folded) and not isinstance(layer, Normalise):
            raise ValueError(
                f"{name} is a {type(layer).__name__}, which no rule folds; want a BatchNorm"
            )
        elif name in params:
            folded[name] = dict(params[name])
        before = (name, layer) if isinstance(layer, Weights) and layer.absorbs else None
    return folded
