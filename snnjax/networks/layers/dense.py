"""The fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks.layers.base import DoesNotFit, ForwardMode, Params, Weights
from snnjax.networks.layers.fields import flag, set_fields
from snnjax.runtime.checks import check_count
from snnjax.runtime.silent_inputs import SkippingKernel, dot_active, skipping_pays
from snnjax.runtime.split_kernels import FASTEST, SplitKernel, repeat_inputs, split_kernel

__all__ = ["Dense"]


@dataclass(frozen=True)
class Dense(Weights):
    """y = x W + b on `[B, N]`, kernel `[N, features]`.

    Raises:
      ValueError: if `features` is no whole number of at least 1.
    """

    kind: ClassVar[str] = "dense"
    drops_inputs: ClassVar[bool] = True
    absorbs: ClassVar[bool] = True

    features: int
    use_bias: bool = True

    def __post_init__(self) -> None:
        set_fields(self, features=check_count, use_bias=flag)

    def parameter_names(self) -> frozenset[str]:
        """Names of the layer's arrays."""
        return frozenset({"kernel", "bias"} if self.use_bias else {"kernel"})

    def parameter_shapes(self, inputs: int | None = None) -> dict[str, tuple[int | None, ...]]:
        """Shapes of the layer's arrays, for an input of so many channels."""
        return {"kernel": (inputs, self.features), "bias": (self.features,)}

    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the layer in the ANN."""
        return nn.Dense(self.features, use_bias=self.use_bias, dtype=mode.dtype, name=name)(x)

    def linear(self, params: Params, x: jax.Array, elapsed: ArrayLike = 1.0) -> jax.Array:
        """Current caused by spikes `x` `[B, N]`, without the bias.

        Raises:
          DoesNotFit: if `x` has another number of inputs.
        """
        del elapsed
        kernel = params["kernel"]
        inputs = kernel.shape[0]
        if x.shape[-1] != inputs:
            raise DoesNotFit(f"it takes {inputs} inputs, and gets {list(x.shape[1:])}")
        if isinstance(kernel, SplitKernel):
            x = repeat_inputs(x, kernel)
            return jnp.dot(x, kernel.parts, precision=FASTEST, preferred_element_type=jnp.float32)
        if isinstance(kernel, SkippingKernel):
            return dot_active(x, kernel)
        return jnp.dot(x, kernel, precision=jax.lax.Precision.HIGHEST)

    def incidence(self, params: Params, x: jax.Array) -> jax.Array:
        """Apply `linear` with every nonzero weight replaced by 1."""
        return jnp.dot(x, (params["kernel"] != 0).astype(x.dtype))

    def rescale(self, params: Params, scale_in: jax.Array, scale_out: jax.Array) -> Params:
        """Multiply weights by scale_in / scale_out, and divide biases by scale_out."""
        kernel = params["kernel"]
        rescaled = {"kernel": kernel * _per_input(kernel, scale_in) / scale_out}
        return rescaled | ({"bias": params["bias"] / scale_out} if "bias" in params else {})

    def scale_outputs(self, params: Params, slope: jax.Array, shift: jax.Array) -> Params:
        """Parameters that turn the layer's output y into slope * y + shift."""
        bias = params.get("bias", 0.0) * slope + shift
        return {"kernel": params["kernel"] * slope, "bias": bias}

    def normalise_inputs(self, params: Params, mean: jax.Array, std: jax.Array) -> Params:
        """Parameters that map a raw input x to the previous output for (x - mean) / std.

        Raises:
          ValueError: if the number of inputs is not a multiple of the image's channels.
        """
        kernel = params["kernel"]
        if kernel.shape[0] % len(mean):
            raise ValueError(f"{kernel.shape[0]} inputs")
        kernel = kernel / _per_input(kernel, std)
        bias = params.get("bias", 0.0) - (kernel * _per_input(kernel, mean)).sum(0)
        return {"kernel": kernel, "bias": bias}

    def split_kernel(self, params: Params, count: int) -> Params:
        """Parameters with the kernel in so many bfloat16 numbers; see `Weights.split_kernel`."""
        return {**params, "kernel": split_kernel(params["kernel"], count)}

    def skip_silent_inputs(self, params: Params, batch_size: int) -> Params:
        """Parameters whose product skips silent inputs; see `Weights.skip_silent_inputs`."""
        kernel = params.get("kernel")  # a missing one is named where parameters are checked
        if kernel is None or isinstance(kernel, SplitKernel):
            return params
        if not skipping_pays(jnp.shape(kernel), batch_size):
            return params
        return {**params, "kernel": SkippingKernel(kernel, batch_size)}


def _per_input(kernel: jax.Array, values: jax.Array) -> jax.Array:
    """One value for each input, `[N, 1]`; after a Flatten, channels repeat pixel by pixel."""
    if not values.ndim:
        return values
    return jnp.tile(values, kernel.shape[0] // len(values))[:, None]
