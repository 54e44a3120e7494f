"""Inputs of another number of images, or of another size, than the example."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnjax
from snnjax.analysis.function_operations import count_function_operations
from snnjax.conversion.spiking.calibration import largest, least_error_by_channel
from snnjax.snn.early_exit import simulate_until
from snnjax.snn.neurons import DOUBLE_THRESHOLD, EXACT_CHARGE

DRAW = np.random.default_rng(0)
W, V = np.float32(DRAW.integers(-16, 17, (2, 3, 3)) / 16)
X = np.float32(DRAW.integers(0, 65, (4, 4, 3)) / 64)


def attention(w, x):
    h = jnp.tanh(x @ w)
    return (h @ h.mT @ h).sum(1) @ V


def test_one_image_is_computed_as_it_is_in_a_batch():
    spiking = snnjax.spike(attention, W, X, levels=4, rule=largest)

    @jax.jit
    def outputs(x):
        result = snnjax.simulate(spiking, x, num_steps=9, record=True)
        answer = simulate_until(spiking, x, margin=0.2, num_steps=9)
        return result, answer, spiking.quantised(spiking.params, x)

    (whole, exits, settled), (one, exit_of_one, settled_one) = map(outputs, (X, X[2:3]))
    np.testing.assert_allclose(one.values, whole.values[:, 2:3], atol=1e-5)
    np.testing.assert_allclose(settled_one, settled[2:3], atol=1e-5)
    assert exit_of_one.steps == exits.steps[2] and exit_of_one.spikes == exits.spikes[2]
    for site, spikes in whole.recording.items():
        np.testing.assert_array_equal(one.recording[site], spikes[:, 2:3])
        assert int(one.neurons[site]) == int(whole.neurons[site]) > 0
        assert int(one.layer_spikes[site][0]) == int(whole.layer_spikes[site][2]) > 0


def test_one_image_is_an_example():
    thetas = [
        snnjax.spike(attention, W, x, levels=4, rule=largest).params["thetas"]
        for x in (X[:1], np.repeat(X[:1], 2, 0))
    ]
    assert thetas[0] == thetas[1]


def test_operations_of_one_image_are_those_of_the_image_twice():
    spiking = snnjax.spike(attention, W, X, levels=4, rule=largest)
    one, two = (count_function_operations(spiking, X[of], num_steps=9) for of in ([2], [2, 2]))
    assert one == two and one.spikes > 0 and one.input_products == 4 * np.count_nonzero(W)


def test_an_output_without_an_axis_for_one_image_gets_it_back():
    spiking = snnjax.spike(lambda w, x: (jnp.tanh(x @ w) @ V).squeeze(), W, X[:, 0], rule=largest)
    assert jax.eval_shape(spiking.quantised, spiking.params, X[:1, 0]).shape == (1, 3)


def test_images_that_are_joined_have_the_shape_of_the_example():
    def apply(w, x):
        rows = (jax.nn.relu(x.transpose(1, 0, 2, 3).reshape(-1, 3) @ w) @ V).reshape(
            x.shape[1], len(x), x.shape[2], 3
        )
        return rows.sum((0, 2))

    example = np.float32(DRAW.uniform(size=(4, 2, 6, 3)))
    spiking = snnjax.spike(apply, W, example, levels=4, rule=largest)
    with pytest.raises(ValueError, match=r"shape \(6, 2, 3\) and those of the example \(2, 6, 3\)"):
        snnjax.simulate(spiking, example.reshape(4, 6, 2, 3), num_steps=4)


def test_a_theta_by_channel_is_refused_at_values_of_another_shape():
    spiking = snnjax.spike(
        lambda w, x: (w @ jax.nn.relu(w @ x)).mean(-1), W, X.transpose(0, 2, 1), levels=4,
        rule=least_error_by_channel,
    )  # fmt: skip
    message = r"theta of transpose has shape \(4,\) .* for one image have shape \(3, 1\)"
    image = X[:2, :1].transpose(0, 2, 1)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(spiking.quantised, spiking.params, image)
    with pytest.raises(ValueError, match=message):
        snnjax.simulate(spiking, image, num_steps=4)
    with pytest.raises(ValueError, match=message):
        simulate_until(spiking, image, margin=1.0, num_steps=4)
    thetas = {name: np.float32(1) for name in spiking.function.sites}
    one_theta = dataclasses.replace(spiking, params=spiking.params | {"thetas": thetas})
    assert jax.eval_shape(one_theta.quantised, one_theta.params, image).shape == (2, 3)


@pytest.mark.parametrize("num_steps", [100, 150])  # counts of 8 bits, and of 16
@pytest.mark.parametrize("neuron", [EXACT_CHARGE, DOUBLE_THRESHOLD])
def test_counts_are_those_of_the_recorded_spikes_whatever_their_number(neuron, num_steps):
    weights = np.linspace(-1.0, 1.0, 3 * 19, dtype=np.float32).reshape(3, 19)
    x = np.asarray([[1.0, 0.5, 0.25], [0.0, 1.0, 0.75]], np.float32)

    def apply(params, x):
        return jnp.tanh(x @ params) @ params.T

    spiking = snnjax.spike(apply, weights, x, levels=150)
    found = snnjax.simulate(spiking, x, num_steps=num_steps, neuron=neuron, record=True)
    sent = {site: np.abs(spikes).sum(2) for site, spikes in found.recording.items()}
    for site, spikes in found.recording.items():
        np.testing.assert_array_equal(found.layer_spikes[site], sent[site].sum(0))
        assert np.abs(spikes.sum(0)).max() > 0.95 * num_steps
    np.testing.assert_array_equal(found.spikes, sum(sent.values()).cumsum(0))
    np.testing.assert_allclose(found.values[-1], apply(weights, x), atol=0.3)


def with_wide_spikes(width):
    """Return the double-threshold neuron with `width` spikes in place of one; it says `whole`."""

    def step(params, state, current):
        state, spikes = DOUBLE_THRESHOLD.step(params, state, current)
        return state, width * spikes

    return DOUBLE_THRESHOLD._replace(step=step)


def rounded_count(params, sent, charge):
    """Exact charge, with a half that integers do not have."""
    return sent + jnp.sign(jnp.floor(charge / params.positive + jnp.full_like(sent, 0.5)) - sent)


def test_counts_are_right_whatever_a_neuron_of_ones_own_does_with_them():
    weights, x = np.eye(8, dtype=np.float32), np.linspace(-1.0, 1.0, 16, dtype=np.float32)
    x = x.reshape(2, 8)
    spiking = snnjax.spike(lambda w, x: jnp.sin(x @ w) @ w, weights, x, levels=99)
    run = jax.jit(snnjax.simulate, static_argnames=("num_steps", "neuron"))
    wanted = run(spiking, x, num_steps=99)
    own = EXACT_CHARGE._replace(next_count=rounded_count)
    found = run(spiking, x, num_steps=99, neuron=own)
    np.testing.assert_allclose(found.values, wanted.values, atol=1e-5)
    np.testing.assert_array_equal(found.spikes, wanted.spikes)
    one = run(spiking, x, num_steps=99, neuron=with_wide_spikes(1))
    two = run(spiking, x, num_steps=99, neuron=with_wide_spikes(2))
    np.testing.assert_array_equal(two.values, 2 * one.values)
    np.testing.assert_array_equal(two.spikes, 2 * one.spikes)
