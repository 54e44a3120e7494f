"""Products of spikes and weights in bfloat16 parts, beside those in float32."""

from functools import lru_cache

import integer_networks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import compact_network, random_images, random_variables

from snnjax.conversion.conversion import convert
from snnjax.conversion.quantisation import quantise
from snnjax.io.integer_export import to_arrays
from snnjax.networks import architecture as arch
from snnjax.runtime.split_kernels import SplitKernel, split_kernel
from snnjax.snn.encoding import CONSTANT
from snnjax.snn.engine import Task
from snnjax.snn.fast.parts import choose_parts, split_kernels
from snnjax.snn.neurons import AUGMENTED, DOUBLE_THRESHOLD, EXACT_CHARGE
from snnjax.snn.readout import ACCUMULATE
from snnjax.snn.simulation import simulate

SHAPE = (6, 6, 3)
STEPS = 4


@lru_cache
def floats():
    network = compact_network()
    return network, convert(network, random_variables(network, SHAPE), output_scale=4.0)


@lru_cache
def integers(bits=8):
    network, params = floats()
    return network, quantise(network, params, bits)


def split_paths(network, params, num_steps, *, neuron=EXACT_CHARGE, gradient=False, parts=3):
    """Paths of the layers whose kernels are split, without computing these."""
    task = Task(network, neuron, CONSTANT, ACCUMULATE, 0, gradient, parts)
    found = jax.eval_shape(lambda params: split_kernels(task, params, num_steps), params)["layers"]
    return {
        path for path, layer in arch.walk(network.layers)
        if isinstance(layer, arch.Conv | arch.Dense)
        and isinstance(arch.inside(found, path)["kernel"], SplitKernel)
    }  # fmt: skip


def test_three_parts_are_a_float32_kernel_and_one_is_a_whole_number():
    draw = np.random.default_rng(0)
    kernel = np.float32(draw.normal(size=(5, 7)) * 10.0 ** draw.integers(-20, 20, (5, 7)))
    parts = jax.jit(split_kernel, static_argnums=1)(kernel, 3).parts
    assert parts.dtype == jnp.bfloat16 and parts.shape == (15, 7)
    np.testing.assert_array_equal(sum(np.split(np.float64(parts), 3)), np.float64(kernel))
    whole = np.arange(-256, 257, dtype=np.float32)[:, None]
    one, three = (np.float32(split_kernel(whole, count).parts) for count in (1, 3))
    np.testing.assert_array_equal(one, whole)
    np.testing.assert_array_equal(three, np.concatenate([whole, 0 * whole, 0 * whole]))


def test_only_layers_that_take_spikes_are_split():
    act, conv = arch.Activation(0.5, 1.0), arch.Conv(4, (3, 3))
    network = arch.Network("mixed", (
        conv, act, conv, act, arch.AvgPool((2, 2)), conv, act, arch.AvgPool((3, 3), (1, 1)), conv,
        act, arch.Conv(4, (1, 1), groups=2), act, arch.Residual((conv, act, conv)), conv, act,
        arch.Scale(4), arch.Conv(4, (1, 1)), act, arch.Flatten(), arch.Dense(3), arch.Dense(3),
    ))  # fmt: skip
    params = convert(network, random_variables(network, (12, 12, 3)))
    spikes = {"02_conv", "12_residual/body/00_conv", "12_residual/body/02_conv", "19_dense"}
    assert split_paths(network, params, 64) == {*spikes, "05_conv"}
    assert split_paths(network, params, 65) == spikes  # quarters up to 65 have nine bits
    whole = {**params, "integer": {}}
    assert split_paths(network, whole, 28) == {*spikes, "05_conv", "08_conv"}
    assert split_paths(network, whole, 29) == {*spikes, "05_conv"}  # sums of nine reach 261
    assert split_paths(network, params, 256) == spikes
    assert not split_paths(network, params, 257)
    assert not split_paths(network, params, 8, neuron=AUGMENTED)
    assert not split_paths(network, params, 8, gradient=True)
    assert not split_paths(network, params, 8, parts=0)


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_an_integer_network_is_exact_in_one_part(count):
    network, params = integers()
    assert split_paths(network, params, STEPS) > {"10_dense"}
    images = np.random.default_rng(0).integers(0, 256, (count, *SHAPE))
    found = simulate(
        network, params, np.float32(images) / np.float32(255), num_steps=STEPS, record=True,
        kernel_parts=1,
    )  # fmt: skip
    file = to_arrays(network, params, SHAPE, neuron="exact-charge")
    spikes, values = integer_networks.simulate(file, [images] * STEPS)
    for path, of_layer in spikes.items():
        np.testing.assert_array_equal(found.recording[path], of_layer, err_msg=path)
    np.testing.assert_array_equal(found.values, values)


