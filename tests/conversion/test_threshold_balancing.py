"""Scales by least error are the best of an exhaustive search."""

import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

from snnjax.conversion import threshold_balancing
from snnjax.conversion.conversion import convert
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


@pytest.mark.parametrize(
    "rule",
    [
        convert,
        threshold_balancing.measure_output_scale,
        threshold_balancing.measure_scales,
        threshold_balancing.model_norm,
    ],
)
def test_variables_and_networks_of_another_kind_are_refused(rule):
    network = dense_network()
    variables = random_variables(network, SHAPE)
    images = [] if rule is convert else [random_images(2, SHAPE)]
    message = "variables has {}; want the collection 'params', as a Flax module's init"
    with pytest.raises(ValueError, match=message.format("01_dense, 03_dense, 05_dense")):
        rule(network, variables["params"], *images)
    with pytest.raises(ValueError, match=message.format("gain, layers, output_leak")):
        rule(network, convert(network, variables), *images)
    with pytest.raises(ValueError, match="variables is a NoneType; want the collection 'params'"):
        rule(network, None, *images)
    with pytest.raises(ValueError, match="network is a tuple; want a Network"):
        rule(network.layers, variables, *images)


@pytest.mark.parametrize("percentile", ["99", None, [50.0, 99.0], 0, np.nan])
def test_a_percentile_is_one_number(percentile):
    network = dense_network()
    with pytest.raises(ValueError, match=r"percentile .* want (it in|one number)"):
        threshold_balancing.measure_scales(network, {}, [], percentile=percentile)


@pytest.mark.parametrize("name", ["gain", "output_leak"])
def test_numbers_of_the_whole_network_are_no_arrays(name):
    network = dense_network()
    with pytest.raises(ValueError, match=rf"{name} has shape \(3,\); want one number"):
        convert(network, random_variables(network, SHAPE), **{name: np.ones(3)})
