"""The graph of layers."""

from snnjax.conversion.tracing import graph
from snnjax.networks import architecture as arch


def test_every_node_comes_once_after_its_inputs_and_users_count_each_use():
    start = graph.Node(None, [], (4, 4, 2))
    scaled = graph.scaled(start, 2.0)
    joined = graph.Node(arch.Residual, [scaled, scaled], start.shape)
    output = graph.flattened(joined)
    assert list(graph.topological(output)) == [start, scaled, joined, output]
    assert graph.users_of_all(output)[scaled] == [joined, joined]
    assert graph.flattened(output) is output
    assert (output.shape, output.layer) == ((32,), arch.Flatten())
    assert graph.is_layer(scaled, arch.Scale) and not graph.is_layer(joined, arch.Residual)
