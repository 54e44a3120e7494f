"""Refusals of `spike`, of its thetas and levels, and of early exit, in words."""

import dataclasses
from functools import cache

import jax
import numpy as np
import pytest

import snnjax
from snnjax.conversion.spiking.calibration import largest
from snnjax.snn.early_exit import simulate_until

X = (np.arange(12, dtype=np.float32).reshape(3, 4) % 5) / 4
W = (np.arange(16, dtype=np.float32).reshape(4, 4) % 5 - 1.5) / 4


def two_layers(w, x):
    return jax.nn.relu(x @ w) @ w


@cache
def spiking_layers():
    return snnjax.spike(two_layers, W, X, levels=4, input_steps=40, rule=largest)


@pytest.mark.parametrize("sites", [None, "a", 3])
def test_a_function_without_activations_at_a_product_is_refused(sites):
    with pytest.raises(ValueError, match="no activation that a weight product reads: nothing"):
        snnjax.spike(lambda w, x: x @ w, W, X, sites=sites)


@pytest.mark.parametrize("kind", [tuple, list])
def test_two_inputs_are_refused_with_the_advice_to_join_them(kind):
    with pytest.raises(ValueError, match=f"example is a {kind.__name__} of 2 arrays.*concatenate"):
        snnjax.spike(two_layers, W, kind([X, X]))


def other_theta(theta):
    spiking = spiking_layers()
    params = spiking.params | {"thetas": {spiking.function.sites[0]: theta}}
    return dataclasses.replace(spiking, params=params)


@pytest.mark.parametrize("theta", [1e-42, np.float32(1e-38), 1e38, np.float32(1e37)])
def test_a_theta_whose_spikes_float32_cannot_hold_is_refused(theta):
    with pytest.raises(ValueError, match=r"above 0, from 9.4e-38 to 4.3e\+36, so that its spikes"):
        snnjax.simulate(other_theta(theta), X, num_steps=2)
    with pytest.raises(ValueError, match="float32"):
        snnjax.spike(
            two_layers, W, X, levels=4, input_steps=40, rule=lambda *_: {"dot_general": theta}
        )


@pytest.mark.parametrize("theta", [9.5e-38, 4.2e36])
def test_the_smallest_and_the_largest_theta_settle_as_others_do(theta):
    params, x = np.sign(W) * (W != 0), np.float32(X * theta / 2)
    spiking = dataclasses.replace(other_theta(theta), levels=4)
    spiking = dataclasses.replace(spiking, params=spiking.params | {"params": params})
    values = snnjax.simulate(spiking, x, num_steps=60).values
    wanted = spiking.quantised(spiking.params, x)
    np.testing.assert_allclose(values[-1] / theta, wanted / theta, atol=1e-5)
    assert np.abs(wanted).max() > theta / 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": np.array([1, 2])}, r"levels has shape \(2,\); want one number"),
        ({"params": None}, r"want spiking\.params"),
        ({"params": {"params": W}}, "lack thetas of dot_general"),
        ({"params": {"params": W, "thetas": {"dot_general": [[1.0], [1.0, 2.0]]}}}, "one number"),
    ],
)
def test_other_levels_and_params_are_refused_in_words(change, message):
    changed = dataclasses.replace(spiking_layers(), **change)
    for use in (str, lambda spiking: snnjax.simulate(spiking, X, num_steps=2)):
        with pytest.raises(ValueError, match=message):
            use(changed)


@pytest.mark.parametrize(
    "margin", [np.ones(2), np.ones((3, 1)), 1j, "much", None, [1.0, [2.0]]], ids=repr
)
def test_a_margin_is_a_number_or_one_for_each_image(margin):
    with pytest.raises(
        ValueError, match=r"margin .* want an exit threshold of at least 0, or 3 of"
    ):
        simulate_until(spiking_layers(), X, margin=margin, num_steps=2)


def test_each_image_has_a_margin_of_its_own():
    steps = simulate_until(spiking_layers(), X, margin=[0.0, np.inf, 0.0], num_steps=4).steps
    assert steps.tolist() == [1, 4, 1]
