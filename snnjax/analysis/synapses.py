"""Synapses of a spiking network: the neurons that each spike reaches.

Poolings and Flattens are merged into the weights behind them, so that every synapse begins at a
neuron or a pixel. Fan-outs are the transposes of layers with weights of 1, so they hold for any
kind of layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.networks import architecture as arch
from snnjax.networks.architecture import (
    Activation,
    Block,
    FixedSynapse,
    Folded,
    Layer,
    Residual,
    Synapse,
    Weights,
    unknown_layer,
)
from snnjax.snn.engine import float32_params, neuron_shapes
from snnjax.snn.fast.dynamics import stem_length

__all__ = ["INPUT", "Connection", "Synapses", "count_synapses", "find_synapses", "share_synapses"]

INPUT = "input"
"""Source of the synapses that begin at the image."""

Params = dict[str, Any]


class Connection(NamedTuple):
    """Way of spikes from a source to weights.

    source: path of neurons, INPUT, or None for currents, where no neuron stands between.
    between: poolings and Flattens on the way.
    layer: the weights; None for a branch of a block that ends without, with one synapse each.
    """

    source: str | None
    between: tuple[FixedSynapse, ...]
    layer: Weights | None


class Synapses(NamedTuple):
    """Synapses of one layer of weights, for one image.

    connection: their source, and the layers on the way.
    merged: number of synapses of each sender, in the source's shape, poolings merged into the
      weights.
    own: number of synapses of each input of the weights themselves, in the input's shape.
    dense: operations if every value and every weight counts; 0 for a connection without weights.
    in_stem: True if a constant image passes them once.
    adds: True for a connection without weights whose values the ANN adds to another branch's.
    """

    connection: Connection
    merged: np.ndarray
    own: np.ndarray
    dense: int
    in_stem: bool = False
    adds: bool = False

    @property
    def products(self) -> int:
        """Products of a timestep in which the sender's values are no spikes."""
        return self.dense if self.connection.layer is not None else int(self.merged.sum())


class _Signal(NamedTuple):
    """A value on its way from a source.

    source: as in `Connection`.
    between: poolings and Flattens so far, each with the shape before it.
    shape: of the value now, for one image.
    """

    source: str | None
    between: tuple[tuple[FixedSynapse, tuple[int, ...]], ...]
    shape: tuple[int, ...]


def find_synapses(
    network: arch.Network, params: Params, image_shape: tuple[int, ...]
) -> dict[str, Synapses]:
    """Find all synapses of a network by the path of their weights, exact at the edges of maps.

    A weight of 0 is no synapse. A spike that lies in several overlapping windows of a pooling has a
    synapse in each. A pooling behind weights adds none, since it sums the currents of one neuron.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      image_shape: `(H, W, C)`.

    Raises:
      ValueError: if images of that shape do not fit the parameters.
    """
    neuron_shapes(network, params["layers"], image_shape)  # refuses others
    found: dict[str, Synapses] = {}
    start = _Signal(INPUT, (), image_shape)
    _follow(network.layers, float32_params(params["layers"]), start, "", found)
    stem = {name for name, _ in arch.named(network.layers)[: stem_length(network.layers)]}
    return {path: synapses._replace(in_stem=path in stem) for path, synapses in found.items()}


def count_synapses(found: Mapping[str, Synapses]) -> dict[str, np.ndarray]:
    """Count the synapses of every neuron, poolings merged into the weights, by path.

    Args:
      found: from `find_synapses`.

    Raises:
      Nothing.
    """
    counts: dict[str, np.ndarray] = {}
    for synapses in found.values():
        source = synapses.connection.source
        if source not in (None, INPUT):
            counts[source] = counts.get(source, 0) + synapses.merged
    return counts


def share_synapses(found: Mapping[str, Synapses]) -> dict[str, np.ndarray]:
    """Share of all neurons' synapses that begin at each neuron, by path; the shares sum to 1.

    Args:
      found: from `find_synapses`.

    Raises:
      Nothing.
    """
    counts = count_synapses(found)
    total = sum(float(of.sum()) for of in counts.values()) or 1.0
    return {path: of / total for path, of in counts.items()}


