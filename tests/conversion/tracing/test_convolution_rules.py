"""Convolutions: what the program says of their windows is in the layer, or refused."""

import jax
import jax.numpy as jnp
import pytest
from functions_of_images import KEY, assert_refused, images

from snnjax import trace
from snnjax.networks import architecture as arch

AXES = ("NHWC", "HWIO", "NHWC")
X = images(6, 5, 2)
KERNEL = {"w": jax.random.normal(KEY, (3, 3, 2, 4))}


def first_layer(apply):
    layers = trace(lambda p, x: apply(p, x).mean((1, 2)), KERNEL, X).network.layers
    return layers[0]


@pytest.mark.parametrize(
    ("strides", "padding", "dilation", "wanted"),
    [
        ((1, 1), "SAME", (1, 1), "SAME"),
        ((2, 1), "SAME", (1, 1), "SAME"),
        ((1, 1), "VALID", (2, 1), "VALID"),
        ((2, 2), [(1, 0), (0, 2)], (1, 1), ((1, 0), (0, 2))),
    ],
)
def test_windows_are_read_as_written(strides, padding, dilation, wanted):
    def apply(p, x):
        return jax.lax.conv_general_dilated(
            x, p["w"], strides, padding, rhs_dilation=dilation, dimension_numbers=AXES
        )

    layer = first_layer(apply)
    assert layer == arch.Conv(4, (3, 3), strides, wanted, 1, False, dilation)


def test_zeros_that_pad_the_image_are_the_padding_of_the_convolution():
    def apply(p, x):
        padded = jnp.pad(x, ((0, 0), (1, 0), (1, 1), (0, 0)))
        return jax.lax.conv_general_dilated(
            padded, p["w"], (1, 1), ((0, 1), (0, 0)), dimension_numbers=AXES
        )

    assert first_layer(apply) == arch.Conv(4, (3, 3), padding="SAME", use_bias=False)


def conv(x, padding, **options):
    kernel = jnp.ones((3, 3, 1, 2))
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=AXES, **options
    )


GAPS = ((0, 0, 0), (0, 0, 1), (0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda p, x: conv(x, ((0, 0), (0, 0)), lhs_dilation=(2, 2)).mean((1, 2)),
            "conv_general_dilated.*transposed",
        ),
        (
            lambda p, x: conv(jax.lax.pad(x, 0.0, GAPS), "VALID").mean((1, 2)),
            "padded inside the image",
        ),
        (
            lambda p, x: jax.lax.conv_general_dilated(
                x[:, :, 0], jnp.ones((3, 1, 2)), (1,), "SAME",
                dimension_numbers=("NWC", "WIO", "NWC"),
            ).mean(1),
            "it has 1 axes of space; want 2",
        ),
        (
            lambda p, x: jax.lax.conv_general_dilated(
                x, jnp.ones((3, 3, 1, 2)), (2, 2), ((0, 1), (-1, 1)), dimension_numbers=AXES
            ).mean((1, 2)),
            "crops one side of an axis and pads the other.* slice",
        ),
    ],
)  # fmt: skip
def test_a_convolution_of_another_kind_is_refused_by_name_and_line(function, message):
    assert_refused(function, message, __file__)
