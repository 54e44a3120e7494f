"""One step of training: decay, momentum, the running mean of the variables, 16-bit products."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.networks.ann import ANN
from snnjax.runtime import sharding
from snnjax.training.gradient_step import (
    TrainingRun,
    init_train_state,
    make_optimiser,
    train_step,
    trained_variables,
)


def test_gradient_descent_has_momentum_and_decays_weights_only(small_config):
    config = dataclasses.replace(small_config, optimiser="sgd", learning_rate=0.1, weight_decay=0.5)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "log_theta": jnp.ones(())}
    zero, one = (jax.tree.map(like, params) for like in (jnp.zeros_like, jnp.ones_like))
    optimiser = make_optimiser(config, 100)
    update = jax.jit(optimiser.update)
    decayed, state = update(zero, optimiser.init(params), params)
    assert (decayed["kernel"] < 0).all()
    assert not decayed["bias"].any() and not decayed["log_theta"].any()
    pushed, state = update(one, state, params)
    coasting, _ = update(zero, state, params)
    assert (coasting["bias"] < 0).all() and (pushed["bias"] < coasting["bias"]).all()


def assert_close(found, wanted):
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-3), found, wanted)


def test_the_running_mean_is_of_all_steps_so_far(start, labelled, small_config, assert_same):
    """With a decay close to 1 it is the plain mean; after one step it is that step's variables."""
    module, variables = start
    images, labels = map(jnp.asarray, labelled(16))
    config = dataclasses.replace(small_config, average=0.9999)
    run = TrainingRun(module.apply, config, 8, sharding.make_mesh())
    state, seen = init_train_state(variables, config, 8), []
    for i in range(8):
        state, _ = train_step(state, images, labels, jnp.arange(16), jax.random.key(i), run=run)
        seen.append(jax.tree.map(np.array, {"params": state.params, **state.statistics}))
        if i == 0:
            assert_close(trained_variables(state, config), seen[0])
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, 0), *seen)
    assert_close(trained_variables(state, config), mean)
    assert_same(trained_variables(state, dataclasses.replace(config, average=0.0)), seen[-1])


def test_16_bits_train_the_same_network_except_for_rounding(
    start, labelled, small_config, assert_same
):
    module, variables = start
    images, labels = map(jnp.asarray, labelled(64))
    losses = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        short = ANN(module.layers, dtype=dtype)
        run = TrainingRun(short.apply, small_config, 9, sharding.make_mesh())
        state = init_train_state(variables, small_config, 9)
        state, losses[dtype] = train_step(
            state, images, labels, jnp.arange(64), jax.random.key(0), run=run
        )
        assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
        logits, wanted = (jax.jit(m.apply)(variables, images / 255.0) for m in (short, module))
        assert_same(logits, wanted)
    assert losses[jnp.bfloat16] == pytest.approx(float(losses[jnp.float32]), rel=0.02)
    assert losses[jnp.bfloat16] != losses[jnp.float32]
