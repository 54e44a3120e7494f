"""Tests that the fast engine sends the same spikes as the plain engine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import (
    branching_network,
    compact_network,
    dense_network,
    dyadic,
    random_images,
    random_variables,
    residual_network,
)

from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.snn.encoding import CONSTANT, DETERMINISTIC, RATE, temporal
from snnjax.snn.engine import Observer, Task, neuron_shapes, with_leaks
from snnjax.snn.fast import by_counts
from snnjax.snn.fast.dynamics import make_problem
from snnjax.snn.neurons import DOUBLE_THRESHOLD, EXACT_CHARGE, INTEGRATE_AND_FIRE, NEURONS
from snnjax.snn.noise import make_noise
from snnjax.snn.readout import ACCUMULATE, COUNT, CURRENT, LEAKY, leaky_layer
from snnjax.snn.simulation import simulate
from snnjax.snn.stimulus import Stimulus

SHAPE = (8, 8, 3)


def each_its_own(network, params):
    """Parameters with a threshold and shift per channel, and an initial potential per neuron."""
    draw = np.random.default_rng(3)
    for path, shape in neuron_shapes(network, params["layers"], SHAPE).items():
        numbers = arch.inside(params["layers"], path)
        for number, drawn_for in (("positive", shape[-1:]), ("initial", shape)):
            factor = draw.uniform(0.5, 1.5, drawn_for).astype(np.float32)
            numbers[number] = numbers[number] * factor
        numbers["shift"] = draw.uniform(-0.2, 0.2, shape[-1:]).astype(np.float32)
    return params


def converted(network, **how):
    """Parameters for every readout."""
    params = convert(network, random_variables(network, SHAPE), output_scale=2.0, **how)
    classes = 3 if network.name == "dense" else 5
    return params | {"readout": leaky_layer(jnp.eye(classes) + 0.1, leak=0.9)}


def assert_same_spikes(one, other, tolerance=1e-5):
    """Compare values up to rounding, and spikes and all their counts exactly."""
    for name in ("spikes", "layer_spikes", "neurons", "recording"):
        jax.tree.map(np.testing.assert_array_equal, getattr(one, name), getattr(other, name))
    np.testing.assert_allclose(one.values, other.values, rtol=tolerance, atol=tolerance)


NETWORKS = {
    "compact": compact_network, "dense": dense_network, "residual": residual_network,
    "branching": branching_network,
}  # fmt: skip
CASES = [  # every neuron, encoding, network, readout and leak, and combinations that could interact
    ("exact-charge", "constant", "residual", ACCUMULATE, {}),
    ("exact-charge", "rate", "branching", COUNT, {"chunk_steps": 3}),
    ("exact-charge", "deterministic", "compact", LEAKY, {"chunk_steps": 3}),
    ("exact-charge", "constant", "dense", CURRENT, {"shown_steps": 3, "chunk_steps": 2}),
    ("exact-charge", "rate", "compact", ACCUMULATE, {"shown_steps": 2}),
    ("exact-charge", "constant", "compact", ACCUMULATE, {"leak": 0.9, "chunk_steps": 3}),
    ("exact-charge", "constant", "dense", COUNT, {"noise": make_noise(0.2)}),
    ("integrate-and-fire", "constant", "compact", LEAKY, {"chunk_steps": 7}),
    ("integrate-and-fire", "temporal", "dense", COUNT, {"leak": 0.8}),
    ("double-threshold", "constant", "compact", COUNT, {"chunk_steps": 3}),
    ("double-threshold", "rate", "dense", CURRENT, {"noise": make_noise(0.1, steps=1, out_of=2)}),
    ("double-threshold", "deterministic", "branching", ACCUMULATE, {"leak": 0.9, "chunk_steps": 7}),
    ("double-threshold-hard", "constant", "dense", ACCUMULATE, {"chunk_steps": 3}),
    ("augmented", "constant", "dense", ACCUMULATE, {"chunk_steps": 3}),
    ("signed-memory", "deterministic", "dense", LEAKY, {}),
    ("floored-hard", "temporal", "dense", COUNT, {"chunk_steps": 2}),
    ("residual-mask", "constant", "compact", COUNT, {"pre_steps": 2, "chunk_steps": 3}),
    ("offset", "rate", "dense", LEAKY, {"pre_steps": 1, "chunk_steps": 2}),
    ("offset", "constant", "dense", ACCUMULATE, {"pre_steps": 2, "leak": 0.9}),
]
QUICK = (
    ("exact-charge", "deterministic", "compact"), ("double-threshold", "constant", "compact"),
)  # fmt: skip
"""Cases that are quick tests beside those of the dense network."""

ENCODINGS = {
    "constant": CONSTANT, "rate": RATE, "deterministic": DETERMINISTIC, "temporal": temporal(3)
}  # fmt: skip


def test_the_cases_cover_every_neuron():
    assert {case[0] for case in CASES} == set(NEURONS)


@pytest.mark.parametrize(
    ("neuron", "encoding", "kind", "readout", "how"),
    [
        pytest.param(
            *case, id="-".join([*case[:3], *case[4]]),
            marks=() if case[2] == "dense" or case[:3] in QUICK else pytest.mark.slow,
        )
        for case in CASES
    ],
)  # fmt: skip
def test_the_fast_engine_sends_the_spikes_of_the_plain_one(neuron, encoding, kind, readout, how):
    network, how = NETWORKS[kind](), dict(how)
    params = converted(network, shift=0.125, leak=how.pop("leak", None))
    before = how.get("pre_steps", 0) * (len(network.sites) if neuron == "offset" else 1)
    run = {
        "num_steps": before + 7, "neuron": NEURONS[neuron], "encoding": ENCODINGS[encoding],
        "readout": readout, "key": jax.random.key(1), "record": True, **how,
    }  # fmt: skip
    images = random_images(3, SHAPE)
    wanted = simulate(network, params, images, engine="plain", **run)
    assert float(wanted.spikes[-1].min()) > 3
    assert_same_spikes(simulate(network, params, images, **run), wanted)


@pytest.mark.parametrize(
    "neuron", ["exact-charge", pytest.param("double-threshold", marks=pytest.mark.slow)]
)
def test_parameters_per_layer_channel_and_neuron_in_one_network(neuron):
    network = compact_network()
    params = each_its_own(network, converted(network))
    run = {"num_steps": 6, "neuron": NEURONS[neuron], "record": True, "chunk_steps": 2}
    images = random_images(2, SHAPE)
    wanted = simulate(network, params, images, engine="plain", **run)
    assert float(wanted.spikes[-1].min()) > 10
    assert_same_spikes(simulate(network, params, images, **run), wanted)


def problem(network, params, neuron):
    task = Task(network, neuron, CONSTANT, ACCUMULATE)
    return make_problem(params, Stimulus(jnp.asarray(random_images(1, SHAPE))), task)


def test_counts_are_used_for_neurons_with_next_count_and_without_a_leak():
    network = dense_network()
    kept, lost = converted(network), converted(network, leak=1.0)
    for neuron in (EXACT_CHARGE, INTEGRATE_AND_FIRE):
        assert by_counts.applies(problem(network, kept, neuron))
        assert not by_counts.applies(problem(network, lost, neuron))
    assert not by_counts.applies(problem(network, kept, DOUBLE_THRESHOLD))
    revising = EXACT_CHARGE._replace(revise=lambda params, state: state)
    assert not by_counts.applies(problem(network, kept, revising))


@pytest.mark.parametrize(
    ("kind", "chunk_steps", "how"),
    [
        pytest.param("residual", 3, {}, marks=pytest.mark.slow),
        pytest.param("branching", 1, {"encoding": RATE}, marks=pytest.mark.slow),
        ("compact", 3, {"shown_steps": 3}),
        pytest.param("compact", 1, {"shown_steps": 2, "encoding": RATE}, marks=pytest.mark.slow),
        ("dense", 3, {"neuron": INTEGRATE_AND_FIRE, "encoding": DETERMINISTIC}),
    ],
    ids=["constant", "rate", "settles", "rate-settles", "integrate-and-fire"],
)
def test_simulating_counts_equals_simulating_spikes(kind, chunk_steps, how):
    """A leak of 1 loses nothing, but such a network is simulated on spikes."""
    network = NETWORKS[kind]()
    run = {"num_steps": 7, "key": jax.random.key(1), "record": True, "chunk_steps": chunk_steps}
    images = random_images(3, SHAPE)
    counted, sent = (
        simulate(network, converted(network, shift=0.125, leak=leak), images, **run, **how)
        for leak in (None, 1.0)
    )
    assert float(counted.spikes[-1].min()) > 10
    assert_same_spikes(counted, sent)


def test_a_leak_loses_charge():
    network, images = dense_network(), random_images(3, SHAPE)
    lost, kept = (
        simulate(network, converted(network, leak=leak), images, num_steps=9).spikes[-1]
        for leak in (0.5, None)
    )
    assert (lost < kept).all()


@pytest.mark.parametrize(
    "chunk_steps",
    [pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(7, marks=pytest.mark.slow), 100],
)
def test_chunks_send_the_same_spikes_as_single_timesteps(chunk_steps):
    network = dense_network(0.25)
    params = convert(network, dyadic(random_variables(network, (4, 4, 1))))
    images = dyadic(random_images(3, (4, 4, 1)))
    run = {"num_steps": 7, "key": jax.random.key(1), "record": True, "encoding": RATE}
    one = simulate(network, params, images, chunk_steps=1, **run)
    many = simulate(network, params, images, chunk_steps=chunk_steps, **run)
    assert float(jnp.abs(one.spikes[-1]).min()) > 3
    assert_same_spikes(one, many, tolerance=1e-6)


def test_an_observer_receives_the_input_and_the_spikes_of_every_timestep():
    network = dense_network()
    params = convert(network, random_variables(network, SHAPE))
    images, key = random_images(2, SHAPE), jax.random.key(5)
    observe = Observer(
        lambda frame, spikes: (frame.sum((1, 2, 3)), sum(s.sum() for s in spikes.values()))
    )
    run = {"num_steps": 5, "encoding": RATE, "key": key, "record": observe}
    plain = simulate(network, params, images, engine="plain", **run)
    for chunk_steps in (1, 5):
        found = simulate(network, params, images, chunk_steps=chunk_steps, **run)
        np.testing.assert_array_equal(found.spikes, plain.spikes)
        jax.tree.map(np.testing.assert_array_equal, found.recording, plain.recording)
    assert len(np.unique(plain.recording[0])) > 5  # the input differs between timesteps


class Doubled:
    """A function that is not made of layers: one layer of neurons between two products."""

    name, sites = "doubled", ("only",)

    def propagate(self, params, x, fire, elapsed=1.0):
        current = x.reshape(len(x), -1) @ params["weights"]
        return 2 * fire("only", params["only"], current)


def test_the_plain_engine_needs_no_layers():
    network = dense_network()
    numbers = convert(network, random_variables(network, SHAPE))["layers"]["02_activation"]
    weights = jax.random.normal(jax.random.key(0), (8 * 8 * 3, 4)) / 8
    params = {
        "gain": 1.0, "output_leak": jnp.float32(1.0),
        "layers": {"weights": weights, "only": numbers},
    }  # fmt: skip
    images = random_images(2, SHAPE)
    result = simulate(Doubled(), params, images, num_steps=6, record=True, engine="plain")
    z = images.reshape(2, -1) @ np.asarray(weights)
    wanted = np.where(z >= 0, np.minimum(z, 1), np.maximum(0.25 * z, -1))  # the ANN's activation
    rates = result.recording["only"].mean(0)
    assert np.abs(rates - wanted).max() <= 1 / 6
    np.testing.assert_allclose(result.values[-1], 2 * rates, atol=1e-6)


def test_the_fast_engine_refuses_a_function_that_is_no_network_of_layers():
    with pytest.raises(ValueError, match="'doubled' is a Doubled; pass engine='plain'"):
        simulate(Doubled(), {}, random_images(1, SHAPE), num_steps=2)


@pytest.mark.parametrize("engine", ["fast", "plain"])
def test_a_network_without_hidden_neurons_has_no_spikes(engine):
    network = arch.Network("linear", (arch.Flatten(), arch.Dense(3)))
    params = convert(network, random_variables(network, SHAPE))
    result = simulate(network, params, random_images(2, SHAPE), num_steps=4, engine=engine)
    assert result.values.shape == (4, 2, 3)
    np.testing.assert_array_equal(result.spikes, np.zeros((4, 2)))


def test_parameters_as_a_file_holds_them_are_refused_with_the_cure():
    network = dense_network()
    params = converted(network)
    layers = {name: dict(own) for name, own in params["layers"].items()}
    del layers["02_activation"]["leak"]
    with pytest.raises(ValueError, match=r"no leak; use snnjax\.snn\.engine\.with_leaks"):
        simulate(network, {**params, "layers": layers}, random_images(1, SHAPE), num_steps=2)
    restored = {**params, "layers": with_leaks(layers)}
    simulate(network, restored, random_images(1, SHAPE), num_steps=2)
