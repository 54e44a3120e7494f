"""Functions that were not written for this package, converted or refused."""

from functools import partial

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import ann_logits, limit
from flax import nnx
from functions_of_images import KEY, WEIGHTS, assert_refused, dense, images, last

from snnjax import convert, measure_scales, simulate, trace
from snnjax.networks import architecture as arch
from snnjax.networks.activations import sth_leaky_relu


def shaken(tree, seed=0):
    """Parameters away from their initial values, so that nothing is neutral."""
    draw = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(
            np.asarray(leaf) + draw.uniform(0, 0.2, leaf.shape).astype(np.float32)
        ),
        tree,
    )


class Block(nn.Module):
    features: int
    strides: int = 1

    @nn.compact
    def __call__(self, x):
        norm = partial(nn.BatchNorm, use_running_average=True)
        y = norm()(nn.Conv(self.features, (3, 3), strides=self.strides, use_bias=False)(x))
        y = norm()(nn.Conv(self.features, (3, 3))(nn.leaky_relu(y, 0.1)))
        if x.shape != y.shape:
            x = norm()(nn.Conv(self.features, (1, 1), strides=self.strides)(x))
        return jnp.clip(x + y, 0, 2.5)


class ResNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = (x - jnp.array([0.4, 0.5, 0.6])) / 0.25
        x = nn.relu(nn.Conv(8, (3, 3))(x))
        x = Block(12, 2)(Block(8)(x))  # Flax counts the outer one first
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = nn.Dropout(0.5, deterministic=True)(nn.Dense(12)(x))
        x = jax.jit(nn.relu6)(x)
        return nn.Dense(5)(x.mean((1, 2)))


def linen_resnet():
    x = images(8, 8, 3)
    return ResNet().apply, shaken(jax.jit(ResNet().init)(KEY, x)), x


