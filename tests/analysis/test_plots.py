"""A raster plot distinguishes spikes of either sign; all plots draw as much as was given."""

import numpy as np
import pytest

from snnjax.analysis import figures, layer_plots, plots


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


def curves(count):
    return {f"curve {i}": [50.0 + i, 60.0 + i, 70.0] for i in range(count)}


def looks(lines):
    """Colour, line style and marker of each line."""
    return {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}


def test_a6_every_panel_of_a_raster_is_drawn():
    """Eight layers in two rows of four, with colours that begin again."""
    trains = {f"layer {i}": np.eye(5, 4, dtype=int) for i in range(8)}
    figure = plots.spike_raster(trains, title="t")
    assert [axes.get_title("left") for axes in figure.axes] == [f"{n}: 4 spikes" for n in trains]
    assert all(len(axes.lines) == 2 for axes in figure.axes)
    assert len({axes.get_position().y0 for axes in figure.axes}) == 2
    assert [axes.get_ylabel() for axes in figure.axes] == ["neuron", *[""] * 3] * 2


def test_a6_sixty_curves_and_six_anns_all_look_different():
    ann = {f"ANN {i}": 90.0 + i for i in range(6)}
    figure = plots.accuracy_against_time(curves(60), ann=ann, title="t")
    (axes,) = figure.axes
    assert len(looks(axes.lines[:60])) == 60
    assert len(axes.lines) == 66
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*curves(60), *ann]
    figure.canvas.draw()
    inside, whole = legend.get_window_extent(), figure.bbox
    assert whole.y0 <= inside.y0 and inside.y1 <= whole.y1
    assert axes.get_position().width > 0.4


@pytest.mark.parametrize(
    "draw",
    [
        lambda many: plots.values_against_time(
            {"a": {name: {1: 2.0, 2: 3.0} for name in many}, "b": {"last": {1: 2.0}}},
            label="ms", title="t",
        ),
        lambda many: plots.accuracy_under_noise(
            {"a": {name: (values, [1.0] * 3) for name, values in many.items()}},
            densities=[0.0, 0.1, 0.2], title="t",
        ),
        lambda many: layer_plots.largest_outputs(many, title="t"),
        lambda many: layer_plots.rates_against_activations(many, many, title="t"),
        lambda many: layer_plots.histograms(many, quantity="q", title="t"),
    ],
    ids=["values", "noise", "largest", "rates", "histograms"],
)  # fmt: skip
def test_a6_forty_curves_are_drawn_beside_a_legend_that_leaves_them_room(draw):
    figure = draw(curves(40))
    axes = figure.axes[0]
    drawn = [line for line in axes.lines if line.get_label().split(":")[0] in curves(40)]
    assert len(looks(drawn)) == len(drawn) == (0 if axes.patches else 40)
    assert len(axes.patches) in (0, 40)
    figure.canvas.draw()
    legend = figure.legends[0]
    assert len(legend.get_texts()) >= 40
    assert axes.get_position().height * figure.get_figheight() > 2.5
    assert axes.get_position().width * figure.get_figwidth() > 2.5


def test_a6_more_curves_than_styles_are_refused():
    styles = figures.line_styles(map(str, range(108)))
    assert len({tuple(style.values()) for style in styles.values()}) == 108
    with pytest.raises(ValueError, match="there are 109 curves to draw; want 1 to 108"):
        plots.accuracy_against_time(curves(109), ann={}, title="t")
