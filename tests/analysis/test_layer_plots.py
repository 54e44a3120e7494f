"""Plots of neurons and layers hold the data that they are given, with labels."""

import io

import numpy as np
import pytest
from examples import dense_network, random_images, random_variables
from matplotlib import image

from snnjax import convert
from snnjax.analysis import layer_plots
from snnjax.analysis.conversion_error import ErrorReport, measure_conversion_error
from snnjax.analysis.error_decomposition import ERROR_PARTS
from snnjax.analysis.figures import make_panels

SHAPE = (4, 4, 1)


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_figure_displays_itself_in_a_notebook():
    figure, _ = make_panels(1, (2.0, 1.0))
    shown = image.imread(io.BytesIO(figure._repr_png_()), format="png")
    assert shown.shape == (150, 300, 4)


def test_membrane_traces_have_both_thresholds_and_each_spike_on_its_own():
    membranes = {"up": [0.5, 1.0, -0.5], "down": [-1.0, 0.0, 0.0]}
    spikes = {"up": [0, 1, 1], "down": [-1, 0, 0]}
    figure = layer_plots.membrane_traces(membranes, spikes, positive=1.0, negative=4.0, title="two")
    up, down = figure.axes
    potential, high, low, sent, _ = up.lines
    np.testing.assert_array_equal(potential.get_xydata(), [[1, 0.5], [2, 1.0], [3, -0.5]])
    assert (set(high.get_ydata()), set(low.get_ydata())) == ({1.0}, {-4.0})
    np.testing.assert_array_equal(sent.get_xydata(), [[2, 1.0], [3, 1.0]])
    np.testing.assert_array_equal(down.lines[4].get_xydata(), [[1, -4.0]])
    assert [ax.get_title("left") for ax in figure.axes] == ["up", "down"]
    assert up.get_ylabel() == "potential (membrane units)"
    assert up.get_xlabel() == "timestep"
    assert figure.get_suptitle() == "two"


def test_a_threshold_at_minus_infinity_is_not_drawn():
    figure = layer_plots.membrane_traces(
        {"a": [0.0]}, {"a": [0]}, positive=1.0, negative=np.inf, title=""
    )
    assert len(figure.axes[0].lines) == 4


def test_the_bars_are_the_parts_and_the_marks_the_error():
    network = dense_network()
    variables, images = random_variables(network, SHAPE), random_images(2, SHAPE)
    report = measure_conversion_error(network, convert(network, variables), images, num_steps=2)
    figure = layer_plots.error_parts(report, title="errors")
    (axes,) = figure.axes
    bars = axes.containers
    assert len(bars) == len(ERROR_PARTS)
    for place, layer in enumerate(report.layers.values()):
        stack = [bar[place] for bar in bars]
        heights = [patch.get_height() for patch in stack]
        assert heights == pytest.approx([layer.parts[part][0] for part in ERROR_PARTS])
        tops = [patch.get_y() + patch.get_height() for patch in stack]
        assert [patch.get_y() for patch in stack] == pytest.approx([0.0, *tops[:-1]])
        assert axes.lines[0].get_ydata()[place] == layer.error
    assert [label.get_text() for label in axes.get_xticklabels()] == list(report.layers)
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert legend == {part.replace("_", " ") for part in ERROR_PARTS} | {"the error"}
    assert axes.get_ylabel() == "root mean square (spikes per timestep)"


def test_the_scatter_states_the_correlation_of_all_points_and_draws_some():
    ann = np.linspace(-1, 1, 5000).reshape(2, 2500)
    rates = {"a": -ann, "b": np.zeros(2)}
    figure = layer_plots.rates_against_activations({"a": ann, "b": np.ones(2)}, rates, title="t")
    (axes,) = figure.axes
    assert texts(axes) == ["a: r = -1.000", "b: constant"]
    points = axes.lines[0].get_xydata()
    assert 1000 < len(points) <= layer_plots.POINTS
    np.testing.assert_allclose(points[:, 0], -points[:, 1])
    assert axes.get_xlabel() == "ANN activation (spikes per timestep)"
    assert axes.get_ylabel() == "SNN rate (spikes per timestep)"


def test_histograms_share_their_bins_and_each_sums_to_all_of_its_layer():
    values = {"a": np.zeros((2, 3)), "b": np.linspace(0, 4, 9)}
    figure = layer_plots.histograms(values, quantity="theta (activation)", title="thetas")
    (axes,) = figure.axes
    second, first = (patch.get_xy() for patch in axes.patches)
    assert sorted(texts(axes)) == ["a", "b"]
    assert first[:, 0].min() == second[:, 0].min() == 0.0
    assert first[:, 0].max() == second[:, 0].max() == 4.0
    assert max(first[:, 1].max(), second[:, 1].max()) == pytest.approx(100.0)
    assert axes.get_xlabel() == "theta (activation)"
    assert axes.get_ylabel() == "share of the layer (%)"


def test_largest_outputs_are_drawn_by_the_number_of_the_layer():
    figure = layer_plots.largest_outputs({"A": [1.0, 10.0], "B": [2.0, 3.0]}, title="range")
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[1, 1.0], [2, 10.0]])
    assert axes.get_yscale() == "log"
    assert texts(axes) == ["A", "B"]
    assert axes.get_xlabel() == "layer of neurons"
    assert axes.get_ylabel() == "largest output (magnitude)"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        pytest.param(
            lambda: layer_plots.membrane_traces(
                {"a": np.zeros(3)}, {"a": np.zeros(2)}, positive=1.0, negative=1.0, title=""
            ),
            r"'a': \(3,\).*'a': \(2,\).*same",
            id="other-lengths",
        ),
        pytest.param(
            lambda: layer_plots.membrane_traces(
                {"a": np.zeros((3, 4))}, {"a": np.zeros((3, 4))}, positive=1.0, negative=1.0,
                title="",
            ),
            "single",
            id="many-neurons",
        ),
        pytest.param(
            lambda: layer_plots.membrane_traces({}, {}, positive=1.0, negative=1.0, title=""),
            "nothing to draw",
            id="no-neurons",
        ),
        pytest.param(
            lambda: layer_plots.error_parts(ErrorReport({}, 1.0, 1, 1), title=""),
            "no layer to draw",
            id="no-layers",
        ),
        pytest.param(
            lambda: layer_plots.rates_against_activations({"a": np.ones(3)}, {}, title=""),
            r"layer a has activations \(3,\) and rates nothing",
            id="no-rates",
        ),
        pytest.param(
            lambda: layer_plots.rates_against_activations({}, {}, title=""),
            "0 layers to draw; want at least one",
            id="no-activations",
        ),
        pytest.param(
            lambda: layer_plots.histograms({"a": [1.0, np.nan]}, quantity="", title=""),
            "layer a has 2 numbers; want some, all finite",
            id="nan",
        ),
        pytest.param(
            lambda: layer_plots.histograms(
                dict.fromkeys(map(str, range(109)), (1.0,)), quantity="", title=""
            ),
            "109 curves to draw; want 1 to 108",
            id="too-many",
        ),
        pytest.param(
            lambda: layer_plots.largest_outputs({"a": [1.0, 0.0]}, title=""),
            "a has an output of 0.0; want magnitudes above 0",
            id="zero-on-a-logarithmic-axis",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
