"""The ways to compute a convolution are one convolution, forward and backward."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.runtime import convolution, devices
from snnjax.runtime.convolution import (
    conv_general_dilated,
    from_pairs,
    from_patches,
    one_by_one,
    prepare,
    suits_patches,
    winograd,
    winograd_kernel,
)

CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")


def xla_convolution(x, kernel, strides=(1, 1), padding="SAME", groups=1):
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=CHANNELS_LAST, feature_group_count=groups
    )


def with_gradients(f, x, kernel):
    """f(x, kernel) and its gradients for a drawn upstream gradient, in one compilation."""
    shape = jax.eval_shape(f, x, kernel).shape
    upstream = np.random.default_rng(8).normal(size=shape).astype(np.float32)

    def run(x, kernel, upstream):
        result, pull = jax.vjp(f, x, kernel)
        return result, *pull(upstream)

    return jax.jit(run)(x, kernel, upstream)


@pytest.mark.parametrize(
    ("kernel", "padding", "size", "strides", "groups"),
    [  # each pair of values of two parameters is in one case at least
        ((3, 3), "SAME", (9, 9), (1, 1), 1),
        ((3, 3), "VALID", (6, 11), (2, 3), 3),
        ((3, 3), ((1, 0), (2, 1)), (9, 9), (2, 3), 3),
        ((5, 2), "SAME", (6, 11), (2, 3), 1),
        ((5, 2), "VALID", (9, 9), (1, 1), 3),
        ((5, 2), ((1, 0), (2, 1)), (6, 11), (1, 1), 1),
        ((1, 1), "SAME", (6, 11), (1, 1), 3),
        ((1, 1), "VALID", (9, 9), (2, 3), 1),
        ((1, 1), ((1, 0), (2, 1)), (6, 11), (2, 3), 1),
    ],
)
def test_patches_are_the_convolution_of_xla(kernel, padding, size, strides, groups):
    draw = np.random.default_rng(0).normal
    x = draw(size=(2, *size, 6)).astype(np.float32)
    weights = draw(size=(*kernel, 6 // groups, 9)).astype(np.float32)
    ways = (
        lambda x, w: from_patches(x, w, strides, padding, groups=groups),
        lambda x, w: xla_convolution(x, w, strides, padding, groups),
    )
    (ours, *mine), (theirs, *wanted) = (with_gradients(way, x, weights) for way in ways)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for gradient, of_xla in zip(mine, wanted, strict=True):
        np.testing.assert_allclose(gradient, of_xla, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2])
def test_dilation_goes_to_xla(groups):
    draw = np.random.default_rng(1).normal
    x = draw(size=(2, 8, 8, 4)).astype(np.float32)
    weights = draw(size=(3, 3, 4 // groups, 6)).astype(np.float32)
    options = {"rhs_dilation": (2, 2), "dimension_numbers": CHANNELS_LAST}
    options["feature_group_count"] = groups
    ours = conv_general_dilated(x, weights, (1, 1), "SAME", **options)
    theirs = jax.lax.conv_general_dilated(x, weights, (1, 1), "SAME", **options)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("shape", "kernel", "strides", "groups", "patches", "with_gradient"),
    [
        ((128, 28, 28, 1), (5, 5, 1, 12), (1, 1), 1, True, True),  # few channels
        ((128, 32, 32, 16), (3, 3, 16, 16), (1, 1), 1, False, False),
        ((128, 32, 32, 16), (1, 1, 16, 32), (2, 2), 1, True, True),  # one pixel
        ((128, 8, 8, 64), (3, 3, 64, 64), (1, 1), 1, False, True),  # few pixels
        ((128, 2, 2, 512), (3, 3, 512, 512), (1, 1), 1, True, True),
        ((128, 4, 4, 512), (3, 3, 512, 512), (2, 2), 1, True, True),
        ((128, 16, 16, 64), (3, 3, 16, 64), (1, 1), 4, True, True),
    ],
)
def test_the_shape_decides(shape, kernel, strides, groups, patches, with_gradient, monkeypatch):
    for gradient, wanted in ((False, patches), (True, with_gradient)):
        suits = suits_patches(shape, kernel, strides, "SAME", groups=groups, gradient=gradient)
        assert suits == wanted
    for gradient, wanted in ((False, patches), (True, with_gradient)):
        used = []
        monkeypatch.setattr(
            convolution, "from_patches", lambda x, w, *_, u=used, **__: u.append(1) or x
        )
        x, w = jnp.zeros((1, *shape[1:])), jnp.zeros(kernel)
        conv_general_dilated(x, w, strides, "SAME", feature_group_count=groups, gradient=gradient)
        assert bool(used) == (wanted and jax.default_backend() == "cpu")


@pytest.mark.parametrize(("kernel", "padding"), [
    ((3, 3), "SAME"), ((3, 3), "VALID"), ((5, 5), "SAME"), ((1, 1), "SAME"), ((2, 2), "SAME"),
    ((5, 3), ((0, 2), (3, 1))), ((3, 4), ((1, 0), (0, 1))),
])  # fmt: skip
def test_pairs_are_the_convolution_of_xla(kernel, padding):
    draw = np.random.default_rng(7).normal
    x = draw(size=(2, 5, 8, 6)).astype(np.float32)
    weights = draw(size=(*kernel, 6, 9)).astype(np.float32)

    ways = (
        lambda x, w: from_pairs(x, w, padding),
        lambda x, w: xla_convolution(x, w, padding=padding),
    )
    for ours, theirs in zip(*(with_gradients(way, x, weights) for way in ways), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "kernel", "options", "wanted"),
    [
        ((8, 32, 32, 16), (3, 3, 16, 16), {}, "pairs"),
        ((8, 32, 32, 16), (3, 3, 16, 16), {"gradient": True}, "xla"),
        ((8, 32, 32, 16), (3, 3, 16, 16), {"dilated": True}, "xla"),
        ((8, 32, 32, 16), (3, 3, 16, 16), {"strides": (2, 2)}, "xla"),
        ((8, 32, 31, 16), (3, 3, 16, 16), {}, "xla"),
        ((8, 32, 32, 16), (3, 3, 16, 32), {}, "xla"),
        ((8, 32, 32, 3), (3, 3, 3, 16), {}, "patches"),
    ],
)
def test_few_channels_go_in_pairs_where_cores_are_devices(
    shape, kernel, options, wanted, monkeypatch
):
    options = {"strides": (1, 1), "padding": "SAME", **options}
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(devices, "_count_cores", lambda: 2)
    for count in (1, 2):
        monkeypatch.setattr(jax, "local_device_count", lambda count=count: count)
        alone = "xla" if count == 1 and wanted == "pairs" else wanted
        assert convolution.way(shape, kernel, **options) == alone
    used = []
    monkeypatch.setattr(convolution, "from_pairs", lambda x, *_, **__: used.append(1) or x)
    if "dilated" not in options:
        rest = {"gradient": options.get("gradient", False)}
        x, w = jnp.zeros((1, *shape[1:])), jnp.zeros(kernel)
        conv_general_dilated(x, w, options["strides"], "SAME", **rest)
        assert bool(used) == (wanted == "pairs")


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (2, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0), (2, 1))])
def test_winograd_is_the_convolution_of_xla(size, padding):
    if padding == "VALID":
        size = (size[0] + 2, size[1] + 2)
    draw = np.random.default_rng(3).normal
    x = draw(size=(2, *size, 5)).astype(np.float32)
    weights = draw(size=(3, 3, 5, 6)).astype(np.float32)
    theirs = xla_convolution(x, weights, padding=padding)
    ours = jax.jit(lambda x, w: winograd(x, winograd_kernel(w), padding))(x, weights)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_winograd_is_exact_for_spikes_and_kernels_of_few_bits():
    """Its tiles of spikes are whole numbers, and its kernels quarters."""
    draw = np.random.default_rng(4)
    spikes = draw.integers(-1, 2, (2, 8, 8, 128)).astype(np.float32)
    kernel = draw.integers(-8, 9, (3, 3, 128, 128)).astype(np.float32)
    exact = xla_convolution(spikes, kernel)
    np.testing.assert_array_equal(winograd(spikes, winograd_kernel(kernel), "SAME"), exact)


@pytest.mark.parametrize(
    ("kernel", "strides", "options", "suits"),
    [
        ((3, 3, 128, 256), (1, 1), {}, True),
        ((3, 3, 64, 128), (1, 1), {}, False),
        ((3, 3, 256, 64), (1, 1), {}, False),
        ((3, 3, 128, 128), (2, 2), {}, False),
        ((3, 3, 128, 128), (1, 1), {"dilation": (2, 2)}, False),
        ((3, 3, 128, 256), (1, 1), {"groups": 2}, False),
        ((5, 5, 128, 128), (1, 1), {}, False),
    ],
)
def test_winograd_suits_many_channels_of_three_by_three(kernel, strides, options, suits):
    found = prepare(jnp.zeros(kernel), strides, **options)
    assert (found is not None) == (suits and jax.default_backend() == "cpu")


@pytest.mark.parametrize(("size", "taken"), [((4, 4), True), ((2, 7), False)])
def test_winograd_is_taken_for_maps_of_many_pixels(size, taken, monkeypatch):
    used = []
    monkeypatch.setattr(convolution, "winograd", lambda x, *_, **__: used.append(1) or x)
    x, kernel = jnp.zeros((1, *size, 128)), jnp.zeros((3, 3, 128, 128))
    conv_general_dilated(x, kernel, (1, 1), "SAME", prepared=winograd_kernel(kernel))
    assert bool(used) == taken


def plain(x, kernel):
    return conv_general_dilated(x, kernel, (1, 1), "SAME")


@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None)])
def test_mapped_kernels_are_gone_through_one_by_one(axes):
    draw = np.random.default_rng(5).normal
    x = draw(size=(3, 2, 8, 8, 6)).astype(np.float32)
    kernels = draw(size=(3, 3, 3, 6, 4)).astype(np.float32)
    given = [of if axis == 0 else of[0] for of, axis in zip((x, kernels), axes, strict=True)]
    ours, theirs = (jax.vmap(jax.jit(f), axes) for f in (one_by_one(plain), plain))
    np.testing.assert_allclose(ours(*given), theirs(*given), atol=1e-5)
    grouped = [f"feature_group_count={len(x)}" in str(jax.make_jaxpr(f)(*given))
               for f in (ours, theirs)]  # fmt: skip
    assert grouped == [jax.default_backend() != "cpu" and axes == (0, 0), axes == (0, 0)]


def test_kernels_mapped_over_mapped_images_and_gradients_of_them():
    draw = np.random.default_rng(6).normal
    x = draw(size=(2, 3, 2, 8, 8, 6)).astype(np.float32)
    kernels = draw(size=(3, 3, 3, 6, 4)).astype(np.float32)

    def gradients(f):
        twice = jax.vmap(jax.vmap(f), (0, None))
        return jax.grad(lambda x, kernels: (twice(x, kernels) ** 2).sum(), (0, 1))(x, kernels)

    for ours, theirs in zip(gradients(one_by_one(plain)), gradients(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * float(jnp.abs(theirs).max()))


def convolutions(name):
    """Every convolution of a network once: input, kernel, strides and padding."""
    network = arch.find(name)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    if name in ("net1", "net2"):
        images = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
    found = set()

    def note(x, kernel, strides, padding, *_, **__):
        found.add((x.shape, kernel.shape, tuple(strides), padding))
        return jax.lax.conv_general_dilated(
            x, kernel, strides, padding, dimension_numbers=CHANNELS_LAST
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snnjax.networks.ann.conv_general_dilated", note)
        jax.eval_shape(ANN(network.layers).init, jax.random.key(0), images)
    return found


def test_the_shapes_of_networks_are_found():
    assert convolutions("net1") == set()
    assert len(convolutions("net2")) == 2
    assert len(convolutions("vgg16")) == 9  # of its 13, four have the shape of another
    assert ((1, 32, 32, 16), (1, 1, 16, 32), (2, 2), "SAME") in convolutions("resnet20")


OF_FULL_SIZE = ("vgg16", "resnet20", "resnet20_wide", "resnet18")


@pytest.mark.parametrize(
    "name", ["net2", *(pytest.param(name, marks=pytest.mark.slow) for name in OF_FULL_SIZE)]
)
def test_the_ways_agree_on_every_convolution_of_a_network(name):
    """Forward, and both gradients."""
    for shape, kernel, strides, padding in sorted(convolutions(name)):
        assert_ways_agree(shape, kernel, strides, padding)


def assert_ways_agree(shape, kernel, strides, padding):
    draw = np.random.default_rng(2).normal
    x = draw(size=shape).astype(np.float32)
    weights = draw(0, 1 / np.sqrt(np.prod(kernel[:3])), kernel).astype(np.float32)
    xla = partial(xla_convolution, strides=strides, padding=padding)
    patches = partial(from_patches, strides=strides, padding=padding)
    if kernel[:2] == (3, 3) and strides == (1, 1):
        ours, theirs = winograd(x, winograd_kernel(weights), padding), xla(x, weights)
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * float(jnp.abs(theirs).max()))
    ways = (with_gradients(way, x, weights) for way in (patches, xla))
    for ours, theirs in zip(*ways, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * float(jnp.abs(theirs).max()))
