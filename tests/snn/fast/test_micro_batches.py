"""Batches whose states do not fit into the cache are simulated in micro-batches."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from examples import compact_network, random_images, random_variables

from snnjax.conversion.conversion import convert
from snnjax.snn.encoding import RATE
from snnjax.snn.engine import neuron_shapes
from snnjax.snn.fast import micro_batches
from snnjax.snn.fast.micro_batches import choose_micro_batch
from snnjax.snn.neurons import DOUBLE_THRESHOLD, NEURONS
from snnjax.snn.noise import make_noise
from snnjax.snn.readout import COUNT
from snnjax.snn.simulation import simulate
from snnjax.snn.surrogates import straight_through

SHAPE = (6, 6, 3)
NETWORK = compact_network()
PARAMS = convert(NETWORK, random_variables(NETWORK, SHAPE), output_scale=4.0)
NEURONS_OF_IMAGE = sum(
    int(np.prod(shape)) for shape in neuron_shapes(NETWORK, PARAMS["layers"], SHAPE).values()
)
IMAGES = random_images(24, SHAPE)
RESNET20 = 188_416
"""Neurons of ResNet-20 on 32x32 pixels."""


@pytest.mark.parametrize(
    ("batch", "neurons", "weights", "expected"),
    [
        (128, RESNET20, 270_000, 32),
        (1000, RESNET20, 270_000, 40),
        (44, RESNET20, 270_000, 44),  # fits into the cache
        (45, RESNET20, 270_000, 15),
        (127, RESNET20, 270_000, 127),  # has no divisor
        (134, RESNET20, 270_000, 134),  # has none of LEAST
        (128, 50 * RESNET20, 270_000, 128),  # one image fills the cache
        (128, RESNET20, 15_000_000, 128),  # micro-batches would read the weights from memory
        (1, RESNET20, 270_000, 1),
    ],
)
def test_the_largest_divisor_whose_states_fit_into_the_cache(batch, neurons, weights, expected):
    assert choose_micro_batch(batch, neurons, weights) == expected


def test_a_batch_of_unknown_size_is_whole():
    (batch,) = jax.export.symbolic_shape("b")
    assert choose_micro_batch(batch, RESNET20, 270_000) is batch


@pytest.mark.parametrize("devices", [2, 8])
def test_every_device_has_equally_many_images(monkeypatch, devices):
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    size = choose_micro_batch(1000, RESNET20, 270_000)
    assert size == 40
    x = np.arange(1000)[:, None] * [1, 10]
    dealt = micro_batches._deal(jax.numpy.asarray(x), size)
    own = 1000 // devices  # each of the first images is the first of its device
    assert dealt[0, :: size // devices, 0].tolist() == [own * device for device in range(devices)]
    np.testing.assert_array_equal(micro_batches._collect(dealt, 0), x)
    by_time = jax.numpy.stack([dealt, -dealt], 1)
    np.testing.assert_array_equal(micro_batches._collect(by_time, 1), [x, -x])


@pytest.fixture
def eight_at_once(monkeypatch):
    """A cache for the states of eight images; the result lists the sizes of what was simulated."""
    sizes = []
    real = micro_batches.map_micro_batches

    def noted(run, stimulus, size):
        sizes.append(size)
        return real(run, stimulus, size)

    monkeypatch.setattr(micro_batches, "CACHE", 4 * NEURONS_OF_IMAGE * 11)
    monkeypatch.setattr("snnjax.snn.simulation.map_micro_batches", noted)
    return sizes


def run(name, **options):
    """Under a name of its own: networks of equal names share a compilation."""
    network = replace(NETWORK, name=name)
    return simulate(network, PARAMS, IMAGES, **{"num_steps": 5, **options})


CASES = {
    "constant": {},
    "double-threshold": {"neuron": DOUBLE_THRESHOLD, "readout": COUNT, "chunk_steps": 2},
    "rate": {"encoding": RATE, "key": jax.random.key(3), "first": 70},
    "noise": {"noise": make_noise(0.2), "key": jax.random.key(4)},
    "pre-steps": {"neuron": NEURONS["offset"], "pre_steps": 1, "num_steps": 7},
    "settling": {"shown_steps": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_the_whole_batch(eight_at_once, monkeypatch, case):
    found = run(f"micro {case}", **CASES[case])
    assert eight_at_once == [8]
    monkeypatch.setattr(micro_batches, "CACHE", 2**25)
    expected = run(f"whole {case}", **CASES[case])
    assert eight_at_once == [8]
    assert len(np.unique(expected.spikes)) > 10
    for name in ("spikes", "layer_spikes", "neurons", "recording"):
        jax.tree.map(np.testing.assert_array_equal, getattr(found, name), getattr(expected, name))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5, atol=1e-5)


def test_recordings_gradients_and_the_plain_engine_take_the_whole_batch(eight_at_once):
    recording = run("recorded", record=True).recording
    assert {of.shape[:2] for of in recording.values()} == {(5, 24)}
    run("plain", engine="plain")
    run("gradient", surrogate=straight_through())
    assert not eight_at_once


def test_memory_is_that_of_a_micro_batch(eight_at_once, monkeypatch):
    def temporary(name):
        network = replace(NETWORK, name=name)
        lowered = jax.jit(lambda x: simulate(network, PARAMS, x, num_steps=5)).lower(IMAGES)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    small = temporary("small")
    monkeypatch.setattr(micro_batches, "CACHE", 2**25)
    assert small < 0.6 * temporary("large")
