"""The time of tracing: linear in the operations, and the same for any number of images."""

import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from functions_of_images import KEY, images

from snnjax import trace
from snnjax.conversion.tracing import entry_values, scale_folding
from snnjax.conversion.tracing.indices import indices_of


def chain(length):
    """Convolutions with bias and ReLU, one behind the other, and their parameters."""
    params = [{"w": 0.1 * jax.random.normal(KEY, (3, 3, 2, 2)), "b": jnp.ones(2)}] * length

    def apply(params, x):
        for p in params:
            y = jax.lax.conv_general_dilated(
                x, p["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jax.nn.relu(y + p["b"]) + x
        return x.mean((1, 2))

    return apply, params


def counted(monkeypatch, length, size=6, number=2):
    """Entries of functions and folds of scales that the trace of a chain takes."""
    entries, folds = [], []
    evaluate, fold = entry_values._evaluate, scale_folding._fold
    monkeypatch.setattr(
        entry_values, "_evaluate", lambda f, z, e: entries.append(z.size) or evaluate(f, z, e)
    )
    monkeypatch.setattr(scale_folding, "_fold", lambda *a: folds.append(1) or fold(*a))
    trace(*chain(length), np.resize(images(size, size, 2), (number, size, size, 2)))
    monkeypatch.undo()
    return sum(entries), len(folds)


def test_c1_the_work_of_a_trace_is_linear_in_its_operations_and_does_not_depend_on_the_images(
    monkeypatch,
):
    few, many = counted(monkeypatch, 2), counted(monkeypatch, 6)
    assert many[0] == 3 * few[0]
    assert many[1] <= 3 * few[1] + 2
    assert counted(monkeypatch, 2, size=12, number=9) == few


def test_c1_an_array_in_another_order_of_axes_is_a_view_of_one_array_of_numbers():
    indices = indices_of((4, 3, 2), 2)
    assert np.shares_memory(indices, indices_of((2, 3, 4), 2))
    assert indices.transpose(0, 3, 1, 2)[:, :, ::-1].base is indices.base


class Plain(nn.Module):
    """Five convolutions of 64 features with batch normalisation and ReLU."""

    @nn.compact
    def __call__(self, x):
        for _ in range(5):
            x = nn.Conv(64, (3, 3), use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
        return nn.Dense(10)(x.mean((1, 2)))


@pytest.mark.slow
def test_c1_five_wide_convolutions_are_traced_in_seconds_whatever_the_number_of_images():
    x = np.resize(images(32, 32, 3), (64, 32, 32, 3))
    variables = jax.jit(Plain().init)(KEY, x[:1])
    began = time.process_time()
    trace(Plain().apply, variables, x)
    assert time.process_time() - began < 10  # 47 s were needed once; now about 1 s
