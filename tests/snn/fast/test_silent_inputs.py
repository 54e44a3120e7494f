"""Networks whose dense layers skip silent inputs send the same spikes."""

from dataclasses import replace
from functools import lru_cache

import jax
import numpy as np
import pytest
from examples import random_images, random_variables

from snnjax.conversion.conversion import convert
from snnjax.conversion.quantisation import quantise
from snnjax.networks import architecture as arch
from snnjax.networks.layers import dense
from snnjax.runtime.silent_inputs import SkippingKernel
from snnjax.snn.encoding import CONSTANT, RATE
from snnjax.snn.engine import Task
from snnjax.snn.fast.chunks import choose_chunk, skips_silent_inputs
from snnjax.snn.fast.dynamics import make_problem
from snnjax.snn.neurons import EXACT_CHARGE
from snnjax.snn.readout import ACCUMULATE
from snnjax.snn.simulation import simulate
from snnjax.snn.stimulus import make_stimulus

ACTIVE = arch.Activation(0.5, 1.0)
NETWORK = arch.Network("dense", (
    arch.Flatten(), arch.Dense(20), ACTIVE, arch.Dense(20), ACTIVE, arch.Dense(3),
))  # fmt: skip
SHAPE = (4, 4, 1)


@pytest.fixture
def large(monkeypatch):
    """Every dense layer counts as large enough, and every batch as small enough."""
    monkeypatch.setattr(dense, "skipping_pays", lambda shape, batch_size: True)


@lru_cache
def params_of(network):
    return convert(network, random_variables(network, SHAPE))


def test_spikes_of_an_integer_network_are_the_same(monkeypatch, large):
    params, images = quantise(NETWORK, params_of(NETWORK), 8), random_images(3, SHAPE)
    images, steps = np.round(images * 255) / 255, 11  # a chunk that skips, and one that does not

    def run(name, **options):
        return simulate(
            replace(NETWORK, name=name), params, images, num_steps=steps, record=True, **options
        )  # fmt: skip

    real, used = dense.dot_active, []
    monkeypatch.setattr(dense, "dot_active", lambda *given: used.append(1) or real(*given))
    plain, skipping = run("plain", engine="plain"), run("skipping", chunk_steps=8)
    assert used
    jax.tree.map(np.testing.assert_array_equal, plain, skipping)
    assert 0 < (skipping.recording["02_activation"] != 0).any(0).mean() < 1


def kernels_that_skip(task, params):
    stimulus = make_stimulus(NETWORK, random_images(2, SHAPE), jax.random.key(0), 0, None)
    found = jax.eval_shape(lambda: make_problem(params, stimulus, task).params["layers"])
    return {name for name, own in found.items() if isinstance(own.get("kernel"), SkippingKernel)}


def test_layers_behind_the_constant_stem_skip_and_none_with_a_surrogate(large):
    task, params = Task(NETWORK, EXACT_CHARGE, CONSTANT, ACCUMULATE), params_of(NETWORK)
    behind = {"03_dense", "05_dense"}
    assert kernels_that_skip(task, params) == behind
    assert kernels_that_skip(task._replace(encoding=RATE), params) == {"01_dense", *behind}
    assert not kernels_that_skip(task._replace(gradient=True), params)


def test_networks_of_dense_layers_that_skip_take_more_timesteps_at_once(monkeypatch):
    convolutional = replace(NETWORK, layers=(arch.Conv(2, (3, 3)), ACTIVE, *NETWORK.layers))
    wide = (20, 20)
    monkeypatch.setattr(dense, "skipping_pays", lambda shape, batch_size: tuple(shape) == wide)
    params = params_of(NETWORK)
    assert skips_silent_inputs(NETWORK, params, 16)
    assert not skips_silent_inputs(convolutional, params, 16)
    assert not skips_silent_inputs(NETWORK, params, "any")
    wide = (16, 20)  # the stem alone
    assert not skips_silent_inputs(NETWORK, params, 16)
    chosen = [choose_chunk(size, 300, 2**21, skips_inputs=True) for size in (1, 4, 16)]
    assert chosen == [64, 16, 16] and choose_chunk(16, 8, 2**21, skips_inputs=True) == 8
    assert choose_chunk(16, 300, 2**16, skips_inputs=True) == 1
