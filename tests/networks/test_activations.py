"""Tests of the activations: values worked by hand, and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.networks.activations import (
    leaky_relu,
    quantised_sth_leaky_relu,
    step_relu,
    sth_leaky_relu,
)


def test_values_worked_by_hand():
    z = jnp.array([-100.0, -20.0, -2.0, 0.0, 1.5, 2.0, 9.0])
    np.testing.assert_allclose(
        sth_leaky_relu(z, theta=2.0, alpha=0.1), [-2, -2, -0.2, 0, 1.5, 2, 2], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("theta", "alpha", "expected"),
    [
        pytest.param(np.inf, 0.1, [-0.8, 8.0], id="leaky-relu"),
        pytest.param(2.0, 0.0, [0.0, 2.0], id="thresholded-relu"),
        pytest.param(np.inf, 0.0, [0.0, 8.0], id="relu"),
    ],
)
def test_special_cases_are_the_usual_activations(theta, alpha, expected):
    z = jnp.array([-8.0, 8.0])
    np.testing.assert_allclose(sth_leaky_relu(z, theta=theta, alpha=alpha), expected)


def test_quantised_halves_round_away_from_zero():
    z = jnp.array([0.24, 0.25, 0.75, -0.9, -1.0, -1.1, -99.0])
    np.testing.assert_allclose(
        quantised_sth_leaky_relu(z, theta=1.0, alpha=0.25, levels=2),
        [0.0, 0.5, 1.0, 0.0, -0.5, -0.5, -1.0],
    )


def test_many_levels_approach_the_smooth_activation():
    z = jnp.linspace(-8, 3, 500)
    smooth = sth_leaky_relu(z, theta=1.5, alpha=0.3)
    rough = quantised_sth_leaky_relu(z, theta=1.5, alpha=0.3, levels=100)
    assert 1e-4 < jnp.abs(smooth - rough).max() <= 1.5 / 200 + 1e-6


def test_gradient_is_straight_through_and_zero_beyond_the_bounds():
    slope = jax.vmap(
        jax.grad(lambda z: quantised_sth_leaky_relu(z, theta=2.0, alpha=0.1, levels=4))
    )
    np.testing.assert_allclose(slope(jnp.array([-30.0, -1.0, 0.3, 1.9, 2.5])), [0, 0.1, 1, 1, 0])


def test_theta_learns_from_clipping_and_from_rounding():
    def y(theta, z):
        return quantised_sth_leaky_relu(z, theta=theta, alpha=0.5, levels=4)

    slope = jax.grad(y)
    assert slope(1.0, 3.0) == 1.0  # clipped above: y = theta
    assert slope(1.0, -4.0) == -1.0  # clipped below: y = -theta
    assert slope(1.0, 0.3) == pytest.approx(0.25 - 0.3)  # rounded down to 1/4


def test_one_theta_for_each_channel():
    z = jnp.full((2, 3), 5.0)
    np.testing.assert_array_equal(
        sth_leaky_relu(z, theta=jnp.array([1.0, 2.0, 9.0]), alpha=0.1), [[1, 2, 5]] * 2
    )


def test_alpha_and_theta_are_traced():
    z = jnp.array([-1.0, 4.0])
    swept = jax.vmap(lambda a, t: sth_leaky_relu(z, theta=t, alpha=a))(
        jnp.array([0.1, 0.5]), jnp.array([1.0, 2.0])
    )
    np.testing.assert_allclose(swept, [[-0.1, 1.0], [-0.5, 2.0]])
    np.testing.assert_allclose(leaky_relu(z, alpha=0.5), [-0.5, 4.0])


def test_step_relu_rounds_down_with_a_straight_through_gradient():
    z = jnp.array([-1.0, 0.0, 0.03, 0.05, 0.12, 0.99, 1.0, 1.03, 7.0])
    found = step_relu(z, step=0.05)
    np.testing.assert_allclose(found, [0, 0, 0, 0.05, 0.1, 0.95, 1.0, 1.03, 7.0], atol=1e-6)
    slope = jax.grad(lambda z: step_relu(z, step=0.05).sum())(z)
    np.testing.assert_array_equal(slope[jnp.array([0, 2, 4, 5, 7, 8])], [0, 1, 1, 1, 1, 1])
