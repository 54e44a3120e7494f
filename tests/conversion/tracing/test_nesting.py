"""A graph whose branches meet again as nested layers."""

from types import SimpleNamespace

import pytest

from snnjax.conversion.tracing import graph
from snnjax.conversion.tracing.nesting import nested
from snnjax.networks import architecture as arch

START = graph.Node(None, [], (2,))
RELU = arch.Activation(0.0, float("inf"))


def relu(before):
    return graph.Node(RELU, [before], before.shape, line="mine.py:1")


def joined(kind, *branches):
    return graph.Node(kind, list(branches), branches[0].shape)


def test_the_branch_of_more_layers_is_the_body():
    short, long = START, relu(graph.scaled(START, sources=frozenset({"a"})))
    for branches in ((short, long), (long, short)):
        found = nested(START, relu(joined(arch.Residual, *branches)))
        assert found.layers == (arch.Residual((arch.Scale(2), RELU)), RELU)
        assert set(found.params["00_residual"]["body"]) == {"00_scale"}
        assert found.sources["00_residual/body/00_scale"] == {"a"}


def test_joined_channels_keep_their_order_and_blocks_nest():
    inner = joined(arch.Residual, relu(START), START)
    found = nested(START, joined(arch.Concat, START, inner, relu(START)))
    assert found.layers == (arch.Concat(((), (arch.Residual((RELU,)),), (RELU,))),)


def test_branches_that_do_not_meet_in_one_sum_are_refused_with_the_line():
    a = relu(START)
    b, c = relu(a), relu(a)
    left, right = joined(arch.Residual, b, c), relu(b)
    with pytest.raises(ValueError, match=r"activation at mine\.py:1 .*is used by branches"):
        nested(START, joined(arch.Residual, left, right))


def test_an_unknown_join_is_an_error():
    class Product(SimpleNamespace):
        pass

    with pytest.raises(ValueError, match="joined by Product; want Residual or Concat"):
        nested(START, joined(Product, relu(START), START))
