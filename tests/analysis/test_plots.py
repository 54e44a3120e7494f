"""A raster plot distinguishes spikes of either sign and has a row for every neuron."""

import numpy as np

from snnjax.analysis import figures, plots


def test_a_raster_counts_both_signs_and_shows_silent_neurons():
    spikes = np.zeros((3, 5), int)
    spikes[0, 1], spikes[2, 3] = 1, -1
    figure = plots.spike_raster(
        {"two": spikes, "none": np.zeros((3, 2), int)}, title="t", order="pixel"
    )
    two, none = figure.axes
    up, down = two.lines
    np.testing.assert_array_equal(up.get_xydata(), [[1, 1]])
    np.testing.assert_array_equal(down.get_xydata(), [[3, 3]])
    assert up.get_color() == figures.COLOURS[0]
    assert down.get_color() == "black"
    assert two.get_title("left") == "two: 2 spikes, 1 of them -1"
    assert none.get_title("left") == "none: 0 spikes"
    assert two.get_ylim() == (4.5, -0.5)
    assert two.get_ylabel() == "pixel"
