"""STDP by traces is the sum over all pairs of spikes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnjax.training import stdp
from snnjax.training.stdp import make_stdp, weight_change, window


def train(times, length=40):
    return jnp.zeros((length, 1)).at[jnp.asarray(times)].set(1.0)


def test_the_closed_form():
    """Four pairs of two trains, in float32, from a weight of 0.5."""
    rule = make_stdp(a_plus=0.01, a_minus=0.012, tau_plus=20, tau_minus=20)
    weight = 0.5 + weight_change(rule, train([5, 30]), train([10, 28]))
    np.testing.assert_allclose(weight, 0.4956818, atol=1e-6)


def pairs(rule, pre, post):
    """Eq. 19 spelt out: every spike of one side with every spike of the other."""
    rule = [float(x) for x in rule]
    total = np.zeros((pre.shape[1], post.shape[1]))
    for s, before in enumerate(pre):
        for t, after in enumerate(post):
            a, tau = (rule[0], rule[2]) if t >= s else (-rule[1], rule[3])
            total += a * np.exp(-abs(t - s) / tau) * np.outer(before, after)
    return total


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    numbers=st.tuples(*[st.floats(0, 1)] * 2, *[st.floats(0.5, 50)] * 2),
    signed=st.booleans(),
)
def test_traces_are_the_double_sum(seed, numbers, signed):
    draw = np.random.default_rng(seed)
    low = -1 if signed else 0
    pre, post = draw.integers(low, 2, (12, 3)), draw.integers(low, 2, (12, 2))
    rule = make_stdp(
        **dict(zip(("a_plus", "a_minus", "tau_plus", "tau_minus"), numbers, strict=True))
    )
    wanted = pairs(rule, pre, post)
    found = weight_change(rule, jnp.asarray(pre, jnp.float32), jnp.asarray(post, jnp.float32))
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_the_window_is_what_two_spikes_do():
    rule = make_stdp(a_plus=0.3, a_minus=0.2, tau_plus=4, tau_minus=7)
    delays = np.arange(-15, 16)
    measured = [float(weight_change(rule, train([20]), train([20 + d]))[0, 0]) for d in delays]
    np.testing.assert_allclose(measured, window(rule, delays), atol=1e-6)
    assert window(rule, 0) == rule.a_plus
    assert window(rule, -1) < 0 < window(rule, 1)
    assert abs(window(rule, -500)) < 1e-6  # as printed, eq. 20 explodes here


def test_a_negative_spike_reverses_its_pairs_and_two_do_not():
    rule = make_stdp(a_plus=0.3, a_minus=0.2)
    pre, post = train([3, 9]), train([5, 8])
    there = weight_change(rule, pre, post)
    np.testing.assert_allclose(weight_change(rule, -pre, post), -there)
    np.testing.assert_allclose(weight_change(rule, pre, -post), -there)
    np.testing.assert_allclose(weight_change(rule, -pre, -post), there)


def test_batches_are_independent_and_everything_is_traced():
    draw = np.random.default_rng(0)
    pre = jnp.asarray(draw.integers(-1, 2, (9, 4, 3)), jnp.float32)
    post = jnp.asarray(draw.integers(0, 2, (9, 4, 5)), jnp.float32)
    rule = make_stdp()
    whole = weight_change(rule, pre, post)
    assert whole.shape == (4, 3, 5)
    for i in range(4):
        np.testing.assert_allclose(whole[i], weight_change(rule, pre[:, i], post[:, i]), atol=1e-6)
    taus = jnp.array([2.0, 5.0])
    mapped = jax.vmap(lambda tau: weight_change(make_stdp(tau_plus=tau), pre, post))(taus)
    np.testing.assert_allclose(mapped[1], whole, atol=1e-6)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ({"tau_plus": 0.0}, "tau_plus is 0.0; want a number of timesteps above 0"),
        ({"tau_minus": -1.0}, "tau_minus is -1.0"),
        ({"a_plus": -0.1}, "a_plus is -0.1; want it finite and at least 0"),
        ({"a_minus": float("nan")}, "a_minus is nan"),
    ],
)
def test_numbers_out_of_range_are_named(number, message):
    with pytest.raises(ValueError, match=message):
        make_stdp(**number)


def test_there_is_nothing_before_the_first_spike():
    traces = stdp.init_traces((2, 3), (2, 4))
    assert not traces.pre.any() and not traces.post.any()
