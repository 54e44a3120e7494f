"""The ways to compute a convolution are one convolution, forward and backward."""

import jax
import numpy as np
import pytest

from snnjax.convolution import conv_general_dilated, from_patches

CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")


@pytest.mark.parametrize("size", [(9, 9), (6, 11)])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 2), (1, 1)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0), (2, 1))])
def test_patches_are_the_convolution_of_xla(size, kernel, strides, padding):
    draw = np.random.default_rng(0).normal
    x = draw(size=(2, *size, 3)).astype(np.float32)
    weights = draw(size=(*kernel, 3, 4)).astype(np.float32)

    def xla(x, weights):
        return jax.lax.conv_general_dilated(
            x, weights, strides, padding, dimension_numbers=CHANNELS_LAST
        )

    ours, pull = jax.vjp(lambda x, w: from_patches(x, w, strides, padding), x, weights)
    theirs, pull_theirs = jax.vjp(xla, x, weights)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    upstream = draw(size=theirs.shape).astype(np.float32)
    for mine, wanted in zip(pull(upstream), pull_theirs(upstream), strict=True):
        np.testing.assert_allclose(mine, wanted, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2])
def test_groups_and_dilation_go_to_xla(groups):
    draw = np.random.default_rng(1).normal
    x = draw(size=(2, 8, 8, 4)).astype(np.float32)
    weights = draw(size=(3, 3, 4 // groups, 6)).astype(np.float32)
    options = {"rhs_dilation": (2, 2), "dimension_numbers": CHANNELS_LAST}
    options["feature_group_count"] = groups
    ours = conv_general_dilated(x, weights, (1, 1), "SAME", **options)
    theirs = jax.lax.conv_general_dilated(x, weights, (1, 1), "SAME", **options)
    np.testing.assert_array_equal(ours, theirs)
