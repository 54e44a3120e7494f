"""Tests of the readouts, also on stored currents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

from snnjax.conversion.conversion import convert
from snnjax.snn.readout import (
    ACCUMULATE,
    COUNT,
    CURRENT,
    LEAKY,
    leaky_layer,
    output_spikes,
    read,
    responses,
)
from snnjax.snn.simulation import simulate

SHAPE = (4, 4, 1)


def params_of(layer, scale=1.0):
    return {"output_scale": jnp.float32(scale), "output_leak": jnp.float32(1.0), "readout": layer}


def slow_counts(currents, weights, leak, threshold, scale):
    """Spike counts of one image by eqs. 2-4 and 18, neuron by neuron, in float64."""
    classes, neurons = weights.shape
    outputs, membranes = np.full(classes, 0.5 * scale), np.zeros(neurons)
    counts = np.zeros(neurons)
    for current in currents:
        sent = np.zeros(classes)
        for j in range(classes):
            outputs[j] += current[j] - current.mean()
            if outputs[j] >= scale:
                sent[j], outputs[j] = 1.0, outputs[j] - scale
        for i in range(neurons):
            membranes[i] = leak * membranes[i] + sent @ weights[:, i]
            if membranes[i] >= threshold:
                counts[i], membranes[i] = counts[i] + 1, membranes[i] - threshold
    return counts


def read_one_image(readout, params, currents):
    """Values `[T, K]` of one image whose last layer receives `currents` `[T, K]`."""
    return read(readout, params, jnp.asarray(currents, jnp.float32)[:, None])[:, 0]


def test_accumulate_gives_the_mean_current_so_far():
    np.testing.assert_allclose(
        read_one_image(ACCUMULATE, {"output_leak": 1.0}, [[1.0, -1.0], [3.0, 0.0]]),
        [[1.0, -1.0], [2.0, -0.5]],
    )


def test_an_output_leak_weights_recent_currents_more():
    values = read_one_image(ACCUMULATE, {"output_leak": 0.5}, [[1.0, 0.0], [4.0, 0.0]])
    np.testing.assert_allclose(values, [[1.0, 0.0], [(0.5 * 1 + 4) / 1.5, 0.0]])


def test_counts_decide_and_membranes_only_break_ties():
    params = {"output_scale": jnp.float32(1.0)}
    values = read_one_image(COUNT, params, [[1.0, 0.9, -1.0], [0.0, 0.05, 0.2]])
    np.testing.assert_array_equal(values.argmax(-1), [0, 0])
    assert values[0, 2] == -1.0
    tied = read_one_image(COUNT, params, [[0.3, 0.4, 0.2]])
    assert tied.argmax() == 1
    assert jnp.abs(tied).max() < 0.5


def test_a_saturated_output_never_outweighs_a_spike():
    params = {"output_scale": jnp.float32(1.0)}
    values = read_one_image(COUNT, params, [[1e6, -1e6]])
    np.testing.assert_allclose(values, [[1.499, -1.499]], atol=1e-3)


def test_both_layers_equal_a_slow_loop():
    draw = np.random.default_rng(0)
    currents = np.round(draw.normal(0, 1, (40, 3, 4)) * 16) / 16  # sums are exact
    weights = np.round(draw.uniform(0, 1, (4, 6)) * 8) / 8
    layer = leaky_layer(weights, leak=0.5, threshold=1.0, labels=[0, 1, 2, 3, 0, 1])
    found = responses(params_of(layer), jnp.asarray(currents, jnp.float32))
    wanted = [slow_counts(currents[:, b], weights, 0.5, 1.0, 1.0) for b in range(3)]
    np.testing.assert_array_equal(found, wanted)
    assert np.min(np.max(wanted, 1)) > 5


def test_a_leaky_neuron_fires_only_on_spikes_close_in_time():
    """Spikes at every other timestep, threshold 1.5: they add up without a leak, not with 0.25."""
    currents = jnp.tile(jnp.array([[[1.0, -1.0]], [[0.0, 0.0]]]), (4, 1, 1))
    counts = {}
    for leak in (1.0, 0.25):
        layer = leaky_layer(np.eye(2), leak=leak, threshold=1.5)
        counts[leak] = responses(params_of(layer), currents)[0, 0]
    assert counts[1.0] == 2
    assert counts[0.25] == 0


def share(left):
    """Tie break of a membrane potential of `left` thresholds, less than half a spike."""
    return 0.499 * left / (1 + abs(left))


def test_values_are_means_over_the_neurons_of_a_class_and_membranes_break_ties():
    """The last layer ends at 0.5 and -3.5; with half the weight, 0.5 counts as 0.25."""
    currents = jnp.tile(jnp.array([[[1.0, -1.0]]]), (4, 1, 1))
    layer = leaky_layer([[1.0, 0.5, 0.0], [0.0, 0.0, 1.0]], leak=1, threshold=1, labels=[0, 0, 1])
    values = read(LEAKY, params_of(layer), currents)
    wanted = [(4 + 2 + share(0.5) + share(0.25)) / 2, share(-3.5)]
    np.testing.assert_allclose(values[-1], [wanted], rtol=1e-6)
    assert values[0, 0, 0] == pytest.approx((1 + share(0.5) + share(0.5 + 0.25)) / 2)


def test_a_layer_without_leak_answers_like_count_at_few_timesteps():
    draw = np.random.default_rng(3)
    currents = jnp.asarray(draw.normal(0, 0.5, (400, 10)) + np.zeros((3, 1, 1)), jnp.float32)
    params = params_of(leaky_layer(np.eye(10), leak=1.0), scale=float(currents.max()))
    leaky, counted = (read(r, params, currents)[-1].argmax(-1) for r in (LEAKY, COUNT))
    assert (leaky == counted).mean() > 0.99
    assert (leaky == currents[0].argmax(-1)).mean() > 0.99


def test_output_spikes_are_positive_and_relative_to_the_mean_over_classes():
    currents = jnp.asarray(np.random.default_rng(1).normal(-5, 1, (50, 4, 3)), jnp.float32)
    params = params_of(leaky_layer(np.eye(3)))
    sent = output_spikes(params, currents)
    assert set(np.unique(sent)) == {0.0, 1.0}
    np.testing.assert_array_equal(sent, output_spikes(params, currents + 100))
    mean = (currents - currents.mean(-1, keepdims=True)).mean(0)
    best = jnp.argmax(mean, -1)
    rate = sent.mean(0)[jnp.arange(4), best]
    np.testing.assert_allclose(rate, jnp.minimum(mean.max(-1), 1), atol=0.08)


@pytest.mark.parametrize("readout", [ACCUMULATE, COUNT, LEAKY], ids=["mean", "count", "leaky"])
def test_reading_stored_currents_equals_reading_in_the_simulation(readout):
    network = dense_network()
    params = convert(network, random_variables(network, SHAPE), output_scale=2.0)
    params["readout"] = leaky_layer(np.eye(3))
    images = random_images(5, SHAPE)
    currents = simulate(network, params, images, num_steps=12, readout=CURRENT).values
    along = simulate(network, params, images, num_steps=12, readout=readout).values
    np.testing.assert_allclose(read(readout, params, currents), along, atol=1e-5)


def test_leaks_are_traced():
    network = dense_network()
    params = convert(network, random_variables(network, SHAPE), output_scale=2.0)
    images = random_images(5, SHAPE)

    def values(leak):
        own = {**params, "readout": leaky_layer(jnp.eye(3), leak=leak)}
        return simulate(network, own, images, num_steps=9, readout=LEAKY).values

    leaks = jnp.array([0.5, 1.0])
    swept = jax.vmap(values)(leaks)
    assert not (swept[0] == swept[1]).all()
    for found, leak in zip(swept, leaks, strict=True):
        np.testing.assert_allclose(found, values(leak), atol=1e-6)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"leak": 0.0}, r"leak is 0.0; want it in \(0, 1\]"),
        ({"leak": 1.5}, "leak is 1.5"),
        ({"threshold": 0.0}, "threshold is 0.0; want it above 0"),
        ({"labels": [0, 0, 1]}, "class 2 has no neuron; want at least one"),
        ({"labels": [0, 1]}, r"want \[3\]"),
        ({"weights": np.eye(3)[:, :2]}, "2 neurons for 3 classes; pass the labels"),
        ({"weights": np.full((3, 3), np.nan)}, "want them finite"),
    ],
)
def test_a_bad_layer_is_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        leaky_layer(**{"weights": np.eye(3), **numbers})


def test_values_of_whole_currents_are_rounded_once_under_vmap_and_with_constants():
    """XLA multiplies by the inverse of a divisor that it knows to be the same for many values."""
    draw = np.random.default_rng(0)
    currents = np.float32(draw.integers(-5000, 5000, (2, 3, 4, 5)))
    params = {**params_of(None, scale=4711), "integer": {"logit": np.float32(1)}}
    means = np.cumsum(currents, 1) / np.arange(1, 4, dtype=np.float32)[:, None, None]
    found = jax.jit(jax.vmap(lambda of: read(ACCUMULATE, params, of)))(currents)
    np.testing.assert_array_equal(found, means)
    traced = jax.jit(lambda p, of: read(COUNT, p, of))(params, currents[0])
    constant = jax.jit(lambda of: read(COUNT, params, of))(currents[0])
    np.testing.assert_array_equal(traced, constant)


def test_a_network_without_the_layer_is_refused():
    network = dense_network()
    params = convert(network, random_variables(network, SHAPE), output_scale=2.0)
    with pytest.raises(ValueError, match="have no leaky layer"):
        simulate(network, params, random_images(2, SHAPE), num_steps=2, readout=LEAKY)
    params["readout"] = leaky_layer(np.eye(4))
    with pytest.raises(ValueError, match="for 4 classes; want 3"):
        simulate(network, params, random_images(2, SHAPE), num_steps=2, readout=LEAKY)
