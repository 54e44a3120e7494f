"""The convolutional layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks.layers.base import ForwardMode, Params, Weights
from snnjax.runtime.convolution import ConvSpec, conv, conv_general_dilated, prepare_kernel
from snnjax.runtime.windows import Pads, Window

__all__ = ["Conv"]


@dataclass(frozen=True)
class Conv(Weights):
    """A 2-D convolution on `[B, H, W, C]`, kernel `[kh, kw, C / groups, features]`.

    padding: "SAME", "VALID", or the pixels added before and after each axis.
    dilation: pixels from one tap of the kernel to the next; 1 is a dense kernel.
    """

    kind: ClassVar[str] = "conv"
    absorbs: ClassVar[bool] = True

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Literal["SAME", "VALID"] | Pads = "SAME"
    groups: int = 1
    use_bias: bool = True
    dilation: tuple[int, int] = (1, 1)

    @property
    def spec(self) -> ConvSpec:
        """Geometry of the windows, and number of groups."""
        window = Window(self.kernel_size, self.strides, self.padding, self.dilation)
        return ConvSpec(window, self.groups)

    def parameter_names(self) -> frozenset[str]:
        """Names of the layer's arrays."""
        return frozenset({"kernel", "bias"} if self.use_bias else {"kernel"})

    def forward(self, x: jax.Array, name: str, mode: ForwardMode) -> jax.Array:
        """Apply the layer in the ANN."""
        return nn.Conv(
            self.features,
            self.kernel_size,
            self.strides,
            self.padding,
            kernel_dilation=self.dilation,
            feature_group_count=self.groups,
            use_bias=self.use_bias,
            dtype=mode.dtype,
            conv_general_dilated=partial(conv_general_dilated, gradient=mode.train),
            name=name,
        )(x)

    def linear(self, params: Params, x: jax.Array, elapsed: ArrayLike = 1.0) -> jax.Array:
        """Current caused by spikes `x` `[B, H, W, C]`, without the bias.

        If `params` has a "border" `[C]`, it is the value of the padding at every timestep;
        otherwise the padding is 0.
        """
        spec = self.spec
        if "border" in params:
            times = jnp.reshape(elapsed, (-1, *[1] * (x.ndim - 1)))
            x = _pad_with_border(spec.window, times * params["border"], x)
            spec = replace(spec, window=replace(spec.window, padding="VALID"))
        return conv(x, params["kernel"], spec, precision=jax.lax.Precision.HIGHEST)

    def incidence(self, params: Params, x: jax.Array) -> jax.Array:
        """Apply `linear` with every nonzero weight replaced by 1."""
        kernel = (jnp.asarray(params["kernel"]) != 0).astype(x.dtype)
        return conv(x, kernel, self.spec, precision=jax.lax.Precision.HIGHEST)

    def rescale(self, params: Params, scale_in: jax.Array, scale_out: jax.Array) -> Params:
        """Multiply kernel by scale_in / scale_out; divide bias by scale_out, border by scale_in."""
        kernel = params["kernel"]
        rescaled = {"kernel": kernel * self._per_input(kernel, scale_in) / scale_out}
        if "bias" in params:
            rescaled["bias"] = params["bias"] / scale_out
        if "border" in params:
            rescaled["border"] = params["border"] / scale_in
        return rescaled

    def scale_outputs(self, params: Params, slope: jax.Array, shift: jax.Array) -> Params:
        """Parameters that turn the layer's output y into slope * y + shift."""
        bias = params.get("bias", 0.0) * slope + shift
        return {**params, "kernel": params["kernel"] * slope, "bias": bias}

    def normalise_inputs(self, params: Params, mean: jax.Array, std: jax.Array) -> Params:
        """Parameters that map a raw input x to the previous output for (x - mean) / std.

        Zero padding of normalised images equals padding of raw images with the mean, so a
        convolution with padding also gets a "border": the padding value of each channel.

        Raises:
          ValueError: if the number of inputs is not a multiple of the image's channels.
        """
        kernel = params["kernel"]
        inputs = kernel.shape[-2] * self.groups
        if inputs != len(mean):
            raise ValueError(f"{inputs} inputs")
        kernel = kernel / self._per_input(kernel, std)
        means = (kernel * self._per_input(kernel, mean)).sum((0, 1, 2))
        folded = {"kernel": kernel, "bias": params.get("bias", 0.0) - means}
        return folded if self.padding == "VALID" else {**folded, "border": mean}

    def prepare_kernel(self, params: Params) -> Params:
        """Parameters with the kernel in the form that the fastest algorithm needs."""
        return {**params, "kernel": prepare_kernel(params["kernel"], self.spec)}

    def _per_input(self, kernel: jax.Array, values: jax.Array) -> jax.Array:
        """One value for each input channel, in the shape of the last two axes of the kernel."""
        if not values.ndim:
            return values
        inputs, outputs = kernel.shape[-2:]
        groups = jnp.reshape(values, (self.groups, inputs)).T
        return jnp.repeat(groups, outputs // self.groups, axis=1)


def _pad_with_border(window: Window, border: jax.Array, x: jax.Array) -> jax.Array:
    """Pad the input with `border` `[..., C]`."""
    width = ((0, 0), *window.pads(x.shape[1:]), (0, 0))
    inside = jnp.broadcast_to(border, (len(border), *x.shape[1:]))
    return jnp.pad(x, width) + (border - jnp.pad(inside, width))
