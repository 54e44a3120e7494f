"""Corrections move mean rates to the ANN's; scales by least error are the best of a search."""

import numpy as np
import pytest
from examples import dense_network, random_images, random_variables, residual_network

from snnjax.conversion import threshold_balancing
from snnjax.conversion.calibration import calibrate
from snnjax.conversion.conversion import convert
from snnjax.networks.ann import ANN
from snnjax.snn import spiking
from snnjax.snn.neuron import DOUBLE_THRESHOLD
from snnjax.snn.simulation import simulate

SHAPE = (4, 4, 1)


def converted(network, shape, images, num_steps):
    variables = random_variables(network, shape)
    scales = threshold_balancing.least_error(network, variables, images, num_steps=num_steps)
    return variables, convert(network, variables, scales=scales, initial=0.0)


def misses(network, params, images, num_steps):
    """What the mean rate of each neuron lacks of the ANN's, by path."""
    wanted, _ = spiking.rates(network, params, images)
    spikes = simulate(
        network, params, images, num_steps=num_steps, neuron=DOUBLE_THRESHOLD, record=True
    ).recording
    return {path: np.mean(wanted[path] - spikes[path].mean(0), 0) for path in wanted}


@pytest.mark.parametrize("correct", ["shift", "potential"])
@pytest.mark.parametrize(
    ("network", "shape"),
    [(dense_network(alpha=0.0, theta=np.inf), SHAPE), (residual_network(), (8, 8, 3))],
    ids=["dense", "residual"],
)
def test_calibration_brings_mean_rates_to_the_anns(network, shape, correct):
    images = random_images(60, shape)
    _, params = converted(network, shape, images, 8)
    before = misses(network, params, images, 8)
    moved = calibrate(network, params, images, num_steps=8, correct=correct, batch_size=60)
    after = misses(network, moved, images, 8)

    def size(miss):  # a shift is for a channel, a potential for a neuron
        return np.abs(miss.mean(tuple(range(miss.ndim - 1))) if correct == "shift" else miss)

    was = np.concatenate([size(miss).ravel() for miss in before.values()])
    now = np.concatenate([size(miss).ravel() for miss in after.values()])
    assert was.mean() > 0.02
    assert now.mean() < 0.5 * was.mean()


def test_a_layers_shift_is_what_its_channels_miss_after_the_layers_before_were_shifted():
    network = dense_network(alpha=0.0, theta=np.inf)
    images = random_images(40, SHAPE)
    _, params = converted(network, SHAPE, images, 8)
    moved = calibrate(network, params, images, num_steps=8, batch_size=40)
    first, second = "02_activation", "04_activation"
    layers = {**params["layers"], first: moved["layers"][first]}
    missing = misses(network, {**params, "layers": layers}, images, 8)[second]
    np.testing.assert_allclose(moved["layers"][second]["shift"], missing, atol=1e-6)
    plain = misses(network, params, images, 8)
    np.testing.assert_allclose(moved["layers"][first]["shift"], plain[first], atol=1e-6)
    assert np.abs(missing - plain[second]).max() > 1e-3


def test_a_potential_is_the_missing_rate_times_t_and_no_image_is_left_out():
    network = dense_network(alpha=0.0, theta=np.inf)
    images = random_images(45, SHAPE)
    _, params = converted(network, SHAPE, images, 8)
    moved = calibrate(
        network, params, images, num_steps=8, correct="potential", batch_size=20
    )  # three batches of 15
    missing = misses(network, params, images, 8)["02_activation"]
    np.testing.assert_allclose(moved["layers"]["02_activation"]["initial"], 8 * missing, atol=1e-5)


def test_what_is_calibrated_leaves_the_ann_that_is_read_from_it():
    network = dense_network(alpha=0.0, theta=np.inf)
    images = random_images(40, SHAPE)
    variables, params = converted(network, SHAPE, images, 8)
    logits = ANN(network.layers).apply(variables, images)
    for correct in ("shift", "potential"):
        moved = calibrate(network, params, images, num_steps=8, correct=correct)
        np.testing.assert_allclose(spiking.limit(network, moved, images), logits, atol=1e-4)


def test_least_error_finds_what_a_search_by_hand_finds():
    network = dense_network(alpha=0.0, theta=np.inf)
    images = random_images(50, SHAPE)
    variables = random_variables(network, SHAPE)
    found = threshold_balancing.least_error(network, variables, images, num_steps=4)
    caught = ANN(network.layers).apply(variables, images, mutable=["intermediates"])[1]
    outputs = np.asarray(caught["intermediates"]["02_activation"]["output"][0], np.float64)
    scales = outputs.max() * (1 - 0.01 * np.arange(95))
    errors = [
        np.mean((np.clip(np.floor(outputs / v * 4), 0, 4) * v / 4 - outputs) ** 2) for v in scales
    ]
    assert found["02_activation"] == pytest.approx(scales[np.argmin(errors)], rel=1e-5)
    assert found["02_activation"] < outputs.max()


def test_bad_input_is_named():
    network = dense_network(alpha=0.0, theta=np.inf)
    images = random_images(4, SHAPE)
    variables, params = converted(network, SHAPE, images, 4)
    with pytest.raises(ValueError, match="there are no images to calibrate on"):
        calibrate(network, params, images[:0], num_steps=4)
    with pytest.raises(ValueError, match="correct is 'weights'; want one of shift, potential"):
        calibrate(network, params, images, num_steps=4, correct="weights")
    with pytest.raises(ValueError, match="num_steps is 0"):
        calibrate(network, params, images, num_steps=0)
    with pytest.raises(ValueError, match="num_steps is 0; want at least 1 timestep"):
        threshold_balancing.least_error(network, variables, images, num_steps=0)
    with pytest.raises(ValueError, match="there are no images to measure on"):
        threshold_balancing.least_error(network, variables, images[:0], num_steps=4)
