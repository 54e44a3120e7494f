"""Thetas for each entry of the last axis of a site."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnjax
from snnjax.conversion.spiking.calibration import least_error, least_error_by_channel, measure
from snnjax.conversion.spiking.quantised import settled

DRAW = np.random.default_rng(0)
X = np.float32(DRAW.integers(0, 65, (5, 3, 4)) / 64)
W = np.float32(DRAW.integers(-64, 65, (4, 6)) / 64) * np.float32([4, 1, 1, 0.125, -1, 0])
V = np.float32(DRAW.integers(-64, 65, (3, 5)) / 64)


def mixer(params, x):
    w, v = params
    h = jax.nn.relu(x @ w)
    return jnp.tanh(jnp.swapaxes(h, 1, 2) @ v).reshape(len(x), -1) @ jnp.tile(v, (10, 1))


@cache
def spiking_mixer():
    return snnjax.spike(mixer, (W, V), X, levels=4, input_steps=8, rule=least_error_by_channel)


def hidden(x):
    return np.maximum(x @ W, 0)


def test_a_function_with_thetas_by_channel_settles_to_its_quantised_values():
    spiking = spiking_mixer()
    first, second = spiking.function.sites
    thetas = spiking.params["thetas"]
    assert {name: theta.shape for name, theta in thetas.items()} == {first: (6,), second: (5,)}
    assert len(set(thetas[first].tolist())) > 3
    assert " to " in str(spiking)
    shares = jnp.float32([1, 0.5])

    @jax.jit
    @jax.vmap
    def simulated_and_quantised(share):
        params = spiking.params | {"thetas": jax.tree.map(lambda of: share * of, thetas)}
        other = dataclasses.replace(spiking, params=params)
        found = snnjax.simulate(other, X, num_steps=24, record=True)
        return found.values[-1], other.quantised(params, X), found.recording[first].sum(0)

    values, quantised, counts = simulated_and_quantised(shares)
    np.testing.assert_allclose(values, quantised, atol=1e-5)
    spike = thetas[first] * shares[:, None, None, None] * 2 / 8
    ends = np.clip(hidden(X), 0, 4 * spike)
    assert np.all(np.abs(counts * spike - ends) <= spike / 2 + 1e-6)


def test_no_channel_has_a_larger_error_than_with_one_theta():
    spiking = spiking_mixer()
    function, arguments = spiking.function, spiking.arguments
    first, values = function.sites[0], hidden(X)
    one = least_error(function, arguments, X, measure(function, arguments, X))[first]

    @jax.jit
    def errors(theta):
        neurons = function.neurons_at(first, theta, spiking.levels)
        difference = settled(jnp.asarray(values), neurons, function.input_steps) - values
        return jnp.square(difference).sum((0, 1))

    theta = spiking.params["thetas"][first]
    assert np.all(errors(theta) <= errors(one) * (1 + 1e-5))
    assert errors(theta).sum() < errors(one).sum() / 2
    assert theta[3] <= values[..., 3].max() < values.max() * 0.05
    assert theta[5] == values.max()  # 0 on all images


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5,), r"theta of .* has shape \(5,\); want one number, or \(6,\) for the last axis"),
        ((3, 6), r"has shape \(3, 6\); want one number, or \(6,\)"),
    ],
)
def test_thetas_of_another_shape_are_refused(shape, message):
    spiking = spiking_mixer()
    thetas = spiking.params["thetas"] | {spiking.function.sites[0]: np.ones(shape, np.float32)}
    with pytest.raises(ValueError, match=message):
        spiking.quantised(spiking.params | {"thetas": thetas}, X)


def test_a_site_with_one_value_for_an_image_has_one_theta():
    def apply(w, x):
        size = jnp.tanh(x[:, 0] @ w[:, 0])
        return jnp.einsum("b,k->bk", size, w[0])

    spiking = snnjax.spike(apply, W, X, levels=4, rule=least_error_by_channel)
    (theta,) = spiking.params["thetas"].values()
    assert theta.shape == ()
    wrong = spiking.params | {"thetas": {spiking.function.sites[0]: np.ones(1, np.float32)}}
    with pytest.raises(ValueError, match=r"has shape \(1,\); want one number$"):
        spiking.quantised(wrong, X)
