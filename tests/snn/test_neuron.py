"""Tests of the neurons: spikes worked by hand, properties, and slow loops in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import spike_train
from hypothesis import given
from hypothesis import strategies as st

from snnjax.networks.activations import quantised_sth_leaky_relu, sth_leaky_relu
from snnjax.snn.neurons import (
    DOUBLE_THRESHOLD,
    DOUBLE_THRESHOLD_HARD,
    EXACT_CHARGE,
    INTEGRATE_AND_FIRE,
    NEURONS,
    make_params,
)


@pytest.mark.parametrize(
    ("current", "leak", "expected"),
    [
        pytest.param(0.5, 1.0, [0, 1, 0, 1], id="reaching-the-threshold-fires"),
        pytest.param(-1.0, 1.0, [0, -1, 0, -1], id="the-negative-threshold-is-deeper"),
        pytest.param(0.75, 0.5, [0, 1, 0, 1], id="leak-acts-before-the-input"),
    ],
)
def test_double_threshold_spikes_worked_by_hand(current, leak, expected):
    params = make_params(1.0, alpha=0.5, leak=leak, initial=0.0)
    spikes = spike_train(DOUBLE_THRESHOLD, params, [current] * 4)
    np.testing.assert_array_equal(spikes, expected)


def test_hard_reset_drops_the_charge_above_threshold():
    params = make_params(1.0, alpha=1.0, initial=0.0)
    currents = [1.5, 0.5, 0.5, -2.0, -0.5]
    np.testing.assert_array_equal(
        spike_train(DOUBLE_THRESHOLD_HARD, params, currents), [1, 0, 1, -1, 0]
    )
    np.testing.assert_array_equal(
        spike_train(DOUBLE_THRESHOLD, params, currents), [1, 1, 0, -1, -1]
    )


def test_integrate_and_fire_is_a_double_threshold_without_negative_spikes():
    currents = np.random.default_rng(2).normal(0.2, 1, (50, 20))
    params = make_params(1.0, alpha=0.0, leak=0.9)
    np.testing.assert_array_equal(
        spike_train(INTEGRATE_AND_FIRE, params, currents),
        spike_train(DOUBLE_THRESHOLD, params, currents),
    )
    spikes = spike_train(INTEGRATE_AND_FIRE, make_params(1.0, alpha=0.5), currents)
    assert set(np.unique(spikes)) == {0, 1}


def test_exact_charge_sends_negative_spikes_when_the_charge_falls():
    params = make_params(1.0, alpha=0.5)
    currents = [1.0, -1.0, -1.0, 0.0, 1.0]  # charge and net count 1, 0, -1, -1, 0
    np.testing.assert_array_equal(spike_train(EXACT_CHARGE, params, currents), [1, -1, -1, 0, 1])


@pytest.mark.parametrize("model", [DOUBLE_THRESHOLD, EXACT_CHARGE])
def test_the_negative_threshold_is_v_p_over_alpha(model):
    """z = -v_p / 2 gives the rate -0.05; with v_n = alpha v_p it would be -1."""
    spikes = spike_train(model, make_params(1.0, alpha=0.1), jnp.full(1000, -0.5))
    assert spikes.mean() == pytest.approx(-0.05, abs=1e-3)
    assert np.isin(spikes, (-1, 0, 1)).all()


@given(
    z=st.floats(-16, 16, width=32),
    alpha=st.sampled_from([0.1, 0.25, 0.5, 1.0]),
    steps=st.sampled_from([1, 8, 64, 500]),
    model=st.sampled_from([DOUBLE_THRESHOLD, EXACT_CHARGE]),
    initial=st.sampled_from([0.0, 0.5]),
)
def test_rate_is_within_one_spike_of_the_activation(z, alpha, steps, model, initial):
    """Eqs. 2-4 with the thresholds of eq. 16 realise eq. 13 up to 1/T."""
    theta = 2.0
    params = make_params(1.0, alpha=alpha, initial=initial)
    rate = spike_train(model, params, jnp.full(steps, z / theta)).mean()
    activation = sth_leaky_relu(np.float32(z), theta=theta, alpha=alpha)
    assert abs(rate - activation / theta) <= 1 / steps + 1e-4


@given(seed=st.integers(0, 2**31 - 1), alpha=st.sampled_from([0.125, 0.25, 0.5, 1.0]))
def test_charge_is_conserved_to_the_last_bit(seed, alpha):
    """sum J = v_p n+ - v_n n- + dV, exact on dyadic currents."""
    currents = np.random.default_rng(seed).integers(-64, 65, (50, 4)) / 32
    params = make_params(1.0, alpha=alpha)
    state = first = DOUBLE_THRESHOLD.init(params, (4,))
    up, down = np.zeros(4), np.zeros(4)
    for current in currents:
        state, spikes = DOUBLE_THRESHOLD.step(params, state, jnp.asarray(current, jnp.float32))
        up, down = up + (spikes == 1), down + (spikes == -1)
    change = np.asarray(state.membrane - first.membrane)
    np.testing.assert_array_equal(currents.sum(0), up - down / alpha + change)


@given(
    seed=st.integers(0, 2**31 - 1),
    alpha=st.sampled_from([0.0, 0.125, 0.5, 1.0]),
    leak=st.sampled_from([0.5, 1.0]),
    initial=st.sampled_from([-17.0, -8.0, 0.0, 0.5, 1.0, 3.25]),
)
def test_deferred_reset_changes_no_spike(seed, alpha, leak, initial):
    """Also from initial potentials beyond a threshold; exact on dyadic numbers."""
    currents = np.random.default_rng(seed).integers(-32, 33, (12, 5)) / 16
    params = make_params(1.0, alpha=alpha, leak=leak, initial=initial)
    spikes = spike_train(DOUBLE_THRESHOLD, params, currents)
    np.testing.assert_array_equal(
        spike_train(DOUBLE_THRESHOLD.deferred_reset, params, currents), spikes
    )


@given(
    seed=st.integers(0, 2**31 - 1),
    mean=st.floats(-2, 2, width=16),
    alpha=st.sampled_from([0.125, 0.25, 1.0]),
)
def test_exact_charge_follows_the_mean_of_a_fluctuating_current(seed, mean, alpha):
    """Up to half a spike, once it had time to send the spikes that the charge is worth."""
    noise = np.random.default_rng(seed).normal(0, 0.25, 400)
    currents = (np.clip(mean, -0.7, 0.7) + noise - noise.mean()).astype(np.float32)
    params = make_params(1.0, alpha=alpha)
    settled = np.concatenate([currents, np.zeros(40, np.float32)])
    count = spike_train(EXACT_CHARGE, params, settled).sum()
    wanted = sth_leaky_relu(np.float64(currents.astype(np.float64).sum()), theta=1e9, alpha=alpha)
    assert abs(count - wanted) <= 0.5 + 1e-3


def test_the_double_threshold_is_biased_under_a_fluctuating_current():
    """Each spike of the wrong sign costs a charge of v_n - v_p; EXACT_CHARGE avoids this."""
    noise = np.random.default_rng(0).normal(0, 1.0, 4000)
    currents = (0.05 + noise - noise.mean()).astype(np.float32)
    params = make_params(1.0, alpha=0.25)
    spikes = np.asarray(spike_train(DOUBLE_THRESHOLD, params, currents))
    state = DOUBLE_THRESHOLD.init(params, ())
    for current in currents:
        state, _ = DOUBLE_THRESHOLD.step(params, state, jnp.float32(current))
    excess = spikes.sum() - currents.sum()
    leftover = float(state.membrane) - 0.5
    assert excess == pytest.approx((1 / 0.25 - 1) * (spikes == -1).sum() - leftover, abs=0.1)
    assert excess > 100
    exact = spike_train(EXACT_CHARGE, params, currents).sum()
    assert exact == pytest.approx(currents.sum(), abs=3)


def slow_double_threshold(currents, positive, alpha, leak, initial):
    """Spikes by eqs. 2-4, 12 and 18, as a loop in float64."""
    v, spikes = initial * positive, []
    for current in currents.astype(np.float64):
        m = leak * v + current
        s = 1 if m >= positive else -1 if m <= -positive / alpha else 0
        v = m - s * (positive if s > 0 else positive / alpha)
        spikes.append(s)
    return spikes


def slow_exact_charge(currents, positive, alpha, leak, initial):
    charge, sent, spikes = 0.0, 0, []
    for current in currents.astype(np.float64):
        stood_for = sent * positive * (1 if sent >= 0 else 1 / alpha)
        charge = stood_for + leak * (charge - stood_for) + current
        quantum = positive if charge >= 0 else positive / alpha
        wanted = int(np.floor(abs(charge) / quantum + initial)) * (1 if charge >= 0 else -1)
        spikes.append((wanted > sent) - (wanted < sent))
        sent += spikes[-1]
    return spikes


@pytest.mark.parametrize(
    ("model", "slow"),
    [(DOUBLE_THRESHOLD, slow_double_threshold), (EXACT_CHARGE, slow_exact_charge)],
)
@pytest.mark.parametrize("initial", [0.0, 0.5])
@pytest.mark.parametrize("leak", [1.0, 0.5])
def test_spikes_equal_a_float64_loop_on_dyadic_currents(model, slow, initial, leak):
    currents = np.random.default_rng(1).integers(-48, 49, 12) / 16
    fast = spike_train(model, make_params(1.0, alpha=0.25, leak=leak, initial=initial), currents)
    np.testing.assert_array_equal(fast, slow(currents, 1.0, 0.25, leak, initial))


@given(z=st.integers(-300, 300), levels=st.sampled_from([1, 2, 4, 8]))
def test_the_rate_at_t_equal_to_levels_is_the_quantised_activation(z, levels):
    """T = L, constant current, dyadic numbers: exactly equal, also at the edges of steps."""
    alpha, theta, z = 0.25, 2.0, z / 64
    rate = spike_train(
        EXACT_CHARGE, make_params(1.0, alpha=alpha), jnp.full(levels, z / theta)
    ).mean()
    staircase = quantised_sth_leaky_relu(z, theta=theta, alpha=alpha, levels=levels)
    assert float(rate * theta) == float(staircase)


@pytest.mark.parametrize("model", NEURONS.values(), ids=NEURONS)
def test_a_step_keeps_shapes_and_dtypes_and_equals_its_jit(model):
    params = make_params(1.0, alpha=0.1)
    state = model.init(params, (3, 2))
    current = jnp.asarray(np.random.default_rng(0).normal(0, 2, (3, 2)), jnp.float32)
    after, spikes = model.step(params, state, current)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), after) == jax.tree.map(
        lambda a: (a.shape, a.dtype), state
    )
    jitted, jitted_spikes = jax.jit(model.step)(params, state, current)
    jax.tree.map(np.testing.assert_array_equal, (after, spikes), (jitted, jitted_spikes))


def test_a_leak_loses_unsent_charge_and_takes_no_spike_back():
    """Without a leak I = 0.35 fires 4 or 5 times in 12 steps; below (1 - leak) v_p never."""
    params = make_params(1.0, alpha=0.5, leak=0.5, initial=0.0)
    for model in (DOUBLE_THRESHOLD, EXACT_CHARGE):
        spikes = spike_train(model, params, [1.0, 0.25, 0.0, 0.0, 0.75, 0.75, 0.75])
        np.testing.assert_array_equal(spikes, [1, 0, 0, 0, 0, 1, 0])


def test_alpha_zero_gives_no_negative_spikes_and_stays_finite():
    for model in NEURONS.values():
        spikes = spike_train(model, make_params(1.0, alpha=0.0), [-5.0, -5.0, 12.0, 0.0])
        assert (np.asarray(spikes) >= 0).all()
        assert np.isfinite(spikes).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positive": 0.0, "alpha": 0.1}, "threshold is 0.0; want it above 0"),
        ({"positive": 1.0, "alpha": 1.5}, r"alpha is 1.5; want it in \(0, 1\]"),
        ({"positive": 1.0, "alpha": float("nan")}, "alpha is nan"),
        ({"positive": 1.0, "alpha": 0.1, "leak": 0.0}, r"leak is 0.0; want it in \(0, 1\]"),
        ({"positive": 1.0, "alpha": 0.1, "initial": float("inf")}, "initial potential is inf"),
    ],
)
def test_parameters_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_params(**arguments)


def test_a_current_of_another_shape_is_refused():
    params = make_params(1.0, alpha=0.1)
    for model in NEURONS.values():
        with pytest.raises(AssertionError):
            model.step(params, model.init(params, (2, 3)), jnp.zeros((2, 4)))
