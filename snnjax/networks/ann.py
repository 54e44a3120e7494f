"""An architecture read as a Flax module."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.networks.architecture import unknown_layer
from snnjax.networks.layers import Activation, Block, Folded, ForwardMode, Synapse, Weights

__all__ = ["ANN"]


class ANN(nn.Module):
    """The layers of a network, applied in order.

    Parameters are named after the layers: "kernel" and "bias" of a Dense or Conv, "scale"
    and "bias" of a BatchNorm (its statistics in the collection "batch_stats") or a Scale, and
    "log_theta" of an Activation that learns its theta, so that theta stays positive; one of
    rates has "share", of which the sigmoid is the share p of the running "largest".
    """

    layers: tuple[arch.Layer, ...]
    dropout: float = 0.0
    dtype: Any = jnp.float32
    """of what passes from layer to layer while training; parameters are float32"""

    @nn.compact
    def __call__(
        self, x: jax.Array, *, levels: ArrayLike | None = None, train: bool = False
    ) -> jax.Array:
        """Logits `[B, K]` of images `[B, H, W, C]` in [0, 1].

        Args:
          x: the images.
          levels: quantise every activation to so many steps; None leaves them smooth.
          train: use the batch's own statistics, and drop the inputs of each Dense layer
            behind the first weights with probability `dropout` (rng "dropout").

        Raises:
          ScopeParamShapeError: from Flax, if the images do not fit the parameters.
          ValueError: if `levels` are asked of an activation without a bound, or a kind of layer
            has no role in a network.
        """
        mode, first = ForwardMode(levels, train, self.dtype if train else jnp.float32), True
        for name, layer in arch.named(self.layers):
            if layer.drops_inputs and not first:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
            first = first and not isinstance(layer, Weights)
            match layer:
                case Block():
                    x = _Block(layer, self.dropout, self.dtype, name=name)(x, levels, train)
                case Synapse() | Folded() | Activation():
                    x = layer.forward(x, name, mode)
                case _:
                    raise unknown_layer(name, layer)
        return x


class _Block(nn.Module):
    block: Block
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, levels: ArrayLike | None, train: bool) -> jax.Array:
        outputs = [
            ANN(layers, self.dropout, self.dtype, name=branch)(x, levels=levels, train=train)
            for branch, layers in self.block.branches.items()
        ]
        return self.block.join(outputs)
