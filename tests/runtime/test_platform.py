"""Beliefs about the default platform, checked beside the CPU of the same machine.

On a machine without an accelerator both are the CPU. Elsewhere run them with
`JAX_PLATFORMS=cuda,cpu pytest -n0 -m platform tests/runtime/test_platform.py`.
"""

import contextlib
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import random_images, random_variables

from snnjax.conversion.conversion import convert
from snnjax.conversion.quantisation import quantise
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.runtime import sharding
from snnjax.runtime.convolution import choose_algorithm
from snnjax.snn.fast.parts import choose_parts
from snnjax.snn.neurons import DOUBLE_THRESHOLD, EXACT_CHARGE
from snnjax.snn.simulation import simulate
from snnjax.training.gradient_step import TrainingRun, init_train_state, train_step
from snnjax.training.training_config import TrainingConfig

pytestmark = pytest.mark.platform

ON_CPU = jax.default_backend() == "cpu"
SHAPE = (8, 8, 3)
STEPS = 8


def in_numpy(tree):
    """Arrays that are on no device."""
    return jax.tree.map(np.asarray, tree)


@lru_cache
def floats():
    """Wide enough for every algorithm of a library, with a sum of branches and a pool."""
    act, conv = arch.Activation(0.25, 1.0), arch.Conv(32, (3, 3))
    network = arch.Network("platform", (
        conv, act, conv, act, arch.Residual((conv, act, conv)), act, arch.AvgPool((2, 2)), conv,
        act, arch.Flatten(), arch.Dense(32), act, arch.Dense(10),
    ))  # fmt: skip
    return network, in_numpy(convert(network, random_variables(network, SHAPE)))


@lru_cache
def integers():
    network, params = floats()
    return network, in_numpy(quantise(network, params))


def run(network, params, images, **options):
    found = simulate(network, params, images, num_steps=STEPS, record=True, **options)
    return in_numpy((found.recording, found.values))


def run_on_cpu(network, params, images, **options):
    """The same on the CPU, in float32."""
    place = contextlib.nullcontext() if ON_CPU else jax.default_device(jax.devices("cpu")[0])
    with place:
        return run(network, params, images, kernel_parts=0, **options)


def assert_exact(found, x, kernel, product):
    """Compare with float64, on the scale of the sum of all magnitudes."""
    wanted, scale = product(x, kernel), product(np.abs(x), np.abs(kernel))
    assert (np.abs(found - wanted) / scale).max() < 1e-6


def test_products_are_in_float32():
    draw = np.random.default_rng(0).normal
    x, kernel = draw(size=(16, 64)).astype(np.float32), draw(size=(64, 32)).astype(np.float32)
    found = jax.jit(arch.Dense(32).linear)({"kernel": kernel}, x)
    assert_exact(found, x, kernel, lambda x, kernel: np.float64(x) @ kernel)
    x = draw(size=(4, 8, 8, 16)).astype(np.float32)
    kernel = draw(size=(3, 3, 16, 32)).astype(np.float32)
    found = jax.jit(arch.Conv(32, (3, 3), padding="VALID").linear)({"kernel": kernel}, x)

    def convolve(x, kernel):
        windows = np.lib.stride_tricks.sliding_window_view(np.float64(x), (3, 3), (1, 2))
        return np.einsum("bhwcij,ijcf->bhwf", windows, kernel)

    assert_exact(found, x, kernel, convolve)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 7, 64])
@pytest.mark.parametrize(
    "neuron", [EXACT_CHARGE, DOUBLE_THRESHOLD], ids=["by-counts", "by-spikes"]
)  # fmt: skip
def test_an_integer_network_is_the_same_on_every_platform(count, neuron):
    network, params = integers()
    images = np.random.default_rng(0).integers(0, 256, (count, *SHAPE))
    images = np.float32(images) / np.float32(255)
    found = run(network, params, images, neuron=neuron)
    wanted = run_on_cpu(network, params, images, neuron=neuron)
    assert all(np.any(spikes) for spikes in wanted[0].values())
    jax.tree.map(np.testing.assert_array_equal, found[0], wanted[0])
    # A GPU rounds the last bit of the mean over timesteps otherwise.
    np.testing.assert_allclose(found[1], wanted[1], rtol=2**-21, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "neuron", [EXACT_CHARGE, DOUBLE_THRESHOLD], ids=["by-counts", "by-spikes"]
)  # fmt: skip
def test_a_float_network_sends_the_spikes_of_a_cpu(neuron):
    network, params = floats()
    images = random_images(7, SHAPE)
    found, _ = run(network, params, images, neuron=neuron)
    wanted, _ = run_on_cpu(network, params, images, neuron=neuron)
    moved = sum(np.abs(found[path] - wanted[path]).sum() for path in wanted)
    assert moved <= 0.001 * sum(np.abs(spikes).sum() for spikes in wanted.values())


@pytest.mark.slow
def test_the_same_steps_of_training_give_the_same_parameters():
    act = arch.Activation(0.25, 1.0)
    network = arch.Network("trained", (
        arch.Conv(8, (3, 3)), arch.BatchNorm(), act, arch.Conv(8, (3, 3)), act,
        arch.AvgPool((2, 2)), arch.Flatten(), arch.Dense(3),
    ))  # fmt: skip
    config = TrainingConfig(epochs=1, batch_size=8, levels=4, learning_rate=0.01)
    steps = TrainingRun(ANN(network.layers).apply, config, 3, sharding.make_mesh(batch_size=8))
    variables = in_numpy(random_variables(network, SHAPE))
    images, labels = random_images(8, SHAPE), np.arange(8, dtype=np.int32) % 3

    def trained():
        state = init_train_state(variables, config, 3)
        for step in range(3):
            state, loss = train_step(
                state, images, labels, jnp.arange(8), jax.random.key(step), run=steps
            )
            assert np.isfinite(loss)
        return in_numpy(state.params)

    jax.tree.map(np.testing.assert_array_equal, trained(), trained())


def test_a_cpu_has_algorithms_of_its_own_and_other_platforms_bfloat16_for_whole_weights():
    conv = arch.Conv(8, (1, 1))
    x, kernel = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 8, 8, 4), (1, 1, 4, 8)))
    assert (choose_algorithm(x, kernel, conv.spec) == "xla") == (not ON_CPU)
    assert choose_parts(None, floats()[1]) == 0
    assert choose_parts(None, integers()[1]) == (0 if ON_CPU else 1)
