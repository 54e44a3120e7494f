"""The convolutional layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks.layers.base import DoesNotFit, ForwardMode, Params, Weights
from snnjax.networks.layers.fields import flag, pads, pair, set_fields
from snnjax.runtime.checks import check_count
from snnjax.runtime.convolution import (
    ConvSpec,
    PreparedKernel,
    conv,
    conv_general_dilated,
    prepare_kernel,
)
from snnjax.runtime.split_kernels import split_kernel
from snnjax.runtime.windows import Pads, Window

__all__ = ["Conv"]


@dataclass(frozen=True)
class Conv(Weights):
    """A 2-D convolution on `[B, H, W, C]`, kernel `[kh, kw, C / groups, features]`.

    padding: "SAME", "VALID", or the pixels added before and after each axis; one number, or one for
      each axis, stands for both sides.
    dilation: pixels from one tap of the kernel to the next; 1 is a dense kernel.

    Sizes are pairs for rows and columns; one number stands for both.

    Raises:
      ValueError: if a field is not of this kind.
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

    def __post_init__(self) -> None:
        set_fields(
            self, features=check_count, kernel_size=pair, strides=pair, padding=pads,
            groups=check_count, use_bias=flag, dilation=pair,
        )  # fmt: skip
        if self.features % self.groups:
            raise ValueError(
                f"features of Conv is {self.features} and groups {self.groups}; want as many"
                " features in each group"
            )

    @property
    def spec(self) -> ConvSpec:
        """Geometry of the windows, and number of groups."""
        window = Window(self.kernel_size, self.strides, self.padding, self.dilation)
        return ConvSpec(window, self.groups)

    def parameter_names(self) -> frozenset[str]:
        """Names of the layer's arrays."""
        return frozenset({"kernel", "bias"} if self.use_bias else {"kernel"})

    def parameter_shapes(self, inputs: int | None = None) -> dict[str, tuple[int | None, ...]]:
        """Shapes of the layer's arrays, for an input of so many channels."""
        of_group = None if inputs is None else inputs // self.groups
        kernel = (*self.kernel_size, of_group, self.features)
        return {"kernel": kernel, "bias": (self.features,), "border": (inputs,)}

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

        Raises:
          DoesNotFit: if `x` is no map of the layer's channels, or smaller than its windows.
        """
        spec, channels = self.spec, params["kernel"].shape[2] * self.groups
        if x.ndim != 4 or x.shape[-1] != channels:
            raise DoesNotFit(f"it takes maps [H, W, {channels}], and gets {list(x.shape[1:])}")
        try:
            spec.window.outputs(x.shape[1:])
        except ValueError as error:
            raise DoesNotFit(str(error)) from error
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

    def split_kernel(self, params: Params, count: int) -> Params:
        """Parameters with the kernel in so many bfloat16 numbers; see `Weights.split_kernel`.

        They stay as they are with groups, whose inputs are apart, with a border, which may be any
        number, and with a kernel that is prepared.
        """
        kernel = params["kernel"]
        if self.groups > 1 or "border" in params or isinstance(kernel, PreparedKernel):
            return params
        return {**params, "kernel": split_kernel(kernel, count)}

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
