"""Scales by least error are the best of an exhaustive search."""

import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

from snnjax.conversion import threshold_balancing
from snnjax.networks.ann import ANN

SHAPE = (4, 4, 1)


def test_least_error_finds_the_scale_of_an_exhaustive_search():
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


def test_bad_input_of_least_error_is_refused():
    network = dense_network(alpha=0.0, theta=np.inf)
    variables, images = random_variables(network, SHAPE), random_images(4, SHAPE)
    with pytest.raises(ValueError, match="num_steps is 0; want a whole number of at least 1"):
        threshold_balancing.least_error(network, variables, images, num_steps=0)
    with pytest.raises(ValueError, match="there are no images to measure on"):
        threshold_balancing.least_error(network, variables, images[:0], num_steps=4)