def _follow(
    layers: tuple[Layer, ...],
    params: Params,
    signal: _Signal,
    prefix: str,
    found: dict[str, Synapses],
) -> _Signal:
    """Follow a signal through layers, and put the synapses on its way into `found`."""
    for name, layer in arch.named(layers):
        path, numbers = prefix + name, params.get(name, {})
        match layer:
            case Activation():
                signal = _Signal(path, (), signal.shape)
            case Weights():
                found[path] = _synapses(signal, layer, numbers)
                signal = _Signal(None, (), _output_shape(layer, numbers, signal.shape))
            case FixedSynapse():
                between = (*signal.between, (layer, signal.shape))
                shape = _output_shape(layer, {}, signal.shape)
                signal = signal._replace(between=between, shape=shape)
            case Block():
                signal = _follow_block(layer, numbers, signal, path, found)
            case Folded():
                pass  # conversion folded it into the weights
            case _:
                raise unknown_layer(path, layer)
    return signal


def _follow_block(
    block: Block, params: Params, signal: _Signal, path: str, found: dict[str, Synapses]
) -> _Signal:
    """Follow a signal through all branches; one that ends without weights has a synapse for each of
    its values, which conversion named "<branch>_weight".
    """
    ends = {}
    for branch, inner in reversed(list(block.branches.items())):
        into = f"{path}/{branch}"
        end = ends[branch] = _follow(inner, params.get(branch, {}), signal, f"{into}/", found)
        if f"{branch}_weight" in params:
            found[into] = _synapses(end, None, {})._replace(adds=isinstance(block, Residual))
    joined = jax.eval_shape(
        lambda *outputs: block.join(outputs),
        *(jax.ShapeDtypeStruct((1, *ends[branch].shape), jnp.float32) for branch in block.branches),
    )
    return _Signal(None, (), joined.shape[1:])


def _output_shape(layer: Synapse, params: Params, shape: tuple[int, ...]) -> tuple[int, ...]:
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    return jax.eval_shape(layer.linear, params, x).shape[1:]


def _synapses(signal: _Signal, layer: Weights | None, params: Params) -> Synapses:
    own, dense = np.ones(signal.shape, np.int64), 0
    if layer is not None:
        outputs = np.ones(_output_shape(layer, params, signal.shape), np.int64)
        own = _fan_out(layer, params, signal.shape, outputs)
        ones = jax.tree.map(jnp.ones_like, params)
        dense = int(_fan_out(layer, ones, signal.shape, outputs).sum())
    merged = own
    for passed, shape in reversed(signal.between):
        merged = _fan_out(passed, {}, shape, merged)
    connection = Connection(signal.source, tuple(passed for passed, _ in signal.between), layer)
    return Synapses(connection, merged, own, dense)


def _fan_out(
    layer: Synapse, params: Params, shape: tuple[int, ...], behind: np.ndarray
) -> np.ndarray:
    """Synapses of each input of a layer, each of whose outputs has `behind` of them.

    It is the transpose of the layer with weights of 1, applied to `behind`; exact, since float32
    holds whole numbers up to 2**24.

    Args:
      layer: a linear map.
      params: its arrays; a weight of 0 is no synapse.
      shape: of its input for one image.
      behind: `[...]` in the shape of its output for one image.

    Raises:
      ValueError: if a count is too large for float32.
    """
    counts = np.asarray(_transposed_incidence(params, behind, layer=layer, shape=shape))
    if float(counts.max(initial=0)) >= 2**24:
        raise ValueError(
            f"a value before a {type(layer).__name__} has {float(counts.max()):.0f} synapses; this"
            " count is exact up to 2**24 only"
        )
    return np.rint(counts).astype(np.int64)


@partial(jax.jit, static_argnames=("layer", "shape"))
def _transposed_incidence(
    params: Params, behind: jax.Array, *, layer: Synapse, shape: tuple[int, ...]
) -> jax.Array:
    x = jnp.zeros((1, *shape), jnp.float32)
    _, transpose = jax.vjp(lambda x: layer.incidence(params, x), x)
    (counts,) = transpose(jnp.asarray(behind, jnp.float32)[None])
    return counts[0]
