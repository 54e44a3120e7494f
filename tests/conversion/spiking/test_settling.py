"""A spiking function settles, after its input has ended, to the function with quantised sites."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spiking_functions import FLAX, flax_case, images, largest_difference, last, settled

import snnjax
from snnjax.conversion.spiking.calibration import largest
from snnjax.networks.architecture import Activation, AvgPool, Conv, Dense, Flatten
from snnjax.snn.encoding import DETERMINISTIC, RATE
from snnjax.snn.neurons import DOUBLE_THRESHOLD

RELU = Activation(theta=np.inf, alpha=0.0)


QUICK = {"lenet", "row-lstm", "vit"}


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FLAX]
)
def test_it_settles_to_the_quantised_function_at_any_number_of_levels_and_stays_there(name):
    case = flax_case(name)
    settled(case.apply, case.params, images(case.shape))


@cache
def with_64_levels(name):
    """A function made spiking, and images that are multiples of 1/64."""
    case = flax_case(name)
    x = images(case.shape)
    return case, x, snnjax.spike(case.apply, case.params, x, levels=64)


def test_it_is_far_from_the_quantised_function_at_the_first_timestep():
    _, x, spiking = with_64_levels("gated-mlp")
    result = snnjax.simulate(spiking, x, num_steps=1)
    assert largest_difference(last(result.values), spiking.quantised(spiking.params, x)) > 1e-2


def test_many_levels_give_the_function_itself():
    case = flax_case("gated-mlp")
    x = images(case.shape)
    spiking = snnjax.spike(case.apply, case.params, x, levels=2048)
    wanted = case.apply(case.params, x)
    assert largest_difference(spiking.quantised(spiking.params, x), wanted) < 0.02


def test_a_network_of_layers_sends_the_same_spikes_as_its_function():
    layers = (
        Conv(4, (3, 3)), RELU, AvgPool((2, 2)), Conv(4, (3, 3)), RELU,
        Flatten(), Dense(3),
    )  # fmt: skip
    network, image = snnjax.Network("small", layers), images((6, 6, 2))
    ann = snnjax.ANN(network.layers)
    variables = jax.jit(ann.init)(jax.random.key(0), image)
    variables = jax.tree.map(lambda w: jnp.round(w * 64) / 64, variables)
    spiking = snnjax.spike(ann.apply, variables, image, levels=8, rule=largest)
    thetas = list(spiking.params["thetas"].values())
    scales = dict(zip(network.sites, map(float, thetas), strict=True))
    converted = snnjax.convert(network, variables, scales=scales)
    wanted = snnjax.simulate(network, converted, image, num_steps=8, record=True)
    found = snnjax.simulate(spiking, image, num_steps=8, record=True)
    for of_network, of_function in zip(
        wanted.recording.values(), found.recording.values(), strict=True
    ):
        np.testing.assert_array_equal(of_network, of_function)


@pytest.mark.parametrize("name", ["gated-mlp", "lenet"])
def test_evenly_spaced_spikes_give_the_function_of_the_image(name):
    _, x, spiking = with_64_levels(name)
    result = snnjax.simulate(spiking, x, num_steps=100, encoding=DETERMINISTIC)
    wanted = spiking.quantised(spiking.params, x)
    assert largest_difference(last(result.values), wanted) <= 1e-5


@pytest.mark.parametrize("name", ["gated-mlp", "lenet"])
def test_random_spikes_come_near_the_function_of_the_image(name):
    _, x, spiking = with_64_levels(name)
    key = jax.random.key(0)
    result = snnjax.simulate(spiking, x, num_steps=100, encoding=RATE, key=key)
    difference = largest_difference(last(result.values), spiking.quantised(spiking.params, x))
    assert 0 < difference < 0.2


@pytest.mark.parametrize("name", ["gated-mlp", "lenet"])
def test_double_threshold_neurons_approach_the_function(name):
    case, x, spiking = with_64_levels(name)
    wanted = case.apply(case.params, x)
    errors = [
        largest_difference(
            last(snnjax.simulate(spiking, x, num_steps=t, neuron=DOUBLE_THRESHOLD).values), wanted
        )
        for t in (2, 64)
    ]
    assert 4 * errors[1] < errors[0]


def test_vmap_over_thetas_and_levels_equals_a_loop():
    case = flax_case("gated-mlp")
    x = images(case.shape)
    spiking = snnjax.spike(case.apply, case.params, x, levels=4, input_steps=8)
    shares, levels = jnp.float32([1, 0.75, 0.5]), jnp.int32([2, 4, 8])

    @jax.jit
    def simulated(share, levels):
        thetas = {name: share * theta for name, theta in spiking.params["thetas"].items()}
        params = spiking.params | {"thetas": thetas}
        other = dataclasses.replace(spiking, params=params, levels=levels)
        result = snnjax.simulate(other, x, num_steps=24)
        return result.values, result.spikes

    found = jax.vmap(simulated)(shares, levels)
    wanted = [simulated(*each) for each in zip(shares, levels, strict=True)]
    for place, each in enumerate(wanted):
        np.testing.assert_array_equal(found[1][place], each[1])
        np.testing.assert_allclose(found[0][place], each[0], atol=1e-5)
    assert len({int(spikes[-1].sum()) for _, spikes in wanted}) == 3
