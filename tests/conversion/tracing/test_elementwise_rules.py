"""Functions entry by entry: known by their values, whatever they are made of, or refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from functions_of_images import KEY, WEIGHTS, assert_refused, dense, images, last

from snnjax import trace
from snnjax.networks import architecture as arch
from snnjax.networks.activations import sth_leaky_relu


@pytest.mark.parametrize(
    ("function", "alpha", "theta"),
    [
        (lambda z: jnp.maximum(z, 0.3 * z), 0.3, np.inf),
        (lambda z: jnp.where(z >= 0, z, 0.25 * z), 0.25, np.inf),
        (lambda z: z * (z > 0), 0.0, np.inf),
        (lambda z: jax.nn.relu(z) - 0.25 * jax.nn.relu(-z), 0.25, np.inf),
        (lambda z: 0.6 * z + 0.4 * jnp.abs(z), 0.2, np.inf),
        (jax.nn.relu6, 0.0, 6.0),
        (jax.nn.hard_tanh, 1.0, 1.0),
        (partial(jax.lax.clamp, 0.0, max=0.75), 0.0, 0.75),
        (partial(sth_leaky_relu, theta=0.5, alpha=0.1), 0.1, 0.5),
        (lambda z: jnp.clip(jax.nn.leaky_relu(z, 0.1), -2, 2), 0.1, 2.0),
    ],
)
def test_an_activation_is_known_by_what_it_does(function, alpha, theta):
    weights = {"a": jax.random.normal(KEY, (5, 6)), "b": jax.random.normal(KEY, (6, 3))}
    x = images(5)
    apply = lambda p, x: function(x @ p["a"]) @ p["b"]  # noqa: E731
    found = arch.activations(trace(apply, weights, x).network)
    if len(found) == 1:
        (only,) = found.values()
        assert (only.alpha, only.theta) == (pytest.approx(alpha), pytest.approx(theta))
    else:  # a difference of two ReLUs may stay one
        assert {(a.alpha, a.theta) for a in found.values()} == {(0.0, np.inf)}


def masked(mask, p, x):
    h = jax.nn.relu(jax.lax.conv(x.transpose(0, 3, 1, 2), p["kernel"], (1, 1), "SAME"))
    h = h * mask(h.shape)
    return last(p, jax.lax.conv(h, p["back"], (1, 1), "SAME"))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda p, x: last(p, jax.nn.gelu(dense(p, x))), "in gelu"),
        (lambda p, x: last(p, jnp.tanh(dense(p, x))), "tanh.*sthLeakyReLU"),
        (
            lambda p, x: last(p, jax.nn.relu(dense(p, x)) * dense(p, 2 * x)),
            "mul.*two activations",
        ),
        (lambda p, x: last(p, 1 / jax.nn.relu(dense(p, x))), "div.*divides by an activation"),
        (
            lambda p, x: last(p, jnp.maximum(dense(p, x), dense(p, 2 * x))),
            "combines two activations",
        ),
        (
            partial(masked, lambda shape: jnp.arange(float(np.prod(shape))).reshape(shape) + 1),
            "mul.*differ from pixel to pixel",
        ),
        (
            partial(masked, lambda shape: jax.random.bernoulli(KEY, 0.5, shape)),
            "mul.*takes random numbers, as dropout",
        ),
        (
            lambda p, x: last(p, dense(p, x) * jnp.arange(2.0).repeat(len(x) // 2)[:, None]),
            "mul.*differ from image to image",
        ),
        (lambda p, x: last(p, jnp.floor(dense(p, x))), "floor.*without levels"),
        (
            lambda p, x: last(p, jnp.clip(dense(p, x), -0.5, 1)),
            "bounded by 1 above and -0.5 below",
        ),
        (lambda p, x: last(p, jnp.maximum(dense(p, x), 1.0)), "is not 0 at 0"),
        (
            lambda p, x: (dense(p, x)[:, :, None] + jnp.ones((1, 1, 2))).mean(2),
            "add.*broadcasts an activation|part, a padding or copies",
        ),
    ],
)
def test_what_is_no_activation_is_refused_by_name_and_line(function, message):
    assert_refused(function, message, __file__)


def test_two_functions_of_one_signal_that_are_no_activation_are_a_residual_sum():
    def steep(p, x):  # its slope below 0 is larger than the one above
        y = dense(p, x)
        return last(p, y + jax.nn.relu(-y) * -3.0)

    with_sum = trace(steep, WEIGHTS, images(4, 4, 1))
    assert any(isinstance(layer, arch.Residual) for layer in with_sum.network.layers)
