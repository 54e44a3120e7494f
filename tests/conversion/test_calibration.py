"""Calibration moves mean firing rates to the ANN's activations, layer after layer."""

import numpy as np
import pytest
from examples import (
    ann_logits,
    dense_network,
    limit,
    random_images,
    random_variables,
    rates,
    residual_network,
)

from snnjax.conversion import threshold_balancing
from snnjax.conversion.calibration import calibrate
from snnjax.conversion.conversion import convert
from snnjax.snn.neurons import DOUBLE_THRESHOLD
from snnjax.snn.simulation import simulate

SHAPE = (4, 4, 1)


def converted(network, shape, images, num_steps):
    variables = random_variables(network, shape)
    scales = threshold_balancing.least_error(network, variables, images, num_steps=num_steps)
    return variables, convert(network, variables, scales=scales, initial=0.0)


def rate_errors(network, params, images, num_steps):
    """The ANN's mean activation minus the mean firing rate of each neuron, by path."""
    activations, _ = rates(network, params, images)
    spikes = simulate(
        network, params, images, num_steps=num_steps, neuron=DOUBLE_THRESHOLD, record=True
    ).recording
    return {path: np.mean(activations[path] - spikes[path].mean(0), 0) for path in activations}


@pytest.mark.parametrize("correction", ["shift", "potential"])
@pytest.mark.parametrize(
    ("network", "shape"),
    [
        pytest.param(dense_network(alpha=0.0, theta=np.inf), SHAPE, id="dense"),
        pytest.param(residual_network(), (8, 8, 3), id="residual", marks=pytest.mark.slow),
    ],
)
def test_calibration_brings_mean_rates_to_the_anns(network, shape, correction):
    images = random_images(60, shape)
    _, params = converted(network, shape, images, 8)
    before = rate_errors(network, params, images, 8)
    calibrated = calibrate(
        network, params, images, num_steps=8, correction=correction, batch_size=60
    )
    after = rate_errors(network, calibrated, images, 8)

    def mean_size(errors):  # a shift corrects a channel, an initial potential a neuron
        if correction == "shift":
            errors = {path: e.mean(tuple(range(e.ndim - 1))) for path, e in errors.items()}
        return np.abs(np.concatenate([e.ravel() for e in errors.values()])).mean()

    assert mean_size(before) > 0.02
    assert mean_size(after) < 0.5 * mean_size(before)


def test_a_shift_is_the_error_of_its_channel_after_earlier_layers_were_shifted():
    network = dense_network(alpha=0.0, theta=np.inf)
    images = random_images(60, SHAPE)
    _, params = converted(network, SHAPE, images, 8)
    calibrated = calibrate(network, params, images, num_steps=8, batch_size=60)
    first, second = "02_activation", "04_activation"
    layers = {**params["layers"], first: calibrated["layers"][first]}
    errors = rate_errors(network, {**params, "layers": layers}, images, 8)[second]
    np.testing.assert_allclose(calibrated["layers"][second]["shift"], errors, atol=1e-6)
    plain = rate_errors(network, params, images, 8)
    np.testing.assert_allclose(calibrated["layers"][first]["shift"], plain[first], atol=1e-6)
    assert np.abs(errors - plain[second]).max() > 1e-3


def test_a_change_of_initial_potential_is_t_times_the_mean_error_over_all_images():
    network = dense_network(alpha=0.0, theta=np.inf)
    images = random_images(60, SHAPE)
    _, params = converted(network, SHAPE, images, 8)
    calibrated = calibrate(
        network, params, images, num_steps=8, correction="potential", batch_size=25
    )  # three batches of 20
    errors = rate_errors(network, params, images, 8)["02_activation"]
    np.testing.assert_allclose(
        calibrated["layers"]["02_activation"]["initial"], 8 * errors, atol=1e-5
    )


def test_the_ann_read_from_calibrated_parameters_is_unchanged():
    network = dense_network(alpha=0.0, theta=np.inf)
    images = random_images(60, SHAPE)
    variables, params = converted(network, SHAPE, images, 8)
    logits = ann_logits(network, variables, images)
    for correction in ("shift", "potential"):
        calibrated = calibrate(network, params, images, num_steps=8, correction=correction)
        np.testing.assert_allclose(limit(network, calibrated, images), logits, atol=1e-4)


def test_bad_input_is_named():
    network = dense_network(alpha=0.0, theta=np.inf)
    images = random_images(4, SHAPE)
    _, params = converted(network, SHAPE, images, 4)
    with pytest.raises(ValueError, match="there are no images to calibrate on"):
        calibrate(network, params, images[:0], num_steps=4)
    with pytest.raises(ValueError, match="correction is 'weights'; want one of shift, potential"):
        calibrate(network, params, images, num_steps=4, correction="weights")
    with pytest.raises(ValueError, match="num_steps is 0"):
        calibrate(network, params, images, num_steps=0)
