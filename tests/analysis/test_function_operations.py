"""Operations of spiking functions against counts by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spiking_functions import flax_case, images

import snnjax
from snnjax.analysis.function_operations import count_function_operations
from snnjax.conversion.spiking.calibration import largest
from snnjax.conversion.spiking.products import count_products
from snnjax.conversion.spiking.program import record

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


U = np.float32([[1, 0], [2, -1]])


def test_a_product_that_reads_a_site_without_neurons_is_floats_at_every_timestep():
    def apply(params, x):
        w, v, u = params
        return jnp.tanh(jax.nn.relu(x @ w) @ v) @ u

    params = (W, V, U)
    first, second = snnjax.spike(apply, params, X, levels=4, rule=largest).function.sites
    spiking = snnjax.spike(apply, params, X, levels=4, rule=largest, sites=[first])
    found = count_function_operations(spiking, X, num_steps=8)
    (train,) = snnjax.simulate(spiking, X, num_steps=8, record=True).recording.values()
    assert sum(found.accumulates.values()) == (np.abs(train) * [2, 1, 0]).sum() / len(X) > 0
    assert sum(found.floats.values()) == 8 * (2 + 2 * 2)  # tanh, and all products with U
    assert (found.input_products, found.ann_products, found.ann_floats) == (6, 12 + 6 + 4, 0)
    assert "dot_general: 4" in str(spiking) and "tanh: 2" in str(spiking)
    spiking = snnjax.spike(apply, params, X, levels=4, rule=largest, sites=[second])
    found = count_function_operations(spiking, X, num_steps=8)
    (train,) = snnjax.simulate(spiking, X, num_steps=8, record=True).recording.values()
    assert sum(found.accumulates.values()) == (np.abs(train) * [1, 2]).sum() / len(X) > 0
    assert found.floats == {}  # what precedes all spikes is constant, and counted once
    assert found.input_products == 6 + 3


def test_products_of_a_convolution_are_counted_without_padding():
    def apply(kernel, x):
        return jax.lax.conv_general_dilated(
            x, kernel, (2, 1), [(1, 2), (2, -1)], lhs_dilation=(1, 2), rhs_dilation=(2, 1),
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2,
        )  # fmt: skip

    kernel, x = np.ones((2, 3, 2, 6), np.float32), np.ones((3, 6, 5, 4), np.float32)
    (step,) = record(apply, kernel, x).steps
    assert count_products(step) == jnp.sum(jax.jit(apply)(kernel, x))


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
