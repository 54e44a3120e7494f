"""Kernels that `jax.vmap` maps along with images are looped over, with the same results."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.runtime.mapped_kernels import loop_over_mapped_kernels

convolve = partial(
    jax.lax.conv_general_dilated, window_strides=(1, 1), padding="SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
)  # fmt: skip


@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None)])
def test_mapped_kernels_are_looped_over_on_a_cpu(axes):
    draw = np.random.default_rng(5).normal
    x = draw(size=(3, 2, 8, 8, 6)).astype(np.float32)
    kernels = draw(size=(3, 3, 3, 6, 4)).astype(np.float32)
    given = [of if axis == 0 else of[0] for of, axis in zip((x, kernels), axes, strict=True)]
    ours, theirs = (
        jax.jit(jax.vmap(f, axes)) for f in (loop_over_mapped_kernels(convolve, convolve), convolve)
    )
    np.testing.assert_allclose(ours(*given), theirs(*given), atol=1e-5)
    grouped = [f"feature_group_count={len(x)}" in str(jax.make_jaxpr(f)(*given))
               for f in (ours, theirs)]  # fmt: skip
    assert grouped == [jax.default_backend() != "cpu" and axes == (0, 0), axes == (0, 0)]


def test_kernels_mapped_over_mapped_images_and_gradients_of_them():
    draw = np.random.default_rng(6).normal
    x = draw(size=(2, 3, 2, 8, 8, 6)).astype(np.float32)
    kernels = draw(size=(3, 3, 3, 6, 4)).astype(np.float32)

    def gradients(f):
        twice = jax.vmap(jax.vmap(f), (0, None))
        both = jax.grad(lambda x, kernels: (twice(x, kernels) ** 2).sum(), (0, 1))
        return jax.jit(both)(x, kernels)

    ours, theirs = gradients(loop_over_mapped_kernels(convolve, convolve)), gradients(convolve)
    for mine, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, wanted, atol=1e-5 * float(jnp.abs(wanted).max()))
