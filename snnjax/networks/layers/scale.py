"""Scale and bias per channel, for a normalisation without weights before it to fold into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks.layers.base import DoesNotFit, ForwardMode, Params, Weights, per_channel
from snnjax.networks.layers.fields import set_fields
from snnjax.runtime.checks import check_count

__all__ = ["Scale"]


@dataclass(frozen=True)
class Scale(Weights):
    """y = x * scale + bias, with one scale and one bias per channel.

    features: channels of `[B, H, W, C]`, or inputs of `[B, N]`.

    Raises:
      ValueError: if `features` is no whole number of at least 1.
    """

    kind: ClassVar[str] = "scale"

    features: int

    def __post_init__(self) -> None:
        set_fields(self, features=check_count)

    def parameter_names(self) -> frozenset[str]:
        """Names of the layer's arrays."""
        return frozenset({"scale", "bias"})

    def parameter_shapes(self, inputs: int | None = None) -> dict[str, tuple[int | None, ...]]:
        """Shapes of the layer's arrays, for an input of so many channels."""
        del inputs
        return {"scale": (self.features,), "bias": (self.features,)}

    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the layer in the ANN."""
        del mode
        return _Scale(self, name=name)(x)

    def linear(self, params: Params, x: jax.Array, elapsed: ArrayLike = 1.0) -> jax.Array:
        """Current caused by spikes `x`, without the bias.

        Raises:
          DoesNotFit: if `x` has another number of channels.
        """
        del elapsed
        if self.features not in (1, x.shape[-1]):
            raise DoesNotFit(f"it takes {self.features} channels, and gets {list(x.shape[1:])}")
        return x * params["scale"]

    def incidence(self, params: Params, x: jax.Array) -> jax.Array:
        """Apply `linear` with every nonzero weight replaced by 1."""
        return x * (params["scale"] != 0).astype(x.dtype)

    def rescale(self, params: Params, scale_in: jax.Array, scale_out: jax.Array) -> Params:
        """Multiply scales by scale_in / scale_out, and divide biases by scale_out."""
        scale = params["scale"]
        return {
            "scale": scale * per_channel(scale_in, scale) / scale_out,
            "bias": params["bias"] / scale_out,
        }


class _Scale(nn.Module):
    spec: Scale

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.spec.features,)
        params = {
            "scale": self.param("scale", nn.initializers.ones, shape),
            "bias": self.param("bias", nn.initializers.zeros, shape),
        }
        return self.spec.current(params, jnp.asarray(x))
