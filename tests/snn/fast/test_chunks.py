"""Tests of the choice of chunks and of prepared kernels."""

import jax
import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.runtime import convolution
from snnjax.snn.fast.chunks import choose_chunk, count_weights, prepare_kernels
from snnjax.snn.simulation import simulate


@pytest.mark.parametrize(
    ("batch_size", "num_steps", "chosen", "of_few_weights"),
    [
        (1, 8, 8, 8), (1, 300, 64, 64), (2, 300, 32, 32), (4, 300, 16, 1), (16, 8, 4, 1),
        (128, 8, 1, 1), ("any", 8, 1, 1),
    ],
)  # fmt: skip
def test_chosen_number_of_timesteps_at_once(batch_size, num_steps, chosen, of_few_weights):
    assert choose_chunk(batch_size, num_steps, 2**21) == chosen
    assert choose_chunk(batch_size, num_steps, 2**16) == of_few_weights


def test_count_weights_counts_kernels():
    network = dense_network()
    variables = random_variables(network, (4, 4, 1))
    for tree in (variables, convert(network, variables)):
        assert count_weights(tree) == 16 * 8 + 8 * 8 + 8 * 3


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["SAME", ((2, 0), (0, 2))])
@pytest.mark.parametrize("leak", [None, 1.0], ids=["by-counts", "by-spikes"])
def test_many_frames_use_prepared_kernels_with_the_same_answer(padding, leak, monkeypatch):
    """On counts some spikes move, which exceeds the bound only in the first half of the steps."""
    wide, active = arch.Conv(128, (3, 3), padding=padding), arch.Activation(0.5, 1.0)
    network = arch.Network("wide", (
        wide, active, arch.Residual((wide, active)), arch.Conv(128, (3, 3), groups=2),
        arch.AvgPool((4, 4)), arch.Flatten(), arch.Dense(3),
    ))  # fmt: skip
    params = convert(network, random_variables(network, (8, 8, 3)), leak=leak)
    on_cpu = jax.default_backend() == "cpu"
    ready = prepare_kernels(network, params)
    layers = ready["layers"]
    if on_cpu:
        assert layers["02_residual"]["body"]["00_conv"]["kernel"].winograd.shape == (16, 128, 128)
        again = prepare_kernels(network, ready)["layers"]["02_residual"]
        jax.tree.map(np.testing.assert_array_equal, again, layers["02_residual"])
        assert count_weights(ready) == count_weights(params)
    for name in ("00_conv", "03_conv"):
        assert not isinstance(layers[name]["kernel"], convolution.PreparedKernel)
    images = random_images(8, (8, 8, 3))
    few = [simulate(network, params, images[i : i + 4], num_steps=16) for i in (0, 4)]
    used = []
    real = convolution.conv_by_winograd
    monkeypatch.setattr(
        convolution, "conv_by_winograd", lambda *a, **k: used.append(1) or real(*a, **k)
    )
    many = simulate(network, params, images, num_steps=16)
    assert bool(used) == on_cpu
    used.clear()
    first = simulate(network, ready, images[:4], num_steps=16)
    assert bool(used) == on_cpu
    late = 8 if leak is None else 0
    np.testing.assert_allclose(first.values[late:], few[0].values[late:], atol=0.02)
    apart = np.concatenate([part.values for part in few], 1)
    np.testing.assert_allclose(many.values[late:], apart[late:], atol=0.02)
    moved = np.abs(many.spikes[-1] - np.concatenate([part.spikes[-1] for part in few]))
    assert moved.max() < 0.001 * many.spikes[-1].min()
