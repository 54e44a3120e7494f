"""Operations that move entries: followed by indices, or refused."""

import jax
import jax.numpy as jnp
import pytest
from functions_of_images import KEY, assert_refused, dense, images, last

from snnjax import trace
from snnjax.networks import architecture as arch


def looked_up(p, x):
    row = x[0, 0, 0, 0].astype(int)
    return last(p, x) + jax.lax.dynamic_slice(p["out"], (row, 0), (1, 3))


def with_constants(p, x):
    return last(p, jnp.concatenate([x[:, :3], jnp.ones((len(x), 1, 4, 1))], 1))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda p, x: last(p, jnp.take(x, jnp.array([0, 9, 1, 2]), 1, mode="fill")),
            "gather.*entries from outside of its array",
        ),
        (looked_up, "dynamic_slice.*where it looks depends on the images"),
        (with_constants, "concatenate.*activations and constants"),
        (
            lambda p, x: last(p, jnp.pad(x[:, 1:], ((0, 0), (1, 0), (0, 0), (0, 0)), "constant",
                                         constant_values=2.0)),
            "pad.*pads with 2.0; want zeros",
        ),
        (lambda p, x: last(p, jnp.sort(dense(p, x))), "sort.*no spiking layer"),
        (lambda p, x: last(p, x) + dense(p, x)[:, :0] @ p["out"][:0], "array without entries"),
    ],
)  # fmt: skip
def test_what_loses_or_mixes_entries_is_refused_by_name_and_line(function, message):
    assert_refused(function, message, __file__)


def test_a_reversed_image_and_a_transposed_vector_need_no_layer_of_their_own():
    weights = {"w": jax.random.normal(KEY, (16, 3))}
    x = images(4, 4, 1)

    def apply(p, x):
        return (p["w"].T @ x[:, ::-1].transpose(0, 2, 1, 3).reshape(len(x), -1).T).T

    assert trace(apply, weights, x).network.layers == (arch.Flatten(), arch.Dense(3, False))
