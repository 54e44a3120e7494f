"""Matrix products: a layer of weights, or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from functions_of_images import KEY, assert_refused, dense, images, last

from snnjax import trace
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN


def attention(p, x):
    h = jax.nn.relu(dense(p, x)).reshape(-1, 4, 4)
    return last(p, h @ h.transpose(0, 2, 1))


def weights_by_row(p, x):
    h = jnp.einsum("bhwc,bhk->bwkc", x, jnp.ones((len(x), 4, 4)))
    return last(p, h)


def mixed_tokens(p, x):
    h = jax.lax.conv(x.transpose(0, 3, 1, 2), p["kernel"], (1, 1), "SAME").reshape(len(x), 2, 16)
    return jnp.einsum("bcn,nk->bkc", h, p["out"]).sum(2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (attention, "dot_general.*multiplies two activations"),
        (weights_by_row, "dot_general.*want one matrix"),
        (mixed_tokens, "dot_general.*neither the channels nor all of an image"),
    ],
)
def test_a_product_of_something_else_is_refused_by_name_and_line(function, message):
    assert_refused(function, message, __file__)


def test_a_product_over_channels_is_a_convolution_of_single_pixels():
    weights = {"w": jax.random.normal(KEY, (2, 5))}
    traced = trace(lambda p, x: jnp.einsum("bhwc,ck->bkhw", x, p["w"]).mean((2, 3)), weights,
                   images(4, 4, 2))  # fmt: skip
    assert arch.Conv(5, (1, 1), padding="VALID", use_bias=False) in traced.network.layers


def test_d_our_own_module_is_read_back_whichever_way_it_convolves():
    """A CPU computes these convolutions from patches: few channels, groups, few pixels."""
    layers = (
        arch.Conv(4, (3, 3), (2, 1), use_bias=False), arch.Activation(0.1, 1.0),
        arch.Conv(4, (3, 3), padding="VALID", groups=2, use_bias=False), arch.Activation(0.0, 2.0),
        arch.Flatten(), arch.Dense(3, False),
    )  # fmt: skip
    x = images(6, 5, 2)
    variables = jax.jit(ANN(layers).init)(KEY, x)
    found = trace(ANN(layers).apply, variables, x)
    assert found.network.layers == layers
    kernel = found.variables["params"]["02_conv"]["kernel"]
    np.testing.assert_allclose(kernel, variables["params"]["02_conv"]["kernel"], rtol=1e-6)
