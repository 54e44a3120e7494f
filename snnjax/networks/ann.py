"""The Flax module of an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.networks.architecture import unknown_layer
from snnjax.networks.layers import Activation, Block, Folded, ForwardMode, Synapse, Weights
from snnjax.runtime.images import check_floats

__all__ = ["ANN", "sown_activations"]


class ANN(nn.Module):
    """The layers of a network, applied in order.

    Parameters are stored under the name of their layer: "kernel" and "bias" of a Dense or Conv,
    "scale" and "bias" of a BatchNorm or Scale. An Activation that learns theta has "log_theta",
    so that theta stays positive; one with `learn="rate"` has "share", and its theta is
    sigmoid(share) times the running maximum "largest". The collection "batch_stats" holds
    "largest" and the statistics of every BatchNorm.
    """

    layers: tuple[arch.Layer, ...]
    dropout: float = 0.0
    dtype: Any = jnp.float32
    """dtype of the layers' outputs in training; parameters are float32"""

    @nn.compact
    def __call__(
        self, x: jax.Array, *, levels: ArrayLike | None = None, train: bool = False
    ) -> jax.Array:
        """Logits `[B, K]` of images `[B, H, W, C]` or `[B, D]`.

        Args:
          x: the images, floats in the range of the training; computed in float32.
          levels: number of steps to quantise every activation to; None leaves them smooth.
          train: use the statistics of the batch, and drop the inputs of each Dense layer
            after the first weights with probability `dropout` (rng "dropout").

        Raises:
          ScopeParamShapeError: from Flax, if the images do not fit the parameters.
          ValueError: if the images are no floats, `levels` is given and an activation has no bound,
            or a layer has none of the roles in `layers.base`.
        """
        mode, first = ForwardMode(levels, train, self.dtype if train else jnp.float32), True
        x = check_floats(jnp.asarray(x))
        x = x if x.dtype == mode.dtype else x.astype(jnp.float32)
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


def sown_activations(collections: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Activations `[B, ...]` by path, of an ANN applied with "intermediates" mutable.

    Args:
      collections: second output of `apply`.

    Raises:
      Nothing.
    """
    leaves = jax.tree_util.tree_flatten_with_path(collections.get("intermediates", {}))[0]
    return {
        "/".join(key.key for key in keys[:-2]): leaf
        for keys, leaf in leaves
        if keys[-2].key == "output"
    }


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
