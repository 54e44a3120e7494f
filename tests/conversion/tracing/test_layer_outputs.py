"""Layers for scaled signals and for functions of them."""

import numpy as np
import pytest

from snnjax.conversion.tracing.graph import Node
from snnjax.conversion.tracing.indices import indices_of
from snnjax.conversion.tracing.jaxpr_walk import Operation
from snnjax.conversion.tracing.layer_outputs import is_activation, layer_output
from snnjax.conversion.tracing.signals import Elementwise, Obstacle, Signal
from snnjax.networks import architecture as arch

SHAPE = (2, 2, 3)
IMAGES = Signal(Node(None, [], SHAPE), indices_of(SHAPE, 2).transpose(0, 3, 1, 2))
MUL = Operation("mul", line="mine.py:1")


def test_a_scale_by_channels_is_one_layer_however_often_it_is_asked_for():
    scale = np.array([1.0, 2.0, 4.0])[:, None, None]
    signal = IMAGES.scaled(scale, 0.5, frozenset({"s"}), MUL)
    output = layer_output(signal)
    assert layer_output(signal) is output
    assert (output.node.layer, output.node.sources) == (arch.Scale(3), {"s"})
    np.testing.assert_array_equal(output.node.params["scale"], [1, 2, 4])
    np.testing.assert_array_equal(output.node.params["bias"], [0.5, 0.5, 0.5])
    assert layer_output(IMAGES) is IMAGES


def test_a_scale_by_pixels_is_refused():
    signal = IMAGES.scaled(np.arange(4.0).reshape(2, 2), 0.0, frozenset(), MUL)
    with pytest.raises(ValueError, match=r"mul at mine.py:1.*differ from pixel to pixel"):
        layer_output(signal)


def test_a_function_with_the_values_of_an_activation_is_one_with_a_synapse_before_it():
    output = layer_output(Elementwise(IMAGES, lambda z: np.clip(z, 0, 2.0), (MUL,)))
    assert output.node.layer == arch.Activation(0.0, 2.0)
    assert output.node.inputs[0].layer == arch.Scale(3)


def test_the_first_obstacle_is_named_for_a_function_that_is_none():
    exp = Operation("exp", line="mine.py:0")
    function = Elementwise(IMAGES, np.exp, (exp, MUL), Obstacle(exp, "it is curved"))
    assert not is_activation(function)
    with pytest.raises(ValueError, match=r"^exp at mine.py:0 cannot be converted: it is curved"):
        layer_output(function)
    function = Elementwise(IMAGES, np.exp, (exp, MUL))
    with pytest.raises(ValueError, match=r"^mul at mine.py:1.*the function is not 0 at 0"):
        layer_output(function)


def test_a_function_that_is_none_becomes_its_alternative():
    function = Elementwise(IMAGES, np.exp, (MUL,), alternative=lambda: IMAGES)
    assert layer_output(function) is IMAGES