@pytest.mark.parametrize(
    "neuron", [EXACT_CHARGE, pytest.param(DOUBLE_THRESHOLD, marks=pytest.mark.slow)],
    ids=["by-counts", "by-spikes"],
)  # fmt: skip
def test_a_float_network_is_the_same_in_three_parts(neuron):
    network, params = floats()
    split, whole = (
        simulate(
            network, params, random_images(7, SHAPE), num_steps=STEPS, neuron=neuron, record=True,
            kernel_parts=parts,
        )
        for parts in (3, 0)
    )  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, split.recording, whole.recording)
    np.testing.assert_allclose(split.values, whole.values, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_thresholds_are_mapped_in_three_parts():
    network, params = floats()
    images = random_images(2, SHAPE)

    def final(scale, parts):
        layers = {**params["layers"], "01_conv": jax.tree.map(
            lambda leaf: scale * leaf, params["layers"]["01_conv"]
        )}  # fmt: skip
        found = simulate(
            network, {**params, "layers": layers}, images, num_steps=2, kernel_parts=parts
        )
        return found.values[-1]

    scales = jnp.float32([0.5, 1.0])
    split, whole = (jax.vmap(final, (0, None))(scales, parts) for parts in (3, 0))
    np.testing.assert_allclose(split, whole, rtol=1e-6, atol=1e-6)


def test_the_platform_and_the_weights_choose_the_parts(monkeypatch):
    float_params, small, large = floats()[1], integers()[1], integers(12)[1]
    assert 0 < small["integer"]["weight"] <= 127 < 256 < large["integer"]["weight"] <= 2047
    old = {**small, "integer": {"pixel": 255.0}}  # does not say how large its weights are
    for backend, wanted in (("cpu", [0, 0, 0, 0]), ("gpu", [0, 1, 0, 0]), ("tpu", [0, 1, 0, 0])):
        monkeypatch.setattr(jax, "default_backend", lambda name=backend: name)
        assert [choose_parts(None, p) for p in (float_params, small, large, old)] == wanted
        assert choose_parts(0, small) == 0


@pytest.mark.parametrize(
    ("case", "parts", "said"),
    [
        (floats, 1, "kernel_parts is 1 and the network is no integer network"),
        (lambda: integers(12), 1, r"kernel_parts is 1 and weights reach \d+, so"),
        (floats, 2, "kernel_parts is 2; want 0, 1, 3 or None"),
        (floats, True, "kernel_parts is True; want 0, 1, 3 or None"),
        (floats, "3", "kernel_parts is '3'; want 0, 1, 3 or None"),
    ],
)  # fmt: skip
def test_parts_that_would_round_are_refused(case, parts, said):
    network, params = case()
    with pytest.raises(ValueError, match=said):
        simulate(
            network, params, np.zeros((1, *SHAPE), np.float32), num_steps=2, kernel_parts=parts
        )


def test_traced_weights_that_one_part_rounds_give_nan():
    network, params = integers()
    run = jax.jit(lambda params, x: simulate(
        network, params, x, num_steps=2, kernel_parts=1
    ).values)  # fmt: skip
    images = np.zeros((1, *SHAPE), np.float32)
    assert np.isfinite(run(params, images)).all()
    dense = params["layers"]["10_dense"]
    large = {**dense, "kernel": dense["kernel"].at[0, 0].set(257.0)}
    assert np.isnan(
        run({**params, "layers": {**params["layers"], "10_dense": large}}, images)
    ).all()
