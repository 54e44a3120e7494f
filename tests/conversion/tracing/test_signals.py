"""Signals that are scaled and shifted versions of each other."""

import numpy as np

from snnjax.conversion.tracing.graph import Node
from snnjax.conversion.tracing.indices import indices_of
from snnjax.conversion.tracing.signals import INPUT, Signal, affine_from, common_ancestor


def image():
    return Signal(Node(None, [], (2,)), indices_of((2,), 1))


def scaled(signal, scale, bias, name):
    return signal.scaled(scale, bias, frozenset({name}), INPUT)


def test_scales_and_shifts_add_up_from_any_ancestor():
    root = image()
    first = scaled(root, 2.0, 1.0, "a")
    second = scaled(first, np.array([4.0, 8.0]), -1.0, "b")
    scale, bias = affine_from(root, second)
    np.testing.assert_array_equal(scale, [8, 16])
    np.testing.assert_array_equal(bias, [3, 7])
    assert affine_from(second, second) == (1, 0)
    assert second.sources == {"a", "b"}


def test_the_last_common_ancestor_is_found():
    first = scaled(image(), 2.0, 0.0, "a")
    left, right = scaled(first, 3.0, 0.0, "b"), scaled(first, 5.0, 0.0, "c")
    assert common_ancestor(left, right) is first
    assert common_ancestor(left, first) is first
    assert common_ancestor(left, image()) is None
