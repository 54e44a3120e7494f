"""Convolutions of every geometry through NIR: our files, and graphs of other programs."""

import jax
import numpy as np
import numpy_networks
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnjax.io import nir_export, nir_import
from snnjax.networks import architecture as arch

nir = pytest.importorskip("nir")

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
pixels = st.tuples(st.integers(0, 3), st.integers(0, 3))
SHAPE = (7, 6, 4)


def fits(size, dilation, pads):
    """On each axis, True if a window lies within the padded map."""
    axes = zip(size, dilation, SHAPE[:2], pads, strict=True)
    return [(n - 1) * gap < side + sum(pad) for n, gap, side, pad in axes]


@st.composite
def convolutions(draw):
    size, dilation = draw(pair), draw(pair)
    padding = draw(st.one_of(st.sampled_from(["SAME", "VALID"]), st.tuples(pixels, pixels)))
    pads = ((0, 0), (0, 0)) if isinstance(padding, str) else padding
    if not all(fits(size, dilation, pads)):
        padding = "SAME"
    groups, use_bias = draw(st.sampled_from([1, 2, 4])), draw(st.booleans())
    return arch.Conv(4, size, draw(pair), padding, groups, use_bias, dilation)


def params_of(layer, *, border):
    """Parameters in sixteenths."""
    draw = np.random.default_rng(0)
    shapes = {"kernel": (*layer.kernel_size, SHAPE[2] // layer.groups, 4)}
    shapes |= {"bias": (4,)} if layer.use_bias or border else {}
    shapes |= {"border": (SHAPE[2],)} if border else {}
    own = {
        name: (draw.integers(-16, 17, shape) / 16).astype(np.float32)
        for name, shape in shapes.items()
    }
    return {"gain": np.float32(1), "layers": {"00_conv": own}, "output_leak": np.float32(1)}


def images():
    return np.random.default_rng(1).integers(0, 9, (2, *SHAPE)) / 8


def current(network, params):
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["layers"])
    return numpy_networks.propagate(network.layers, params, images(), None)


def assert_same_trees(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


@given(layer=convolutions(), border=st.booleans())
def test_b9_a_convolution_of_any_geometry_survives_nir(layer, border):
    """Read again as written, and as the chain of a program that does not know this package."""
    network, params = arch.Network("one", (layer,)), params_of(layer, border=border)
    graph = nir_export.to_graph(network, params, SHAPE)
    read = nir_import.from_graph(graph)
    assert read.network == network
    assert_same_trees(read.params, params)
    del graph.metadata["snnjax"]
    other, kept, _ = nir_import.from_graph(graph)
    np.testing.assert_array_equal(current(other, kept), current(network, params))


@given(
    size=pair, strides=pair, dilation=pair, padding=pixels, groups=st.sampled_from([1, 2, 4]),
)  # fmt: skip
def test_b9_a_conv2d_of_another_program_is_read_as_it_is(size, strides, dilation, padding, groups):
    layer = arch.Conv(4, size, strides, tuple((n, n) for n in padding), groups, True, dilation)
    if not all(fits(size, dilation, pads=tuple((n, n) for n in padding))):
        return
    own = params_of(layer, border=False)["layers"]["00_conv"]
    node = nir.Conv2d(
        SHAPE[:2], own["kernel"].transpose(3, 2, 0, 1), strides, padding, dilation, groups,
        own["bias"],
    )  # fmt: skip
    nodes = {
        "in": nir.Input({"input": np.array([4, 7, 6])}), "conv": node,
        "out": nir.Output({"output": np.array([4, 1, 1])}),
    }  # fmt: skip
    graph = nir.NIRGraph(nodes, [("in", "conv"), ("conv", "out")], type_check=False)
    network, params, _ = nir_import.from_graph(graph)
    wanted = current(arch.Network("one", (layer,)), {"layers": {"00_conv": own}})
    np.testing.assert_array_equal(current(network, params), wanted)


def test_b9_dense_on_a_map_is_written_as_a_convolution_of_one_pixel():
    draw = np.random.default_rng(0)
    for shape in ((4, 4, 4), (5, 3, 2)):
        network = arch.Network("map", (arch.AvgPool((1, 2)), arch.Dense(3)))
        own = {"kernel": draw.normal(size=(shape[2], 3)).astype("f"), "bias": np.ones(3, "f")}
        params = {"gain": np.float32(1), "layers": {"01_dense": own}, "output_leak": np.float32(1)}
        graph = nir_export.to_graph(network, params, shape)
        read = nir_import.from_graph(graph)
        assert read.network == network
        assert_same_trees(read.params, params)
        del graph.metadata["snnjax"]
        other, kept, _ = nir_import.from_graph(graph)
        assert isinstance(other.layers[-1], arch.Conv)
        np.testing.assert_array_equal(kept["layers"]["01_conv"]["kernel"][0, 0], own["kernel"])


def test_b9_a_layer_with_both_kinds_of_neurons_is_refused_with_advice_that_helps():
    network = arch.Network("mixed", (arch.Dense(2), arch.Activation(0.5, 1.0)))
    numbers = {
        "positive": np.float32(1), "negative": np.array([2, np.inf], np.float32), "leak": None,
        "initial": np.float32(0), "shift": np.float32(0), "bound": np.float32(1),
    }  # fmt: skip
    layers = {"00_dense": {"kernel": np.ones((1, 2), "f")}, "01_activation": numbers}
    params = {"gain": np.float32(1), "layers": layers, "output_leak": np.float32(1)}
    for coupled in (False, True):
        with pytest.raises(ValueError, match=r"in some of its neurons only.*one alpha") as error:
            nir_export.to_graph(network, params, (2, 2, 1), coupled=coupled)
        assert "--coupled" not in str(error.value)
