"""What the readout learns: what each rule keeps, what it finds, and what destroys it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

from snnjax.conversion.conversion import convert
from snnjax.snn.readout import LEAKY, leaky_layer, output_spikes, read, responses
from snnjax.training import readout_learning
from snnjax.training.readout_learning import (
    RULES,
    Learner,
    assign_labels,
    compete,
    labelled,
    learn,
    learn_on_images,
    make_rates,
    random_weights,
)

KEY, CLASSES, STEPS = jax.random.key(0), 5, 24
LEARN = jax.jit(compete)


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
    rates = settings.pop("rates", make_rates())
    return learn(layer, spikes, labels, KEY, rates, rule=RULES[rule], **settings)


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
    found = labelled(params, learnt(task, start, epochs=6), currents[:, :200], labels[:200])
    identity = accuracy(params, leaky_layer(np.eye(CLASSES)), currents, labels)
    assert accuracy(params, start, currents, labels) < 0.7
    assert accuracy(params, found, currents, labels) > identity - 0.02


def test_the_literal_rule_destroys_the_classifier(task):
    """All weights grow without bound and alike, until all neurons fire at every step."""
    params, currents, _ = task
    identity = leaky_layer(np.eye(CLASSES))
    layer = learnt(task, identity, "literal", epochs=10)
    assert layer["weights"].min() > 10

    def decided(layer):
        """Share of the images whose largest spike count is one neuron's alone."""
        counts = responses({**params, "readout": layer}, currents)
        return float(jnp.mean((counts == counts.max(-1, keepdims=True)).sum(-1) == 1))

    assert decided(identity) > 0.9
    assert decided(layer) < 0.1
    kept = learnt(task, identity, epochs=10)
    assert decided(kept) > 0.9
    assert kept["weights"].max() <= 1


def test_the_teacher_learns_what_the_labels_say():
    """The network confuses its first two classes always; only labels can tell."""
    labels = jnp.tile(jnp.arange(4), 100)
    swapped = jnp.array([1, 0, 2, 3])[labels]
    spikes = jnp.tile(0.8 * jax.nn.one_hot(swapped, 4), (STEPS, 1, 1)) > 0.5
    layer = learn(
        leaky_layer(np.eye(4)), spikes.astype(jnp.float32), labels, KEY, make_rates(teaching=0.5),
        rule=RULES["teacher"], epochs=40,
    )  # fmt: skip
    np.testing.assert_array_equal(np.argmax(layer["weights"], 1), [1, 0, 2, 3])


def test_competition_keeps_sums_and_bounds_and_moves_thresholds_to_the_target():
    draw = np.random.default_rng(1)
    spikes = jnp.asarray(draw.uniform(size=(STEPS, 20, 4)) < [0.9, 0.4, 0.1, 0.0], jnp.float32)
    weights = random_weights(KEY, 4, 8) * 2
    layer, rates = leaky_layer(weights, labels=np.arange(8) % 4), make_rates(a_plus=0.5)
    learner = Learner(weights, jnp.zeros(8))
    for _ in range(30):
        learner = LEARN(learner, layer, spikes, None, rates)
        np.testing.assert_allclose(learner.weights.sum(0), weights.sum(0), rtol=1e-4)
        assert learner.weights.min() >= 0
        assert learner.offset.min() >= readout_learning.LOWEST
        assert learner.offset.max() <= readout_learning.HIGHEST
    assert learner.offset.max() > learner.offset.min()


def test_only_the_winner_learns():
    """One image, one input: the neuron with the larger weight wins, and the input takes it over."""
    weights = jnp.array([[0.6, 0.4], [0.4, 0.6]])
    layer = leaky_layer(weights, leak=1.0, threshold=0.3)  # which both reach
    spikes = jnp.tile(jnp.array([1.0, 0.0]), (8, 1, 1))
    after = LEARN(Learner(weights, jnp.zeros(2)), layer, spikes, None, make_rates(homeostasis=0))
    assert after.weights[0, 0] > 0.6
    np.testing.assert_allclose(after.weights[:, 1], weights[:, 1], atol=1e-6)


def test_silent_neurons_get_lower_thresholds_until_they_fire():
    weights = jnp.full((4, 4), 0.25)
    layer = leaky_layer(weights, leak=0.5, threshold=5.0)
    spikes = jnp.ones((STEPS, 4, 4)).at[::2, :, 1:].set(0.0)
    learner = Learner(weights, jnp.zeros(4))
    for _ in range(60):
        learner = LEARN(learner, layer, spikes, None, make_rates())
    assert learner.offset.max() < 0
    assert not (learner.weights == weights).all()


