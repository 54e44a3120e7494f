"""Layouts of images: told by the program or by the caller, never guessed from sizes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import ann_logits
from functions_of_images import KEY, images

from snnjax import convert, measure_scales, simulate, trace
from snnjax.networks import architecture as arch
from snnjax.networks import serialisation
from snnjax.snn.early_exit import simulate_until
from snnjax.snn.noise import make_noise, salt_and_pepper

MEAN = np.array([0.4, 0.5, 0.6], np.float32)


def mlp(p, x):
    return jax.nn.relu(x.reshape(len(x), -1) @ p[0]) @ p[1]


def mlp_weights(inputs):
    draw = np.random.default_rng(0)
    sizes = ((inputs, 8), (8, 3))
    return [draw.normal(size=size).astype(np.float32) / size[0] ** 0.5 for size in sizes]


@pytest.mark.parametrize("shape", [(5, 5, 103), (4, 4, 8), (3, 8, 8), (8, 8, 3)])
@pytest.mark.parametrize("layout", [None, "NHWC", "NCHW"])
def test_a1_an_mlp_takes_images_as_they_are_whatever_their_sizes(shape, layout):
    x, p = images(*shape), mlp_weights(np.prod(shape))
    network, variables, _ = trace(mlp, p, x[:1], layout=layout)
    np.testing.assert_allclose(ann_logits(network, variables, x), mlp(p, x), rtol=1e-4, atol=1e-5)
    kinds = [type(layer) for layer in network.layers]
    assert (arch.Transpose in kinds) == (layout == "NCHW")


def test_a1_the_spiking_network_of_many_channels_gives_the_functions_own_logits():
    x, p = images(5, 5, 103), mlp_weights(5 * 5 * 103)
    network, variables, _ = trace(mlp, p, x[:1])
    params = convert(network, variables, scales=measure_scales(network, variables, x))
    values = simulate(network, params, x, num_steps=500).values[-1]
    np.testing.assert_allclose(values, mlp(p, x), atol=0.02 * np.abs(mlp(p, x)).max())


def channels_first(p, x):
    """A convolutional model, with its images normalised by channel and padded by hand."""
    x = jnp.pad((x - MEAN[:, None, None]) / 0.25, ((0, 0), (0, 0), (1, 1), (1, 1)))
    x = jax.nn.relu(jax.lax.conv_general_dilated(x, p[0], (1, 1), "VALID"))
    return x.mean((2, 3)) @ p[1]


def channels_first_weights():
    draw = np.random.default_rng(0)
    return [draw.normal(size=size).astype(np.float32) / 3 for size in ((4, 3, 3, 3), (4, 2))]


@pytest.mark.parametrize("layout", [None, "NCHW"])
@pytest.mark.parametrize("size", [(8, 8), (2, 2)], ids=["wide", "narrower-than-its-channels"])
def test_a1_channels_first_images_go_into_every_function_as_they_are(size, layout):
    x, p = images(3, *size), channels_first_weights()
    network, variables, _ = trace(channels_first, p, x[:2], layout=layout)
    wanted = channels_first(p, x)
    np.testing.assert_allclose(ann_logits(network, variables, x), wanted, rtol=1e-4, atol=1e-4)
    assert network.layers[0] == arch.Transpose((1, 2, 0))
    assert isinstance(network.layers[1], arch.Normalise)
    params = convert(network, variables, scales=measure_scales(network, variables, x))
    values = simulate(network, params, x, num_steps=256).values[-1]
    np.testing.assert_allclose(values, wanted, atol=0.05 * np.abs(wanted).max())
    answer = simulate_until(network, params, x, margin=jnp.inf, num_steps=16)
    plain = simulate(network, params, x, num_steps=16, engine="plain").values[-1]
    np.testing.assert_allclose(answer.values, plain, atol=1e-3)


def test_a1_a_transposition_of_the_user_tells_the_layout_too():
    x = images(3, 4, 4)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(4, (3, 3))(x.transpose(0, 2, 3, 1)))
            return nn.Dense(2)(x.reshape(len(x), -1))

    params = jax.jit(Net().init)(KEY, x)
    network, variables, _ = trace(Net().apply, params, x)
    wanted = Net().apply(params, x)
    np.testing.assert_allclose(ann_logits(network, variables, x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(lambda x: x.mean((2, 3)), id="pooling"),
        pytest.param(lambda x: (x - MEAN[:, None, None]).mean((2, 3)), id="shift"),
    ],
)
def test_a1_whatever_comes_first_tells_the_layout(first):
    x, p = images(3, 4, 4), mlp_weights(3)
    network, variables, _ = trace(lambda p, x: mlp(p, first(x)), p, x)
    wanted = mlp(p, first(x))
    np.testing.assert_allclose(ann_logits(network, variables, x), wanted, rtol=1e-4, atol=1e-5)


def over_channels(p, x):
    """A product over channels names no axes of pixels, so nothing tells the layout."""
    return jnp.einsum("bchw,cd->bdhw", x, p[0][0, 0]).mean((2, 3)) @ p[0][1, 1]


def test_a1_contradictions_and_unknown_layouts_are_refused():
    x, p = images(3, 8, 8), channels_first_weights()
    with pytest.raises(ValueError, match=r"layout is 'NHWC', but .* pass layout='NCHW'"):
        trace(channels_first, p, x, layout="NHWC")
    with pytest.raises(ValueError, match=r"layout is 'CHW'; want .*'NHWC' or 'NCHW'"):
        trace(channels_first, p, x, layout="CHW")
    with pytest.raises(ValueError, match="layout is 'NHWC', but the example has 2 axes"):
        trace(mlp, mlp_weights(5), images(5), layout="NHWC")
    with pytest.raises(ValueError, match="want one order in all"):
        trace(lambda w, x: (x.mean((2, 3)) + x.mean((1, 2))) @ w, p[0][0, 0], x[..., :3])
    with pytest.raises(ValueError, match="pass layout='NHWC' or layout='NCHW'"):
        trace(lambda p, x: mlp(p, x.mean(3)), mlp_weights(24), x)
    with pytest.raises(ValueError, match="say so by layout="):
        trace(over_channels, p, x)
    network, variables, _ = trace(over_channels, p, x, layout="NCHW")
    wanted = over_channels(p, x)
    np.testing.assert_allclose(ann_logits(network, variables, x), wanted, rtol=1e-4, atol=1e-5)


def test_a1_noise_falls_on_whole_pixels_of_channels_first_images():
    x, p = images(3, 8, 8), channels_first_weights()
    network, variables, _ = trace(channels_first, p, x)
    params = convert(network, variables, scales=measure_scales(network, variables, x))
    seen = simulate(
        network, params, x, num_steps=2, noise=make_noise(0.5), key=KEY,
        record=jax.tree_util.Partial(lambda frame, spikes: frame),
    ).recording[0]  # fmt: skip
    changed = seen != x
    assert 0 < changed.mean() < 1
    np.testing.assert_array_equal(changed.any(1), changed.all(1))
    noisy = salt_and_pepper(KEY, jnp.full((3, 8, 8), 0.5), 0.5, channel_axis=0)
    np.testing.assert_array_equal(noisy[0], noisy[1])


def test_a1_a_network_knows_the_shape_of_its_images():
    x, p = images(3, 4, 4), mlp_weights(48)
    network = trace(mlp, p, x).network
    assert network.image_shape == (3, 4, 4)
    assert serialisation.read(serialisation.write(network)) == network
    assert "image_shape" not in serialisation.write(arch.Network("plain", network.layers))
