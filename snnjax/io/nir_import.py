"""Read NIR files: networks that this package wrote, and plain chains of other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from snnjax.io.nir_chain import read_chain
from snnjax.io.nir_export import to_graph
from snnjax.io.nir_layout import Params, nir_package, node_name
from snnjax.io.nir_weights import written_weights
from snnjax.networks import architecture as arch
from snnjax.networks import serialisation
from snnjax.snn.engine import with_leaks

__all__ = ["SNN", "from_graph", "read"]


class SNN(NamedTuple):
    """network and params: arguments of `simulate`; metadata: JSON that was written with them."""

    network: arch.Network
    params: Params
    metadata: dict[str, Any]


def read(path: Path) -> SNN:
    """Read a NIR file; see `from_graph`.

    Raises:
      ImportError: if nir is not installed.
      FileNotFoundError: if there is no such file.
      ValueError: if it is no NIR file, or holds something that this package does not have.
    """
    nir, path = nir_package(), Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no NIR file at {path}")
    try:
        graph = nir.read(path, type_check=False)
    except (OSError, KeyError, ValueError, AssertionError, TypeError) as error:
        raise ValueError(f"{path} is no NIR file ({error})") from error
    try:
        return from_graph(graph)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_graph(graph: Any) -> SNN:
    """Read the network in a NIR graph that `nir_export.write` made, or that is a plain chain.

    A chain is made of Affine, Linear, Conv2d, SumPool2d, AvgPool2d, Flatten and IF. NIR does not
    state how an IF resets: simulate with DOUBLE_THRESHOLD for soft reset, with
    DOUBLE_THRESHOLD_HARD for hard reset. A timestep is 1, the potential starts at 0, and reaching
    the threshold fires.

    Raises:
      ValueError: naming the node or rule that this package does not have, or if a graph was
        changed since it was written.
    """
    reset = graph.metadata.get("reset", "subtract")
    if reset != "subtract":
        raise ValueError(f"reset is {reset!r}; want 'subtract', or a graph that does not say")
    if "snnjax" not in graph.metadata:
        return _with_leaks(SNN(*read_chain(graph), metadata={}))
    try:
        return _with_leaks(_read_written(graph))
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"the graph is not as snnjax wrote it ({error!r}); write it again"
        ) from error


def _with_leaks(found: SNN) -> SNN:
    """Return the network with `leak` None at all neurons without one."""
    params = {**found.params, "layers": with_leaks(found.params["layers"])}
    return found._replace(params=params)


def _read_written(graph: Any) -> SNN:
    """Read a graph that this package wrote, and check that nothing in it was changed."""
    kept = json.loads(graph.metadata["snnjax"])
    network = serialisation.read(json.dumps(kept["network"]))
    params = jax.tree.map(np.asarray, graph.metadata["parameters"])
    for path, layer in arch.walk(network.layers):
        if isinstance(layer, arch.Dense | arch.Conv):
            numbers = params["layers"]
            for name in path.split("/"):
                numbers = numbers.setdefault(name, {})
            numbers.update(written_weights(graph.nodes[node_name(path)]))
    channels, height, width = graph.nodes["input"].input_type["input"].tolist()
    shape = (height, width, channels)
    if network.image_order is not None:  # the order that the network takes
        shape = tuple(shape[axis] for axis in np.argsort(network.image_order.axes))
    again = to_graph(network, params, shape, coupled=kept["coupled"])
    _check_unchanged(graph, again)
    return SNN(network, params, kept["metadata"])


def _check_unchanged(graph: Any, again: Any) -> None:
    """Compare a graph that was read with one that is written again from what was read."""
    for name in again.nodes.keys() | graph.nodes.keys():
        if not _are_equal(again.nodes.get(name), graph.nodes.get(name)):
            raise ValueError(
                f"node {name} was changed since snnjax wrote the graph; write it again, or delete"
                " the metadata to read it as a plain chain"
            )
    if set(again.edges) != set(graph.edges):
        raise ValueError("edges were changed since snnjax wrote the graph; write it again")


def _are_equal(one: Any, other: Any) -> bool:
    """Compare two nodes, or values inside them, by kind and numbers."""
    if hasattr(one, "to_dict"):
        return type(one) is type(other) and _are_equal(one.to_dict(), other.to_dict())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            _are_equal(one[name], other[name]) for name in one
        )
    return np.array_equal(one, other)
