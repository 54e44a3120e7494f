"""Operations by NumPy give what JAX gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Literal

from snnjax.conversion.tracing.numpy_operations import compute

X = np.random.default_rng(0).normal(size=(2, 3, 1)).astype(np.float32)
Y = np.abs(X[::-1]) + 0.5


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: x + y * x - y,
        lambda x, y: jax.lax.rsqrt(y) / jnp.sqrt(y) + jnp.square(x),
        lambda x, y: jnp.maximum(-x, jnp.minimum(abs(x), y)),
        lambda x, y: jax.lax.select(x > y, x, y),
        lambda x, y: jax.lax.select(x <= y, jax.lax.ge(x, y), jax.lax.ne(x, y)),
        lambda x, y: jax.lax.lt(x, y) == jax.lax.eq(x, y),
        lambda x, y: jax.lax.broadcast_in_dim(x[:, ::-1, 0].T, (3, 4, 2), (0, 2)),
        lambda x, y: jnp.expand_dims(jnp.squeeze(x), 0)[:, ::2].reshape(-1),
        lambda x, y: jnp.exp(x).sum(0),  # NumPy has no part in it
    ],
)
def test_an_operation_by_numpy_is_that_of_jax(function):
    closed = jax.make_jaxpr(function)(X, Y)
    values = dict(zip(closed.jaxpr.invars, (X, Y), strict=True))
    for equation in closed.jaxpr.eqns:
        operands = [v.val if isinstance(v, Literal) else values[v] for v in equation.invars]
        values |= zip(equation.outvars, compute(equation, operands), strict=True)
    found, wanted = values[closed.jaxpr.outvars[0]], function(X, Y)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
