"""Winograd's algorithm is the convolution, and exact for spikes and kernels of few bits."""

import jax
import numpy as np
import pytest
from convolutions import assert_exact, draw_convolution, exact_convolution

from snnjax.runtime.windows import Window
from snnjax.runtime.winograd import conv_by_winograd, transform_kernel


def winograd(padding):
    def convolve(x, kernel):
        return conv_by_winograd(x, transform_kernel(kernel), Window((3, 3), padding=padding))

    return convolve


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (2, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0), (2, 1))])
def test_winograd_is_the_convolution(size, padding):
    if padding == "VALID":
        size = (size[0] + 2, size[1] + 2)
    x, kernel = draw_convolution((2, *size, 5), (3, 3, 5, 6), seed=3)
    assert_exact(winograd(padding), x, kernel, padding=padding)


def test_winograd_is_exact_for_spikes_and_kernels_of_few_bits():
    """Transformed spikes are whole numbers, and transformed kernels quarters."""
    draw = np.random.default_rng(4)
    spikes = draw.integers(-1, 2, (2, 8, 8, 128)).astype(np.float32)
    kernel = draw.integers(-8, 9, (3, 3, 128, 128)).astype(np.float32)
    exact = exact_convolution(spikes, kernel)
    np.testing.assert_array_equal(jax.jit(winograd("SAME"))(spikes, kernel), exact)
