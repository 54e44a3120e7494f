"""Patches and pairs of pixels are the convolution, forward and backward."""

from functools import partial

import pytest
from convolutions import assert_exact, draw_convolution

from snnjax.runtime.patches import (
    conv_by_pairs,
    conv_by_patches,
    pairs_are_faster,
    patches_are_faster,
)
from snnjax.runtime.windows import Window

PIXELS = ((1, 0), (2, 1))


# Every two values of two columns meet in one row.
@pytest.mark.parametrize(
    ("size", "taps", "strides", "padding", "groups"),
    [
        ((9, 9), (3, 3), (1, 1), "SAME", 1),
        ((6, 11), (3, 3), (2, 3), "VALID", 3),
        ((9, 9), (3, 3), (2, 3), PIXELS, 1),
        ((6, 11), (5, 2), (1, 1), "VALID", 1),
        ((9, 9), (5, 2), (2, 3), "SAME", 3),
        ((6, 11), (5, 2), (1, 1), PIXELS, 3),
        ((6, 11), (1, 1), (2, 3), "SAME", 1),
        ((9, 9), (1, 1), (1, 1), "VALID", 3),
        ((9, 9), (1, 1), (1, 1), PIXELS, 1),
    ],
)
def test_patches_are_the_convolution(size, taps, strides, padding, groups):
    x, kernel = draw_convolution((2, *size, 6), (*taps, 6 // groups, 9))
    convolve = partial(
        conv_by_patches, window=Window(taps, strides, padding), groups=groups
    )  # fmt: skip
    assert_exact(convolve, x, kernel, strides=strides, padding=padding, groups=groups)


@pytest.mark.parametrize(("taps", "padding"), [
    ((3, 3), "SAME"), ((3, 3), "VALID"), ((5, 5), "SAME"), ((1, 1), "SAME"), ((2, 2), "SAME"),
    ((5, 3), ((0, 2), (3, 1))), ((3, 4), ((1, 0), (0, 1))),
])  # fmt: skip
def test_pairs_are_the_convolution(taps, padding):
    x, kernel = draw_convolution((2, 5, 8, 6), (*taps, 6, 9), seed=7)
    convolve = partial(conv_by_pairs, window=Window(taps, padding=padding))
    assert_exact(convolve, x, kernel, padding=padding)


@pytest.mark.parametrize(
    ("image", "kernel", "strides", "groups", "forward", "with_gradient"),
    [
        pytest.param((28, 28, 1), (5, 5, 1, 12), (1, 1), 1, True, True, id="few-channels"),
        pytest.param((8, 8, 64), (3, 3, 64, 64), (1, 1), 1, False, False, id="many-pixels"),
        pytest.param((32, 32, 16), (1, 1, 16, 32), (2, 2), 1, True, True, id="one-tap"),
        pytest.param((4, 4, 512), (3, 3, 512, 512), (1, 1), 1, False, True, id="few-pixels"),
        pytest.param((8, 8, 12), (5, 5, 12, 64), (1, 1), 1, False, True, id="wide-kernel"),
        pytest.param((2, 2, 512), (3, 3, 512, 512), (1, 1), 1, True, True, id="four-pixels"),
        pytest.param((4, 4, 512), (3, 3, 512, 512), (2, 2), 1, True, True, id="four-windows"),
        pytest.param((16, 16, 64), (3, 3, 16, 64), (1, 1), 4, True, True, id="groups"),
    ],
)
def test_where_patches_are_faster(image, kernel, strides, groups, forward, with_gradient):
    for gradient, wanted in ((False, forward), (True, with_gradient)):
        window = Window(kernel[:2], strides, "SAME")
        options = {"groups": groups, "gradient": gradient}
        assert patches_are_faster(image, kernel, window, **options) == wanted


@pytest.mark.parametrize(
    ("image", "kernel", "strides", "wanted"),
    [
        pytest.param((32, 32, 16), (3, 3, 16, 16), (1, 1), True, id="few-channels"),
        pytest.param((32, 32, 16), (3, 3, 16, 16), (2, 2), False, id="strides"),
        pytest.param((32, 31, 16), (3, 3, 16, 16), (1, 1), False, id="odd-columns"),
        pytest.param((32, 32, 16), (3, 3, 16, 32), (1, 1), False, id="many-features"),
    ],
)
def test_where_pairs_are_faster(image, kernel, strides, wanted):
    assert pairs_are_faster(image, kernel, Window(kernel[:2], strides, "SAME")) == wanted
