"""Parts, other orders and copies of arrays: in the weights beside them, or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import ann_logits
from functions_of_images import assert_refused, images, last

from snnjax import convert, measure_scales, simulate, trace
from snnjax.conversion.tracing.graph import Node
from snnjax.conversion.tracing.indices import PADDING, indices_of
from snnjax.conversion.tracing.selections import find_whole, in_own_order
from snnjax.conversion.tracing.signals import Signal
from snnjax.networks import architecture as arch

DRAW = np.random.default_rng(0)
P = {
    name: (DRAW.normal(size=shape) / 3).astype(np.float32)
    for name, shape in {
        "kernel": (3, 3, 2, 3), "second": (3, 3, 3, 3), "each": (3, 3, 1, 2), "wide": (3, 3, 4, 3),
        "in": (60, 8), "four": (4, 3), "five": (5, 3), "eight": (8, 3), "three": (3, 3),
        "patch": (2, 2, 2, 3),
    }.items()
}  # fmt: skip
X = images(6, 5, 2)


def conv(x, kernel, strides=(1, 1), padding="SAME", groups=1):
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )  # fmt: skip


def end(p, h):
    return jax.nn.relu(h).mean((1, 2)) @ p["three"]


def vector(p, x):
    return x.reshape(len(x), -1) @ p["in"] + 0.25


def option_a(p, x):
    """The shortcut of He et al. 2016 without weights: every other pixel, channels of zeros."""
    h = conv(jax.nn.relu(conv(x, p["kernel"])), p["second"], (2, 2))
    return end(p, h + jnp.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (0, 1))))


def by_hand(p, x):
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [x[:, i : i + 6, j : j + 5] for i in range(3) for j in range(3)]
    return end(p, jnp.concatenate(taps, -1) @ p["kernel"].reshape(18, 3))


def halves(p, x):
    a, b = jnp.split(vector(p, x), 2, -1)
    return jax.nn.relu(a) @ p["four"] + jnp.clip(b, -1, 1) @ p["four"][::-1]


MOVED = {
    "columns reversed": lambda p, x: end(p, conv(x[:, :, ::-1], p["kernel"])),
    "rows reversed": lambda p, x: end(p, conv(x[:, ::-1], p["kernel"], (2, 1), "VALID")),
    "channels reversed": lambda p, x: end(p, conv(x[..., ::-1], p["kernel"])),
    "crop": lambda p, x: end(p, conv(x[:, 1:-1, 2:], p["kernel"], padding="VALID")),
    "crop with zeros": lambda p, x: end(p, conv(x[:, 1:-1, 2:], p["kernel"])),
    "crop by a padding": lambda p, x: end(p, conv(x, p["kernel"], padding=((-1, 0), (1, -1)))),
    "every other pixel": lambda p, x: end(p, conv(x[:, ::2, 1::2], p["kernel"])),
    "crop of pre-activations": lambda p, x: end(
        p, conv(jax.nn.relu(conv(x, p["kernel"])[:, 1:-1, ::-1]), p["second"])
    ),
    "zeros around pre-activations": lambda p, x: end(
        p, conv(jax.nn.relu(jnp.pad(conv(x, p["kernel"]), ((0, 0), (1, 2), (0, 1), (0, 0)))),
                p["second"]),
    ),
    "groups in another order": lambda p, x: end(
        p, conv(conv(x[..., ::-1], p["each"], groups=2), p["each"], groups=2) @ P["wide"][0, 0, :2]
    ),
    "channels of zeros": lambda p, x: end(
        p, conv(jnp.concatenate([x, jnp.zeros_like(x)], -1), p["wide"])
    ),
    "part of a product": lambda p, x: jax.nn.relu(vector(p, x)[:, 2:6]) @ p["four"],
    "split": halves,
    "rolled and copied": lambda p, x: (
        jax.nn.relu(jnp.roll(vector(p, x)[:, :4].repeat(2, 1), 3, 1)) @ p["eight"]
    ),
    "sum of a part and a reversal": lambda p, x: (
        (lambda h: jax.nn.relu(h[:, :4] + h[:, :3:-1]))(jax.nn.relu(vector(p, x))) @ p["four"]
    ),
    "zeros beyond the end": lambda p, x: (
        jnp.take(vector(p, x), jnp.array([6, 7, 8]), 1, mode="fill", fill_value=0) @ p["three"]
    ),
    "logits reversed": lambda p, x: (vector(p, x) @ p["eight"])[:, ::-1],
    "shortcut of zeros": option_a,
    "windows by slices": by_hand,
    "patches by reshape": lambda p, x: end(
        p, jnp.einsum("bhiwjc,ijcf->bhwf", x[:, :, :4].reshape(-1, 3, 2, 2, 2, 2), p["patch"])
    ),
    "pooling by reshape": lambda p, x: end(
        p, x[..., :1].reshape(len(x), 3, 2, 5).mean(2)[..., None] @ p["three"][:1]
    ),
    "windows over a crop": lambda p, x: end(
        p, jax.lax.reduce_window(x[:, 1:, ::-1], 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1),
                                 "SAME") @ p["three"][:2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("function", [pytest.param(f, id=name) for name, f in MOVED.items()])
def test_b4_a_selection_of_entries_is_in_the_weights_beside_it(function):
    network, variables, _ = trace(function, P, X)
    wanted = function(P, X)
    np.testing.assert_allclose(ann_logits(network, variables, X), wanted, rtol=1e-4, atol=1e-5)


def test_b4_the_spiking_network_of_a_split_gives_the_functions_logits():
    network, variables, _ = trace(halves, P, X)
    params = convert(network, variables, scales=measure_scales(network, variables, X))
    values = simulate(network, params, X, num_steps=256).values[-1]
    np.testing.assert_allclose(values, halves(P, X), atol=0.02)


def test_b4_a_part_of_a_product_has_neurons_for_that_part_alone():
    found = trace(MOVED["part of a product"], P, X).network.layers
    assert found[:2] == (arch.Flatten(), arch.Dense(4))
    found = trace(MOVED["windows by slices"], P, X).network.layers
    assert found[0] == arch.Conv(3, (3, 3), use_bias=False)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda p, x: jnp.roll(last(p, x), 1, 0), "another order|not all there|a part"),
        (lambda p, x: end_of(jnp.repeat(x, 2, 1)), "conv_general_dilated.*another shape or order"),
        (lambda p, x: end_of(jnp.roll(x, 1, 1)), "conv_general_dilated.*another shape or order"),
        (lambda p, x: end_of(x + x[:, ::-1]), "conv_general_dilated.*another shape or order"),
        (lambda p, x: last(p, x + x.mean((1, 2), keepdims=True)), "add.*different orders"),
    ],
)
def test_b4_a_selection_that_no_weights_hold_is_refused_by_name_and_line(function, message):
    assert_refused(function, message, __file__)


def end_of(x):
    return conv(x, jnp.ones((2, 2, 1, 3))).mean((1, 2))


def test_a_whole_output_needs_no_layer_and_a_part_one_of_ones_and_zeros():
    node = Node(None, [], (3, 2, 2))
    everything = indices_of(node.shape, 2)
    assert in_own_order(Signal(node, everything)) is node
    whole = Signal(node, everything[:, ::-1])
    assert find_whole(whole) is whole
    part = np.pad(
        everything[:, 1:, :, :1], ((0, 0), (1, 0), (0, 0), (0, 2)), constant_values=PADDING
    )
    found = find_whole(Signal(node, part))
    assert found.node.layer.features == 3
    assert in_own_order(Signal(node, np.full_like(everything, PADDING))) is None


def test_a_part_of_joined_branches_that_comes_from_one_is_a_part_of_that_one():
    def apply(p, x):
        h = vector(p, x)
        joined = jnp.concatenate([jax.nn.relu(h), h], -1)
        return joined[:, 9:12] @ p["three"]

    layers = trace(apply, P, X).network.layers
    assert layers == (arch.Flatten(), arch.Dense(8), arch.Dense(3, False))
