"""Windows in arrays of indices."""

import numpy as np
import pytest

from snnjax.conversion.tracing.indices import PADDING, cut, indices_of
from snnjax.conversion.tracing.window_search import find_windows
from snnjax.runtime.windows import Window

SHAPE = (6, 5, 2)
IMAGES = indices_of(SHAPE, 2)


def rows_of(window, images=IMAGES):
    """Windows of images, one in each row."""
    pads = ((0, 0), *window.pads(images.shape[1:]), (0, 0))
    cuts = cut(images, (1, *window.reach, images.shape[3]), (1, *window.strides, 1), pads)
    taps = cuts[..., 0, :: window.dilation[0], :: window.dilation[1], :]
    return taps.reshape(-1, window.size[0] * window.size[1] * images.shape[3])


@pytest.mark.parametrize(
    "window",
    [
        Window((3, 3), padding="SAME"),
        Window((2, 1), (2, 3), "VALID"),
        Window((2, 3), (1, 2), ((1, 0), (2, 0)), (2, 1)),
    ],
)
def test_windows_are_found_as_they_were_cut(window):
    found = find_windows(rows_of(window), SHAPE)
    assert found.window == window
    np.testing.assert_array_equal(found.pixels, np.arange(len(found.pixels)))
    rows = np.repeat(np.arange(window.size[0]), len(found.taps[0]) // window.size[0])
    np.testing.assert_array_equal(found.taps[0], rows)


def test_reversed_rows_of_windows_are_other_pixels():
    found = find_windows(rows_of(Window((2, 2)), IMAGES[:, ::-1]), SHAPE)
    assert found.window == Window((2, 2))
    assert found.pixels[0] == 4 * 4


def test_what_is_not_one_window_at_several_places_is_none():
    rows = rows_of(Window((2, 2)))
    rows[3] = rows[3, ::-1]
    assert find_windows(rows, SHAPE) is None
    zeros = rows_of(Window((2, 2)))
    zeros[0, 0] = PADDING  # inside the map
    assert find_windows(zeros, SHAPE) is None
    mixed = rows_of(Window((2, 2)))
    mixed[0, 0] += np.prod(SHAPE)  # of the next image
    assert find_windows(mixed, SHAPE) is None
