"""Sums over pixels: average pooling, or refused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from functions_of_images import assert_refused, dense, images, last

from snnjax import trace
from snnjax.networks import architecture as arch


def layer_norm(p, x):
    h = dense(p, x)
    h = (h - h.mean(-1, keepdims=True)) / jnp.sqrt(h.var(-1, keepdims=True) + 1e-5)
    return last(p, jax.nn.relu(h))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda p, x: last(p, nn.max_pool(x, (2, 2), (1, 1), "SAME")),
            "reduce_window_max.*average",
        ),
        (
            lambda p, x: last(p, jax.nn.softmax(dense(p, x))),
            "reduce_max, in softmax,|exp, in softmax",
        ),
        (layer_norm, "reduce_sum.*only pixels can be pooled"),
        (
            lambda p, x: jax.lax.reduce_window(
                x, 0.0, jax.lax.add, (2, 1, 1, 1), (1, 1, 1, 1), "SAME"
            ).mean((1, 2)),
            "reduce_window_sum.*not over the pixels of images",
        ),
    ],
)
def test_what_is_no_mean_over_pixels_is_refused_by_name_and_line(function, message):
    assert_refused(function, message, __file__)


def test_windows_inside_the_image_are_pooling_and_others_a_convolution():
    def layers(padding):
        def apply(p, x):
            return nn.avg_pool(x, (3, 2), (1, 2), padding).mean((1, 2)) @ p["w"]

        return trace(apply, {"w": jnp.ones((2, 3))}, images(5, 4, 2)).network.layers

    assert layers("VALID")[0] == arch.AvgPool((3, 2), (1, 2))
    padded = layers([(1, 1), (0, 0)])[0]
    assert padded == arch.Conv(2, (3, 2), (1, 2), ((1, 1), (0, 0)), 2, False)
