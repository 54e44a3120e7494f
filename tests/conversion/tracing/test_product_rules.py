"""Matrix products: a layer of weights, or refused."""

import jax
import jax.numpy as jnp
import pytest
from functions_of_images import KEY, assert_refused, dense, images, last

from snnjax import trace
from snnjax.networks import architecture as arch


def attention(p, x):
    h = jax.nn.relu(dense(p, x)).reshape(-1, 4, 4)
    return last(p, h @ h.transpose(0, 2, 1))


def weights_by_row(p, x):
    h = jnp.einsum("bhw,hwk->bhk", x[..., 0], p["in"].reshape(4, 4, 16))
    return last(p, h[..., :4])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (attention, "dot_general.*multiplies two activations"),
        (weights_by_row, "dot_general.*want one matrix"),
        (
            lambda p, x: last(p, jnp.einsum("bhwc,hk->bkwc", x, p["in"][:4, :4])),
            "dot_general.*neither the channels nor all of an image",
        ),
    ],
)
def test_a_product_of_something_else_is_refused_by_name_and_line(function, message):
    assert_refused(function, message, __file__)


def test_a_product_over_channels_is_a_convolution_of_single_pixels():
    weights = {"w": jax.random.normal(KEY, (2, 5))}
    traced = trace(lambda p, x: jnp.einsum("bhwc,ck->bkhw", x, p["w"]).mean((2, 3)), weights,
                   images(4, 4, 2))  # fmt: skip
    assert arch.Conv(5, (1, 1), padding="VALID", use_bias=False) in traced.network.layers
