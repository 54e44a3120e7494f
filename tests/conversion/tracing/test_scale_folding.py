"""Scales go into the weights beside them, and the numbers stay the same."""

from dataclasses import dataclass

import numpy as np
import pytest

from snnjax.conversion.tracing import graph
from snnjax.conversion.tracing.scale_folding import simplify
from snnjax.networks import architecture as arch

A, B = np.array([2.0, 4.0]), np.array([1.0, -1.0])
KERNEL = np.arange(6.0).reshape(2, 3)


def start(*shape):
    return graph.Node(None, [], shape)


def dense(before, kernel=KERNEL):
    layer = arch.Dense(kernel.shape[1], use_bias=False)
    return graph.weighted(before, layer, kernel, kernel.shape[1:], frozenset({"w"}), "")


def conv(before, padding):
    layer = arch.Conv(3, (2, 2), padding=padding, use_bias=False)
    kernel = np.arange(24.0).reshape(2, 2, 2, 3)
    return graph.weighted(before, layer, kernel, (3, 3, 3), frozenset(), "")


def relu(before):
    return graph.Node(arch.Activation(0.0, np.inf), [before], before.shape)


def layers(output):
    return [node.layer for node in graph.topological(output)][1:]


def test_a_scale_behind_weights_scales_their_outputs():
    x = np.array([1.0, 2.0])
    a, b = np.array([2.0, 1.0, 4.0]), np.array([0.5, 0.0, -1.0])
    output = simplify(graph.scaled(dense(start(2)), a, b, frozenset({"a"})))
    assert layers(output) == [arch.Dense(3, use_bias=True)]
    assert output.sources == {"w", "a"}
    folded = x @ output.params["kernel"] + output.params["bias"]
    np.testing.assert_array_equal(folded, (x @ KERNEL) * a + b)


def test_a_scale_before_weights_scales_their_inputs():
    x = np.array([1.0, 2.0])
    output = simplify(dense(graph.scaled(relu(dense(start(1), np.ones((1, 2)))), A, B)))
    folded = x @ output.params["kernel"] + output.params["bias"]
    np.testing.assert_array_equal(folded, (x * A + B) @ KERNEL)
    assert [type(layer) for layer in layers(output)] == [arch.Dense, arch.Activation, arch.Dense]


def test_a_shift_of_the_image_before_padding_is_its_normalisation():
    output = simplify(conv(graph.scaled(start(4, 4, 2), A, B), ((1, 0), (0, 0))))
    assert layers(output)[0] == arch.Normalise((-0.5, 0.25), (0.5, 0.25))
    output = simplify(conv(graph.scaled(start(4, 4, 2), A, B), "VALID"))
    assert layers(output) == [arch.Conv(3, (2, 2), padding="VALID", use_bias=True)]


def test_a_shift_of_neurons_before_padding_stays():
    first = graph.weighted(
        start(4, 4, 2), arch.Conv(2, (1, 1)), np.ones((1, 1, 2, 2)), (4, 4, 2), frozenset(), ""
    )
    output = simplify(conv(graph.scaled(relu(first), A, B), "SAME"))
    assert layers(output)[2] == arch.Scale(2)


def test_a_scale_passes_pooling_and_flattening():
    pooled = graph.Node(arch.AvgPool((2, 2)), [graph.scaled(start(2, 2, 2), A, B)], (1, 1, 2))
    output = simplify(dense(graph.flattened(pooled)))
    assert layers(output) == [arch.AvgPool((2, 2)), arch.Flatten(), arch.Dense(3)]


def test_a_neutral_scale_stays_where_neurons_have_no_other_synapse():
    assert layers(simplify(relu(graph.scaled(start(2)))))[0] == arch.Scale(2)
    output = simplify(relu(graph.scaled(dense(start(2)))))
    assert [type(layer) for layer in layers(output)] == [arch.Dense, arch.Activation]


def test_an_unknown_kind_of_layer_is_an_error():
    @dataclass(frozen=True)
    class Shuffle:
        groups: int = 2

    node = graph.Node(Shuffle(), [graph.scaled(start(2), A, B)], (2,), line="mine.py:3")
    with pytest.raises(ValueError, match=r"Shuffle\(groups=2\) made at mine.py:3 has no rule"):
        simplify(node)