def test_all_thresholds_fall_where_all_fire_less_than_the_target():
    weights = random_weights(KEY, 4, 6)
    layer = leaky_layer(weights, threshold=2.0, labels=np.arange(6) % 4)
    spikes = jnp.asarray(np.random.default_rng(2).uniform(size=(STEPS, 9, 4)) < 0.5, jnp.float32)
    enough, more = (
        LEARN(Learner(weights, jnp.zeros(6)), layer, spikes, None, make_rates(target=target))
        for target in (0.01, 10)
    )
    assert enough.offset.max() > 0 > enough.offset.min()
    np.testing.assert_allclose(more.offset, enough.offset - 0.05, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_leaks_and_keys_map_and_the_same_key_repeats(task, rule):
    params, currents, labels = task
    spikes, rates = output_spikes(params, currents[:, :100]), make_rates()

    def weights(leak, seed):
        layer = leaky_layer(jnp.eye(CLASSES), leak=leak)
        key = jax.random.key(seed)
        return learn(layer, spikes, labels[:100], key, rates, rule=RULES[rule])["weights"]

    leaks, seeds = jnp.array([0.8, 0.8, 1.0]), jnp.array([0, 1, 0])
    swept = jax.vmap(weights)(leaks, seeds)
    for found, leak, seed in zip(swept, leaks, seeds, strict=True):
        np.testing.assert_allclose(found, weights(leak, seed), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(weights(0.8, 0), weights(0.8, 0))


def test_showing_and_learning_in_one_program_is_both_in_turn():
    network = dense_network()
    params = convert(network, random_variables(network, (4, 4, 1)), output_scale=1.0)
    images = (255 * random_images(130, (4, 4, 1))).astype(np.uint8)
    labels = jnp.zeros(130, jnp.int32)
    layer = leaky_layer(random_weights(KEY, 3, 3), threshold=0.2)
    found, currents = learn_on_images(
        network, params, layer, images, labels, KEY, make_rates(), num_steps=6
    )
    drawn, ordered = jax.random.split(KEY)
    alone = readout_learning.show(network, params, images, drawn, num_steps=6, batch_size=65)
    np.testing.assert_allclose(currents, alone, atol=1e-5)
    after = learn(layer, output_spikes(params, alone), labels, ordered, make_rates())
    np.testing.assert_allclose(found["weights"], after["weights"], atol=1e-5)
    assert not (found["weights"] == layer["weights"]).all()


def test_a_neuron_gets_the_class_it_responds_to_most():
    currents = jnp.tile(2.0 * jnp.eye(3)[jnp.array([0, 1, 2, 1])], (6, 1, 1))
    weights = np.array([[0.0, 1.0, 0.2, 0.0], [1.0, 0.0, 0.3, 0.0], [0.0, 0.0, 0.5, 1.0]])
    layer = leaky_layer(weights, threshold=0.5, labels=[0, 1, 2, 0])
    params = {"output_scale": jnp.float32(1.0), "readout": layer}
    given = assign_labels(params, currents, jnp.array([0, 1, 2, 1]), classes=3)
    np.testing.assert_array_equal(given, [1, 0, 2, 2])


def test_bad_settings_are_refused(task):
    params, currents, labels = task
    layer = leaky_layer(np.eye(CLASSES))
    own = {**params, "readout": layer}
    with pytest.raises(ValueError, match=r"has 0 images and none of class 0, 1, 2, 3, 4"):
        assign_labels(own, currents[:, :0], labels[:0], classes=CLASSES)
    with pytest.raises(ValueError, match="none of class 1, 2, 3, 4"):
        assign_labels(own, currents[:, :2], jnp.zeros(2, int), classes=CLASSES)
    deaf = leaky_layer(np.eye(CLASSES)[:, [0] * 5], labels=np.arange(CLASSES))
    with pytest.raises(ValueError, match="no neuron stands for class"):
        labelled(params, deaf, currents, labels)
    with pytest.raises(ValueError, match="1500 images, batches of 1501"):
        learnt(task, layer, batch_size=1501)
    with pytest.raises(ValueError, match="0 epochs; want at least"):
        learnt(task, layer, epochs=0)
    with pytest.raises(ValueError, match="4 neurons cannot stand for 5 classes"):
        random_weights(KEY, 5, 4)
    for name, value, wanted in (
        ("a_plus", -1, "a_plus is -1"), ("tau_minus", 0, "tau_minus is 0"),
        ("homeostasis", -1, "homeostasis is -1"), ("target", 0, "target is 0"),
        ("margin", float("nan"), "margin is nan"), ("teaching", -2, "teaching is -2"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=wanted):
            make_rates(**{name: value})
    with pytest.raises(ValueError, match="0 images in batches of 100"):
        readout_learning.show(
            dense_network(), params, jnp.zeros((0, 4, 4, 1), jnp.uint8), KEY, num_steps=2
        )
