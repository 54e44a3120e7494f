"""Small functions of images for the tests of tracing, and how one of them is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import trace

KEY = jax.random.key(0)
WEIGHTS = {
    "in": jnp.ones((16, 16)), "out": jnp.ones((16, 3)),
    "kernel": jnp.ones((2, 1, 3, 3)), "back": jnp.ones((1, 2, 3, 3)),
}  # fmt: skip
"""For `dense`, `last`, and convolutions of `images(4, 4, 1)`."""


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (4, *shape)).astype(np.float32)


def dense(p, x):
    return x.reshape(len(x), -1) @ p["in"]


def last(p, x):
    return x.reshape(len(x), -1) @ p["out"]


def assert_refused(function, message, file):
    """The function is refused with the message, and with a line of the test's file."""
    with pytest.raises(ValueError, match=message) as caught:
        trace(function, WEIGHTS, images(4, 4, 1))
    assert f"{file.rpartition('/')[2]}:" in str(caught.value)
