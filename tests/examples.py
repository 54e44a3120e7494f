"""Small networks with every kind of layer, for the tests."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.snn import rates as snn_rates


def residual_network(learn="nothing"):
    """Batch norm, groups, strides, an identity shortcut and a projected one."""
    active = arch.Activation(0.25, 1.5, learn)
    plain = arch.Residual(
        (
            arch.Conv(8, (3, 3), use_bias=False),
            arch.BatchNorm(),
            active,
            arch.Conv(8, (3, 3), groups=2),
            arch.BatchNorm(),
        )
    )
    projected = arch.Residual(
        (
            arch.Conv(16, (3, 3), (2, 2)),
            arch.BatchNorm(),
            active,
            arch.Conv(16, (3, 3)),
            arch.BatchNorm(),
        ),
        (arch.Conv(16, (1, 1), (2, 2)), arch.BatchNorm()),
    )
    ends_in_neurons = arch.Residual((arch.Conv(16, (3, 3)), active))
    return arch.Network(
        "residual",
        (
            arch.Conv(8, (3, 3)),
            arch.BatchNorm(),
            active,
            plain,
            active,
            projected,
            active,
            ends_in_neurons,
            active,
            arch.AvgPool((2, 2)),
            arch.Flatten(),
            arch.Dense(12),
            arch.Dense(20),
            active,
            arch.Dense(5),
        ),
    )


def branching_network(learn="nothing"):
    """Joined channels, an activation of a sum, dilation, borders, and vectors that are joined."""
    active = arch.Activation(0.25, 1.5, learn)
    grown = arch.Concat(((), (arch.Conv(4, (3, 3), dilation=(2, 2)), active)))
    before = arch.Residual((arch.Scale(12), active, arch.Conv(12, (3, 3))))
    split = (
        (arch.Conv(3, (3, 3), padding="VALID"), active, arch.Flatten()),
        (arch.Conv(6, (3, 3), (2, 2), ((1, 0), (0, 1))), active, arch.AvgPool((2, 2))),
    )
    return arch.Network(
        "branching",
        (
            arch.Conv(8, (3, 3), dilation=(1, 2), padding="SAME"),
            active,
            grown,
            before,
            arch.Scale(12),
            active,
            arch.Concat(((), (arch.Conv(5, (1, 1)),))),
            active,
            arch.Concat((split[0], (*split[1], arch.Flatten()))),
            arch.Dense(5),
        ),
    )


def compact_network():
    """Every kind of layer once or twice, in few layers."""
    active = arch.Activation(0.25, 1.5)
    body = (arch.Conv(4, (3, 3), use_bias=False), arch.BatchNorm(), active, arch.Conv(4, (1, 1)))
    grown = arch.Concat(((), (arch.Scale(4), active)))
    return arch.Network(
        "compact",
        (
            arch.Normalise((0.5, 0.4, 0.6), (0.2, 0.3, 0.25)),
            arch.Conv(4, (3, 3), (2, 2), padding=((1, 1), (2, 0))),
            active,
            arch.Residual(body),
            active,
            grown,
            arch.Conv(6, (3, 3), groups=2),
            active,
            arch.AvgPool((2, 2)),
            arch.Flatten(),
            arch.Dense(5),
        ),
    )


def dense_network(alpha=0.25, theta=1.0):
    active = arch.Activation(alpha, theta)
    layers = (arch.Flatten(), arch.Dense(8), active, arch.Dense(8), active, arch.Dense(3))
    return arch.Network("dense", layers)


def random_variables(network, shape, seed=0):
    """Parameters and statistics away from their initial values, so that nothing is neutral."""
    return jax.tree.map(lambda leaf: leaf, _random_variables(network, shape, seed))  # new dicts


@lru_cache(maxsize=64)
def _random_variables(network, shape, seed):
    # Under jit the pass through the network, whose result nobody needs, is not compiled.
    init = jax.jit(ANN(network.layers).init)
    variables = init(jax.random.key(seed), jnp.zeros((1, *shape)))
    draw = np.random.default_rng(seed)
    # NumPy compiles nothing.
    variables = jax.tree.map(
        lambda leaf: np.asarray(leaf) + draw.normal(0, 0.2, leaf.shape).astype(np.float32),
        variables,
    )
    if "batch_stats" in variables:
        variables["batch_stats"] = jax.tree.map(
            lambda leaf: np.abs(leaf) + np.float32(0.2), variables["batch_stats"]
        )
    return jax.tree.map(jnp.asarray, variables)


def random_images(count, shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (count, *shape)).astype(np.float32)


def save_columns(path, shape):
    """Write images of three classes, the brightest of three columns, as a user's own data set."""
    arrays = {}
    for split, (count, seed) in {"train": (200, 0), "test": (60, 1)}.items():
        images = np.asarray(random_images(count, shape, seed) * 100, np.uint8)
        labels = np.random.default_rng(seed).integers(0, 3, count)
        images[np.arange(count), :, labels] += 100
        arrays |= {f"x_{split}": images, f"y_{split}": labels}
    np.savez(path, **arrays)


@partial(jax.jit, static_argnames=("network", "levels"))
def ann_logits(network, variables, images, levels=None):
    """Logits `[B, K]` of the ANN, in one compilation."""
    return ANN(network.layers).apply(variables, images, levels=levels)


rates = jax.jit(snn_rates.firing_rates, static_argnames=("network", "levels"))
limit = jax.jit(snn_rates.limit, static_argnames=("network", "levels"))


def spike_train(model, params, currents):
    """Spikes `[T, ...]` of a neuron at rest that is sent `currents` `[T, ...]`."""
    return _spike_train(model, params, jnp.asarray(currents, jnp.float32))


@partial(jax.jit, static_argnames="model")
def _spike_train(model, params, currents):
    state = model.init(params, currents.shape[1:])
    return jax.lax.scan(lambda s, j: model.step(params, s, j), state, currents)[1]


def dyadic(tree, step=1 / 16):
    """Numbers rounded so that every sum in a small network is exact in float32."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.round(np.float32(leaf) / step) * step), tree)
