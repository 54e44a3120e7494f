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
from snnjax.snn.encoding import DETERMINISTIC

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


def test_a_spike_that_a_known_0_cancels_is_no_addition():
    def masked(params, x):
        w, v = params
        h = jax.nn.relu(x @ w) * np.float32([-2, 0, 0])
        return jnp.where(np.array([True, True, False]), h, 5.0) @ (v + 1)

    def sliced(params, x):
        w, v = params
        return jax.nn.relu(x @ w)[:, :1] * -2 @ (v[:1] + 1)

    found, wanted = (
        count_function_operations(
            snnjax.spike(apply, (W, V), X, levels=4, rule=largest), X, num_steps=8
        )
        for apply in (masked, sliced)
    )
    assert found.accumulates == wanted.accumulates
    assert sum(found.accumulates.values()) > 0


def test_all_parts_of_a_split_hold_spikes():
    def apply(params, x):
        w, v = params
        a, b, c = jnp.split(jax.nn.relu(x @ w), 3, 1)
        return a @ v[:1] + b @ v[1:2] + c @ v[2:]

    (found, wanted) = (
        count_function_operations(snnjax.spike(of, (W, V), X, levels=4), X, num_steps=8)
        for of in (apply, dense)
    )
    assert sum(found.accumulates.values()) == sum(wanted.accumulates.values())
    assert found.input_products == wanted.input_products


S, A = np.ones((3, 3), np.float32), np.float32([[1, 0.5, 0.25], [0, 0.5, 1]])


@pytest.mark.parametrize("left", [False, True], ids=["the-input", "a-site-in-floats"])
def test_the_part_of_a_joined_operand_that_is_no_spike_costs_its_products_once(left):
    def apply(w, x):
        a = jnp.tanh(x @ w) if left else x
        return -jnp.concatenate([a, jax.nn.relu(a @ w)], -1) @ jnp.concatenate([w, w])

    found = snnjax.spike(apply, S, A, levels=4).function.found
    spiking = snnjax.spike(apply, S, A, levels=4, sites=found[-1:])
    counted = count_function_operations(spiking, A, num_steps=8)
    assert (counted.input_products, counted.ann_products) == ((27, 36) if left else (18, 27))
    (train,) = snnjax.simulate(spiking, A, num_steps=8, record=True).recording.values()
    assert sum(counted.accumulates.values()) == 3 * np.abs(train).sum() / 2 > 0


def normalised(x):
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-3)


def test_floats_that_no_spike_feeds_are_counted_once_and_in_the_ann():
    def apply(w, x):
        return jnp.tanh(normalised(jnp.tanh(x @ w) @ w) @ w) @ w

    w = np.float32([[1, 0, 0.5], [0, -1, 1], [1, 1, 0]])
    found = snnjax.spike(apply, w, A, levels=4).function.found
    spiking = snnjax.spike(apply, w, A, levels=4, sites=found[-1:])
    constant = count_function_operations(spiking, A, num_steps=8)
    assert sum(constant.floats.values()) == constant.ann_floats > 0
    assert constant.input_products == 3 * np.count_nonzero(w)
    varying = count_function_operations(spiking, A, num_steps=8, encoding=DETERMINISTIC)
    assert varying.ann_floats == constant.ann_floats
    assert sum(varying.floats.values()) == 4 * constant.ann_floats  # at timesteps with input
    assert varying.input_products == 4 * constant.input_products


def test_the_operation_that_makes_the_first_site_is_counted_once():
    w = np.float32([[1, 0, 0.5], [0, -1, 1], [1, 1, 0]])
    spiking = snnjax.spike(lambda w, x: normalised(x @ w) @ w, w, A, levels=4)
    counted = count_function_operations(spiking, A, num_steps=8)
    assert sum(counted.floats.values()) == counted.ann_floats > 0


def test_arguments_that_cannot_be_counted_are_refused_in_words():
    spiking = snnjax.spike(dense, (W, V), X, levels=4)
    with pytest.raises(ValueError, match="record has no effect"):
        count_function_operations(spiking, X, num_steps=2, record=True)
    with pytest.raises(ValueError, match=r"outside of jax\.jit"):
        jax.jit(lambda x: count_function_operations(spiking, x, num_steps=2).spikes)(X)


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
