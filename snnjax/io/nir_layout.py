"""Names and array layouts of NIR graphs: channels come first, and in snnjax last."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Graph",
    "Params",
    "Shape",
    "Signal",
    "channels_first",
    "flat_order",
    "in_nir_order",
    "nir_package",
    "node_name",
]

Params = dict[str, Any]
Shape = tuple[int, ...]


class Signal(NamedTuple):
    """Output of a layer within a NIR graph.

    shape: of the values for one image, `(H, W, C)` or `(N,)`.
    senders: names of the nodes whose outputs add up to it.
    unflattened: `(H, W, C)` of a signal that was flattened, else `()`.
    divisor: the next weights are divided by it in the graph, because SumPool2d nodes in front of
      them sum over this many pixels instead of averaging.
    """

    shape: Shape
    senders: tuple[str, ...] = ()
    unflattened: Shape = ()
    divisor: int = 1


class Graph(NamedTuple):
    """Graph that is being built; coupled: write two-sided neurons as two populations."""

    nodes: dict[str, Any]
    edges: list[tuple[str, str]]
    coupled: bool

    def add(self, name: str, node: Any, senders: tuple[str, ...]) -> tuple[str, ...]:
        """Add a node that receives from `senders`, and return its name as the next senders."""
        self.nodes[name] = node
        self.edges.extend((sender, name) for sender in senders)
        return (name,)


def nir_package() -> Any:
    """Import the package nir, which only reading and writing NIR files needs.

    Raises:
      ImportError: if it is not installed.
    """
    try:
        import nir
    except ImportError as error:
        raise ImportError("NIR files need the package nir: pip install 'snnjax[nir]'") from error
    return nir


def node_name(path: str) -> str:
    """Return the node name of a layer's path, with dots because HDF5 splits names at slashes."""
    return path.replace("/", ".")


def flat_order(signal: Signal) -> np.ndarray:
    """Return the index in snnjax of each value of a flat signal, in the order of NIR: `[N]`."""
    indices = np.arange(signal.shape[0])
    if signal.unflattened:
        indices = channels_first(indices.reshape(signal.unflattened)).ravel()
    return indices


def channels_first(values: np.ndarray) -> np.ndarray:
    """Copy `[H, W, C]` to `[C, H, W]`."""
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def in_nir_order(values: Any, signal: Signal) -> np.ndarray:
    """Broadcast numbers of a layer to one for each value of a signal, in the order of NIR."""
    full = np.broadcast_to(np.asarray(values, np.float32), signal.shape)
    return channels_first(full) if full.ndim == 3 else full[flat_order(signal)]
