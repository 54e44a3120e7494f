"""`conv` picks an algorithm by shapes, and all of them are one convolution."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from convolutions import assert_exact, draw_convolution

from snnjax.networks import known_networks
from snnjax.networks.ann import ANN
from snnjax.runtime import convolution, cores
from snnjax.runtime.convolution import (
    ConvSpec,
    PreparedKernel,
    choose_algorithm,
    conv,
    conv_general_dilated,
    prepare_kernel,
)
from snnjax.runtime.patches import conv_by_patches
from snnjax.runtime.windows import Window
from snnjax.runtime.winograd import conv_by_winograd, transform_kernel

ON_CPU = jax.default_backend() == "cpu"


def spec_of(kernel, strides=(1, 1), padding="SAME", dilation=(1, 1), groups=1):
    return ConvSpec(Window(kernel[:2], strides, padding, dilation), groups)


def array(shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


@pytest.mark.parametrize("groups", [1, 2])
def test_dilation_goes_to_xla(groups):
    x, kernel = draw_convolution((2, 8, 8, 4), (3, 3, 4 // groups, 6), seed=1)
    theirs = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", rhs_dilation=(2, 2), feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    ours = conv(x, kernel, spec_of(kernel.shape, dilation=(2, 2), groups=groups))
    np.testing.assert_array_equal(ours, theirs)
    adapted = conv_general_dilated(
        x, kernel, (1, 1), "SAME", (1, 1), (2, 2), feature_group_count=groups
    )
    np.testing.assert_array_equal(adapted, theirs)


SMALL, IMAGE = (3, 3, 16, 16), (8, 32, 32, 16)


@pytest.mark.parametrize(
    ("shape", "kernel", "options", "gradient", "wanted"),
    [
        (IMAGE, SMALL, {}, False, "pairs"),
        (IMAGE, SMALL, {}, True, "xla"),
        (IMAGE, SMALL, {"dilation": (2, 2)}, False, "xla"),
        (IMAGE, SMALL, {"strides": (2, 2)}, False, "xla"),
        ((8, 32, 31, 16), SMALL, {}, False, "xla"),
        (IMAGE, (3, 3, 16, 32), {}, False, "xla"),
        ((8, 32, 32, 3), (3, 3, 3, 16), {}, False, "patches"),
        ((8, 8, 8, 64), (3, 3, 64, 64), {}, False, "xla"),
        ((8, 8, 8, 64), (3, 3, 64, 64), {}, True, "xla"),
        ((8, 8, 8, 64), (3, 3, 16, 64), {"groups": 4}, False, "patches"),
    ],
)
def test_shapes_and_devices_choose_the_algorithm(
    shape, kernel, options, gradient, wanted, monkeypatch
):
    spec = spec_of(kernel, **options)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert choose_algorithm(array(shape), array(kernel), spec, gradient=gradient) == "xla"
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(cores, "count_cores", lambda: 2)
    for count in (1, 2):
        monkeypatch.setattr(jax, "local_device_count", lambda count=count: count)
        alone = "xla" if count == 1 and wanted == "pairs" else wanted
        assert choose_algorithm(array(shape), array(kernel), spec, gradient=gradient) == alone
    used = set()
    for name in ("patches", "pairs"):
        monkeypatch.setattr(
            convolution, f"conv_by_{name}", lambda x, *_, of=name, **__: used.add(of) or x
        )
    adapted = partial(
        conv_general_dilated, window_strides=spec.window.strides, padding="SAME",
        rhs_dilation=spec.window.dilation, feature_group_count=spec.groups,
    )  # fmt: skip
    for run in (partial(conv, spec=spec), adapted):
        used.clear()
        jax.eval_shape(partial(run, gradient=gradient), array(shape), array(kernel))
        assert used == {wanted} - {"xla"}


@pytest.mark.parametrize(
    ("kernel", "options", "suits"),
    [
        ((3, 3, 128, 256), {}, True),
        ((3, 3, 64, 128), {}, False),
        ((3, 3, 256, 64), {}, False),
        ((3, 3, 128, 128), {"strides": (2, 2)}, False),
        ((3, 3, 128, 128), {"dilation": (2, 2)}, False),
        ((3, 3, 128, 256), {"groups": 2}, False),
        ((5, 5, 128, 128), {}, False),
    ],
)
def test_kernels_of_many_channels_and_three_by_three_taps_are_prepared(kernel, options, suits):
    prepare = partial(prepare_kernel, spec=spec_of(kernel, **options))
    found = jax.eval_shape(prepare, array(kernel))
    assert isinstance(found, PreparedKernel) == (suits and ON_CPU)
    assert found.shape == kernel
    assert jax.tree.structure(jax.eval_shape(prepare, found)) == jax.tree.structure(found)


@pytest.mark.parametrize(("size", "wanted"), [((4, 4), "winograd"), ((2, 7), "xla")])
def test_prepared_kernels_are_used_for_maps_of_many_pixels(size, wanted, monkeypatch):
    used = []
    monkeypatch.setattr(convolution, "conv_by_winograd", lambda x, *_, **__: used.append(1) or x)
    kernel = PreparedKernel(array((3, 3, 128, 128)), array((16, 128, 128)))
    x, spec = array((1, *size, 128)), spec_of(kernel.shape)
    assert choose_algorithm(x, kernel, spec) == wanted
    jax.eval_shape(partial(conv, spec=spec), x, kernel)
    assert bool(used) == (wanted == "winograd")


def test_a_prepared_kernel_as_an_array_is_its_kernel():
    kernel = np.float32(np.arange(36)).reshape(3, 3, 2, 2)
    prepared = PreparedKernel(jnp.array(kernel), transform_kernel(kernel))
    np.testing.assert_array_equal(np.asarray(prepared), kernel)
    np.testing.assert_array_equal(jax.jit(jnp.asarray)(prepared), kernel)
    np.testing.assert_array_equal(jax.jit(lambda k: jnp.asarray(k) * 2)(prepared), 2 * kernel)


def test_what_does_not_fit_is_refused():
    x, kernel = jnp.zeros((1, 4, 4, 2)), jnp.zeros((3, 3, 2, 2))
    with pytest.raises(ValueError, match=r"shape \(3, 3, 2, 2\); want \(5, 3\) taps"):
        conv(x, kernel, spec_of((5, 3)))
    with pytest.raises(ValueError, match="a window spans 9x9 pixels, and the map has 4x4"):
        conv(x, kernel, spec_of((3, 3), padding="VALID", dilation=(4, 4)))
    with pytest.raises(ValueError, match=r"lhs_dilation is \(2, 2\); want 1"):
        conv_general_dilated(x, kernel, (1, 1), "SAME", (2, 2))


def convolutions_of(name):
    """Every convolution of a network once: shapes of an image and a kernel, strides and padding."""
    network = known_networks.find(name)
    size = (28, 28, 1) if name in ("net1", "net2") else (32, 32, 3)
    found = set()

    def note(x, kernel, spec, **_):
        found.add((x.shape, kernel.shape, spec.window.strides, spec.window.padding))
        rows, columns = spec.window.outputs(x.shape[1:])
        return jnp.zeros((len(x), rows, columns, kernel.shape[-1]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "_convolve", note)
        jax.eval_shape(ANN(network.layers).init, jax.random.key(0), array((1, *size)))
    return found


def test_the_shapes_of_networks_are_found():
    assert convolutions_of("net1") == set()
    assert len(convolutions_of("net2")) == 2
    assert len(convolutions_of("vgg16")) == 9  # of its 13, four have the shape of another
    assert ((1, 32, 32, 16), (1, 1, 16, 32), (2, 2), "SAME") in convolutions_of("resnet20")


OF_FULL_SIZE = ("vgg16", "resnet20", "resnet20_wide", "resnet18")


@pytest.mark.parametrize(
    "names", [("net2",), pytest.param(OF_FULL_SIZE, marks=pytest.mark.slow)], ids=["net2", "deep"]
)
def test_algorithms_are_exact_on_every_convolution_of_a_network(names):
    """Forward, and both gradients; a shape that several networks have is tried once."""
    for case in sorted(set().union(*map(convolutions_of, names))):
        assert_algorithms_are_exact(*case)


def assert_algorithms_are_exact(shape, kernel, strides, padding):
    window = Window(kernel[:2], strides, padding)
    x, weights = draw_convolution(shape, kernel, seed=2)
    options = {"strides": strides, "padding": padding}
    assert_exact(partial(conv_by_patches, window=window), x, weights, **options)
    if kernel[:2] == (3, 3) and strides == (1, 1):

        def winograd(x, kernel):
            return conv_by_winograd(x, transform_kernel(kernel), window)

        assert_exact(winograd, x, weights, **options)