class CNN(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(1, 6, (3, 3), padding="VALID", rngs=rngs)
        self.norm = nnx.BatchNorm(6, use_running_average=True, rngs=rngs)
        self.second = nnx.Conv(6, 8, (3, 3), strides=2, feature_group_count=2, rngs=rngs)
        self.last = nnx.Linear(72, 4, rngs=rngs)

    def __call__(self, x):
        x = jax.nn.leaky_relu(self.norm(self.first(x)), 0.25)
        x = jnp.minimum(jax.nn.relu(self.second(x)), 1.0)
        return self.last(x.reshape(len(x), -1))


def nnx_cnn():
    graphdef, state = nnx.split(CNN(nnx.Rngs(0)))

    def apply(state, x):
        return nnx.merge(graphdef, state)(x)

    return apply, shaken(state), images(8, 8, 1)


def equinox_mlp():
    model = eqx.nn.MLP(12, 3, 16, 2, activation=jax.nn.hard_tanh, key=KEY)
    params, static = eqx.partition(model, eqx.is_array)

    def apply(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    return apply, params, images(12)


def equinox_cnn():
    class Model(eqx.Module):
        layers: list

        def __init__(self, key):
            keys = jax.random.split(key, 3)
            self.layers = [
                eqx.nn.Conv2d(2, 4, 3, padding=1, key=keys[0]),
                jax.nn.relu,
                eqx.nn.AvgPool2d(2, 2),
                eqx.nn.Conv2d(4, 6, 3, dilation=2, padding=2, key=keys[1]),
                jax.nn.leaky_relu,
                jnp.ravel,
                eqx.nn.Linear(96, 3, key=keys[2]),
            ]

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    params, static = eqx.partition(Model(KEY), eqx.is_array)
    return (
        lambda params, x: jax.vmap(eqx.combine(params, static))(x),
        params,
        images(2, 8, 8),
    )


def unknown_origin():
    """Channels first, its own activation, joined channels, and a normalisation behind neurons."""
    draw = np.random.default_rng(0)

    def weights(*shape):
        return jnp.asarray(draw.normal(0, 0.4, shape), jnp.float32)

    params = {
        "a": weights(6, 3, 3, 3), "b": weights(4, 6, 3, 3), "c": weights(160, 7),
        "d": weights(7, 4),
        "theta": jnp.abs(weights(7)) + 0.5, "mean": weights(10), "slope": weights(10) + 1,
    }  # fmt: skip

    @jax.jit
    def conv(x, w):
        padded = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return jax.lax.conv_general_dilated(padded, w, (1, 1), "VALID")

    def apply(p, x):
        x = conv(x, p["a"])
        x = 1.5 * jnp.clip(jnp.where(x > 0, x, 0.125 * x), -1.0, 1.0)
        y = conv(x, p["b"])
        x = jnp.concatenate([x, jnp.abs(y) * 0.5 + y * 0.5], axis=1)
        x = (x - p["mean"][:, None, None]) * p["slope"][:, None, None]
        x = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / 4
        x = jnp.transpose(x, (0, 2, 3, 1)).reshape(len(x), -1)
        x = sth_leaky_relu(jnp.einsum("bi,io->bo", x, p["c"]), theta=p["theta"], alpha=0.5)
        return x @ p["d"]

    return apply, params, images(3, 8, 8)


def before_activation():
    """Blocks whose sums are normalised, and a convolution whose mean over pixels is the answer."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(6, (3, 3))(x)
            for _ in range(2):
                y = nn.relu(nn.BatchNorm(use_running_average=True)(x))
                x = x + nn.Conv(6, (3, 3))(y)
            x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
            x = nn.avg_pool(x, (3, 3), (2, 2), padding="SAME")
            return nn.Conv(4, (1, 1))(x).mean((1, 2))

    x = images(8, 8, 3)
    return Net().apply, shaken(jax.jit(Net().init)(KEY, x)), x


MODELS = [
    linen_resnet, nnx_cnn, equinox_mlp, equinox_cnn, unknown_origin, before_activation,
]  # fmt: skip


def as_images(x):
    """Images as the traced network takes them: vectors are maps of one pixel."""
    return x[:, None, None] if x.ndim == 2 else x


QUICK = (equinox_mlp,)


@pytest.mark.parametrize(
    "model",
    [pytest.param(model, marks=() if model in QUICK else pytest.mark.slow) for model in MODELS],
)
def test_the_rates_of_a_traced_network_approach_its_ann_as_one_over_time(model):
    apply, params, x = model()
    traced = trace(apply, params, x[:2])
    logits = jax.jit(apply)(params, x)
    shown = as_images(x)
    np.testing.assert_allclose(
        ann_logits(traced.network, traced.variables, shown), logits, rtol=1e-4, atol=1e-4
    )
    scales = measure_scales(traced.network, traced.variables, shown)
    snn = convert(traced.network, traced.variables, scales=scales)
    np.testing.assert_allclose(limit(traced.network, snn, shown), logits, rtol=1e-3, atol=1e-3)
    values = simulate(traced.network, snn, shown, num_steps=512).values
    error = jnp.abs(values - logits).mean((1, 2))
    assert error[511] < error[7] / 6
    assert error[511] < 0.02 * float(jnp.abs(logits).max())


def test_a_residual_network_is_read_layer_by_layer():
    apply, params, x = linen_resnet()
    network, _, sources = trace(apply, params, x, name="mine")
    assert network.name == "mine"
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == [
        "Normalise", "Conv", "Activation", "Residual", "Activation", "Residual", "Activation",
        "AvgPool", "Conv", "Activation", "AvgPool", "Flatten", "Dense",
    ]  # fmt: skip
    plain, projected = network.layers[3], network.layers[5]
    assert plain.shortcut == ()
    assert [type(layer).__name__ for layer in projected.body] == ["Conv", "Activation", "Conv"]
    assert projected.shortcut == (arch.Conv(12, (1, 1), (2, 2), "VALID"),)
    assert network.layers[2] == arch.Activation(0.0, float("inf"))
    assert network.layers[4] == arch.Activation(0.0, 2.5)
    assert plain.body[1] == arch.Activation(0.1, float("inf"))
    assert sources["03_residual/body/00_conv"] == (
        "batch_stats/Block_1/BatchNorm_0/mean", "batch_stats/Block_1/BatchNorm_0/var",
        "params/Block_1/BatchNorm_0/bias", "params/Block_1/BatchNorm_0/scale",
        "params/Block_1/Conv_0/kernel",
    )  # fmt: skip
    assert sources["12_dense"] == ("params/Dense_1/bias", "params/Dense_1/kernel")


def test_a_network_ends_with_weights():
    assert_refused(lambda p, x: jax.nn.relu(dense(p, x)), "behind the last weights", __file__)


def test_functions_and_examples_that_do_not_fit_get_one_message():
    x = images(4, 4, 1)
    with pytest.raises(ValueError, match="float"):
        trace(dense, WEIGHTS, (255 * x).astype(np.uint8))
    with pytest.raises(ValueError, match="NaN"):
        trace(dense, WEIGHTS, x * np.nan)
    with pytest.raises(ValueError, match=r"shape \(4, 4\)|shape \(4, 4, 1\)"):
        trace(dense, WEIGHTS, x[0])
    with pytest.raises(ValueError, match="apply fails on images of shape"):
        trace(dense, WEIGHTS, images(5, 5, 1))
    with pytest.raises(ValueError, match="decides by what the images are"):
        trace(lambda p, x: dense(p, x) if x.sum() > 0 else last(p, x), WEIGHTS, x)
    with pytest.raises(ValueError, match="want logits"):
        trace(lambda p, x: (dense(p, x), x), WEIGHTS, x)
    with pytest.raises(ValueError, match="another order, or a part"):
        trace(lambda p, x: last(p, x)[::-1], WEIGHTS, x)
    with pytest.raises(ValueError, match="does not depend on the images"):
        trace(lambda p, x: jnp.ones((len(x), 3)), WEIGHTS, x)


def test_an_unbounded_activation_asks_for_images_to_calibrate_on():
    found = trace(lambda p, x: last(p, jax.nn.relu(dense(p, x))), WEIGHTS, images(4, 4, 1))
    with pytest.raises(ValueError, match="measure_scales"):
        convert(found.network, found.variables)


def test_an_activation_used_twice_is_one_layer_of_neurons():
    weights = {"a": jax.random.normal(KEY, (5, 6)), "b": jax.random.normal(KEY, (6, 6))}

    def apply(p, x):
        h = jax.nn.relu(x @ p["a"])
        return (h + 2 * jax.nn.relu(h @ p["b"])) @ p["b"]

    network = trace(apply, weights, images(5)).network
    assert len(arch.activations(network)) == 2
