"""One batch of each learning rule: what it keeps, and which weights and thresholds it moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.snn.readout import leaky_layer
from snnjax.training import plasticity_rules
from snnjax.training.plasticity_rules import LearnerState, competitive_stdp, make_plasticity
from snnjax.training.readout_learning import random_weights

KEY, STEPS = jax.random.key(0), 24
STEP = jax.jit(competitive_stdp)


def test_competition_keeps_sums_and_bounds_and_moves_thresholds_to_the_target():
    draw = np.random.default_rng(1)
    spikes = jnp.asarray(draw.uniform(size=(STEPS, 20, 4)) < [0.9, 0.4, 0.1, 0.0], jnp.float32)
    weights = random_weights(KEY, 4, 8) * 2
    layer = leaky_layer(weights, labels=np.arange(8) % 4)
    plasticity = make_plasticity(a_plus=0.5)
    state = LearnerState(weights, jnp.zeros(8))
    for _ in range(30):
        state = STEP(state, layer, spikes, None, plasticity)
        np.testing.assert_allclose(state.weights.sum(0), weights.sum(0), rtol=1e-4)
        assert state.weights.min() >= 0
        assert state.offset.min() >= plasticity_rules.LOWEST_OFFSET
        assert state.offset.max() <= plasticity_rules.HIGHEST_OFFSET
    assert state.offset.max() > state.offset.min()


def test_b7_weights_of_zero_into_a_neuron_stay_zero_and_the_others_learn():
    spikes = jnp.asarray(np.random.default_rng(1).uniform(size=(STEPS, 5, 4)) < 0.5, jnp.float32)
    weights = random_weights(KEY, 4, 8).at[:, 2].set(0.0)
    layer = leaky_layer(weights, labels=np.arange(8) % 4)
    state = STEP(LearnerState(weights, jnp.zeros(8)), layer, spikes, None, make_plasticity())
    np.testing.assert_array_equal(state.weights[:, 2], np.zeros(4))
    np.testing.assert_allclose(state.weights.sum(0), weights.sum(0), rtol=1e-4)
    assert np.isfinite(state.offset).all()
    assert not (state.weights == weights).all()


def test_only_the_winner_learns():
    """One image, one input: the neuron with the larger weight wins, and the input takes it over."""
    weights = jnp.array([[0.6, 0.4], [0.4, 0.6]])
    layer = leaky_layer(weights, leak=1.0, threshold=0.3)  # which both reach
    spikes = jnp.tile(jnp.array([1.0, 0.0]), (8, 1, 1))
    state, plasticity = LearnerState(weights, jnp.zeros(2)), make_plasticity(homeostasis=0)
    after = STEP(state, layer, spikes, None, plasticity)
    assert after.weights[0, 0] > 0.6
    np.testing.assert_allclose(after.weights[:, 1], weights[:, 1], atol=1e-6)


def test_silent_neurons_get_lower_thresholds_until_they_fire():
    weights = jnp.full((4, 4), 0.25)
    layer = leaky_layer(weights, leak=0.5, threshold=5.0)
    spikes = jnp.ones((STEPS, 4, 4)).at[::2, :, 1:].set(0.0)
    state = LearnerState(weights, jnp.zeros(4))
    for _ in range(60):
        state = STEP(state, layer, spikes, None, make_plasticity())
    assert state.offset.max() < 0
    assert not (state.weights == weights).all()


def test_all_thresholds_fall_if_all_neurons_fire_less_than_the_target():
    weights = random_weights(KEY, 4, 6)
    layer = leaky_layer(weights, threshold=2.0, labels=np.arange(6) % 4)
    spikes = jnp.asarray(np.random.default_rng(2).uniform(size=(STEPS, 9, 4)) < 0.5, jnp.float32)
    state = LearnerState(weights, jnp.zeros(6))
    enough, more = (
        STEP(state, layer, spikes, None, make_plasticity(target=target)) for target in (0.01, 10)
    )
    assert enough.offset.max() > 0 > enough.offset.min()
    np.testing.assert_allclose(more.offset, enough.offset - 0.05, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("a_plus", -1, "a_plus is -1"),
        ("tau_minus", 0, "tau_minus is 0"),
        ("homeostasis", -1, "homeostasis is -1"),
        ("target", 0, "target is 0"),
        ("margin", float("nan"), "margin is nan"),
        ("teaching", -2, "teaching is -2"),
    ],
)
def test_a_parameter_out_of_its_range_is_named(name, value, message):
    with pytest.raises(ValueError, match=message):
        make_plasticity(**{name: value})
