"""Operations of spiking functions against counts by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spiking_functions import flax_case, images

import snnjax
from snnjax.analysis.function_operations import count_function_operations

W = np.float32([[1, 0, 1], [1, 1, 0], [0.5, 0, 1], [0, 0, 0]])
V = np.float32([[1, 1], [0, 1], [0, 0]])


def dense(params, x):
    w, v = params
    return jax.nn.relu(x @ w) @ v


X = np.float32([[1, 0.5, 0.25, 0], [0, 0, 0.5, 1]])


def test_a_spike_is_an_addition_at_each_output_that_it_reaches():
    spiking = snnjax.spike(dense, (W, V), X, levels=4)
    sent = snnjax.simulate(spiking, X, num_steps=8, record=True).recording
    (train,) = sent.values()
    found = count_function_operations(spiking, X, num_steps=8)
    fan_out = np.array([2, 1, 0])
    by_hand = (np.abs(train) * fan_out).sum() / len(X)
    assert sum(found.accumulates.values()) == by_hand > 0
    assert found.input_products == 6
    assert found.ann_products == 12 + 6
    assert found.floats == {}
    assert found.spikes == np.abs(train).sum() / len(X)


def test_an_opposite_sign_and_a_pooling_do_not_hide_spikes():
    def apply(params, x):
        w, v = params
        h = jnp.tanh(x @ w)
        pooled = -h.reshape(len(h), 3, 1).max(2) / 2 + 1
        return pooled @ v

    spiking = snnjax.spike(apply, (W, V), X, levels=4)
    (train,) = snnjax.simulate(spiking, X, num_steps=8, record=True).recording.values()
    found = count_function_operations(spiking, X, num_steps=8)
    assert sum(found.accumulates.values()) == (np.abs(train) * [2, 1, 0]).sum() / len(X)


@pytest.mark.parametrize(
    "name",
    ["lenet", *(pytest.param(n, marks=pytest.mark.slow) for n in ("vit", "unet", "row-lstm"))],
)
def test_every_function_is_counted(name):
    case = flax_case(name)
    x = images(case.shape)
    spiking = snnjax.spike(case.apply, case.params, x, levels=4)
    found = count_function_operations(spiking, x, num_steps=12)
    assert sum(found.accumulates.values()) > 0
    assert 0 < found.spiking_share < 1
    snn, ann = found.energy()
    assert min(snn, ann) > 0
    assert bool(found.floats) == (name in {"vit", "row-lstm"})
