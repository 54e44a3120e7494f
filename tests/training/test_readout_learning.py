"""Learning of the readout over epochs: what each rule keeps, finds or destroys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

from snnjax.conversion.conversion import convert
from snnjax.snn.readout import LEAKY, leaky_layer, output_spikes, read, responses
from snnjax.training.class_assignment import with_assigned_classes
from snnjax.training.output_recording import RecordingSettings, record_output_currents
from snnjax.training.plasticity_rules import LEARNING_RULES, make_plasticity
from snnjax.training.readout_learning import learn, learn_on_images, random_weights

KEY, CLASSES, STEPS = jax.random.key(0), 5, 24


@pytest.fixture(scope="module")
def task():
    """Currents of noisy images: the class's is the largest, and one neighbour's is close."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, CLASSES, 1500)
    strength = 0.6 * np.eye(CLASSES)[labels] + 0.25 * np.eye(CLASSES)[(labels + 1) % CLASSES]
    strength = strength + draw.normal(0, 0.12, strength.shape)
    currents = strength + draw.normal(0, 0.3, (STEPS, *strength.shape))
    params = {"output_scale": jnp.float32(1.0)}
    return params, jnp.asarray(currents, jnp.float32), jnp.asarray(labels, jnp.int32)


def accuracy(params, layer, currents, labels):
    values = read(LEAKY, {**params, "readout": layer}, currents)
    return float(jnp.mean(jnp.argmax(values[-1], -1) == labels))


def learnt(task, layer, rule="stdp", **settings):
    params, currents, labels = task
    spikes = output_spikes(params, currents)
    return learn(
        layer, spikes, labels, KEY, make_plasticity(), rule=LEARNING_RULES[rule], **settings
    )


def test_competition_keeps_the_accuracy_of_the_identity(task):
    params, currents, labels = task
    identity = leaky_layer(np.eye(CLASSES))
    before = accuracy(params, identity, currents, labels)
    after = accuracy(params, learnt(task, identity, epochs=2), currents, labels)
    assert 0.9 < before < 0.999
    assert after > before - 0.005


def test_competition_finds_the_classes_from_random_weights(task):
    params, currents, labels = task
    start = leaky_layer(random_weights(KEY, CLASSES, 15), labels=np.arange(15) % CLASSES)
    layer = learnt(task, start, epochs=6)
    found = with_assigned_classes(params, layer, currents[:, :200], labels[:200])
    identity = accuracy(params, leaky_layer(np.eye(CLASSES)), currents, labels)
    assert accuracy(params, start, currents, labels) < 0.7
    assert accuracy(params, found, currents, labels) > identity - 0.02


def test_the_literal_rule_destroys_the_classifier(task):
    """All weights grow without bound and alike, until all neurons fire at every step."""
    params, currents, _ = task
    identity = leaky_layer(np.eye(CLASSES))
    layer = learnt(task, identity, "literal", epochs=10)
    assert layer["weights"].min() > 10

    def decisive(layer):
        """Share of the images whose largest spike count is one neuron's alone."""
        counts = responses({**params, "readout": layer}, currents)
        return float(jnp.mean((counts == counts.max(-1, keepdims=True)).sum(-1) == 1))

    assert decisive(identity) > 0.9
    assert decisive(layer) < 0.1
    kept = learnt(task, identity, epochs=10)
    assert decisive(kept) > 0.9
    assert kept["weights"].max() <= 1


def test_the_supervised_rule_learns_what_the_labels_say():
    """The network confuses its first two classes always; only labels can tell."""
    labels = jnp.tile(jnp.arange(4), 100)
    swapped = jnp.array([1, 0, 2, 3])[labels]
    spikes = jnp.tile(0.8 * jax.nn.one_hot(swapped, 4), (STEPS, 1, 1)) > 0.5
    plasticity, rule = make_plasticity(teaching=0.5), LEARNING_RULES["teacher"]
    layer = learn(
        leaky_layer(np.eye(4)), spikes.astype(jnp.float32), labels, KEY, plasticity,
        rule=rule, epochs=40,
    )  # fmt: skip
    np.testing.assert_array_equal(np.argmax(layer["weights"], 1), [1, 0, 2, 3])


@pytest.mark.parametrize("rule", LEARNING_RULES)
def test_leaks_and_keys_map_and_the_same_key_repeats(task, rule):
    params, currents, labels = task
    spikes, plasticity = output_spikes(params, currents[:, :100]), make_plasticity()

    def weights(leak, seed):
        layer = leaky_layer(jnp.eye(CLASSES), leak=leak)
        key = jax.random.key(seed)
        found = learn(layer, spikes, labels[:100], key, plasticity, rule=LEARNING_RULES[rule])
        return found["weights"]

    leaks, seeds = jnp.array([0.8, 0.8, 1.0]), jnp.array([0, 1, 0])
    swept = jax.vmap(weights)(leaks, seeds)
    for found, leak, seed in zip(swept, leaks, seeds, strict=True):
        np.testing.assert_allclose(found, weights(leak, seed), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(weights(0.8, 0), weights(0.8, 0))


def test_recording_and_learning_in_one_program_equal_both_in_turn():
    network = dense_network()
    params = convert(network, random_variables(network, (4, 4, 1)), output_scale=1.0)
    images = (255 * random_images(130, (4, 4, 1))).astype(np.uint8)
    labels = jnp.zeros(130, jnp.int32)
    layer = leaky_layer(random_weights(KEY, 3, 3), threshold=0.2)
    recording = RecordingSettings(num_steps=6)
    found, currents = learn_on_images(
        network, params, layer, images, labels, KEY, make_plasticity(), recording=recording
    )
    drawn, ordered = jax.random.split(KEY)
    halves = recording._replace(batch_size=65)
    alone = record_output_currents(network, params, images, drawn, halves)
    np.testing.assert_allclose(currents, alone, atol=1e-5)
    after = learn(layer, output_spikes(params, alone), labels, ordered, make_plasticity())
    np.testing.assert_allclose(found["weights"], after["weights"], atol=1e-5)
    assert not (found["weights"] == layer["weights"]).all()


def test_bad_settings_are_refused(task):
    layer = leaky_layer(np.eye(CLASSES))
    with pytest.raises(ValueError, match="batch_size is 1501; want at most the 1500 images"):
        learnt(task, layer, batch_size=1501)
    with pytest.raises(ValueError, match="epochs is 0; want a whole number of at least 1"):
        learnt(task, layer, epochs=0)
    with pytest.raises(ValueError, match="4 neurons cannot stand for 5 classes"):
        random_weights(KEY, 5, 4)
    no_images = jnp.zeros((0, 4, 4, 1), jnp.uint8)
    with pytest.raises(ValueError, match=r"images have shape \(0, 4, 4, 1\); want \[B"):
        record_output_currents(dense_network(), {}, no_images, KEY, RecordingSettings(num_steps=2))


@pytest.mark.parametrize("rule", LEARNING_RULES)
def test_b1_learning_under_x64_is_the_same(task, rule):
    few = (task[0], task[1][:, :100], task[2][:100])
    layer = leaky_layer(np.eye(CLASSES, dtype=np.float32), leak=0.9, threshold=1.0)
    usual = learnt(few, layer, rule)["weights"]
    with jax.enable_x64(True):
        wide = learnt(few, layer, rule)["weights"]
    assert wide.dtype == np.float32
    np.testing.assert_allclose(wide, usual, atol=0.02)
