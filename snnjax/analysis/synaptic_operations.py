"""What a simulation costs: who reaches how many neurons, and what was sent to them.

Two conventions have names of their own here. *Synaptic operations* merge poolings into the
weights behind them, so that only spikes are sent, and each costs what it reaches. *NeuroBench's*
look at the input of every Dense and Conv: its operations are accumulates (ACs) where all of it is
-1, 0 or 1, and products (MACs) otherwise, so behind a pooling they are products.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
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
    Synapse,
    Weights,
    unknown_layer,
)
from snnjax.snn.encoding import Encoding
from snnjax.snn.engine import Observer, neuron_shapes
from snnjax.snn.fast.dynamics import stem_length
from snnjax.snn.simulation import Simulation

__all__ = ["INPUT", "Operations", "Synapses", "count", "observer", "trace"]

INPUT = "input"
"""The source of the synapses that images pass."""

Params = dict[str, Any]


class _Wire(NamedTuple):
    """Which values weights listen to.

    source: path of neurons, INPUT, or None for currents, where no neuron stands between.
    between: poolings and Flattens that were passed since.
    layer: a Dense or Conv; None for a branch of a Residual without weights, one synapse each.
    """

    source: str | None
    between: tuple[FixedSynapse, ...]
    layer: Weights | None


class Synapses(NamedTuple):
    """What leads from one layer of neurons, or the image, into others, for one image.

    wire: where it begins and what it passes.
    merged: `source shape` synapses that each sender has, poolings merged into the weights.
    own: `input shape` synapses that each value at the weights themselves has.
    dense: operations if every value and every weight counts; 0 for a wire without weights.
    in_stem: a constant image passes them once.
    """

    wire: _Wire
    merged: np.ndarray
    own: np.ndarray
    dense: int
    in_stem: bool


class Operations(NamedTuple):
    """Operations for one image, over all timesteps; biases, resets and memory are not counted.

    accumulates: a spike of coefficient c is |c| additions at each neuron that it reaches.
    units, graded: the same, but a spike with |c| > 1 is one product at each: additions, products.
    macs: products with values that are no spikes; in the stem once for a constant image.
    recomputed_macs: the same if the stem is computed at every timestep.
    effective_macs, effective_acs, dense: NeuroBench's, summed over timesteps.
    """

    accumulates: float
    units: float
    graded: float
    macs: float
    recomputed_macs: float
    effective_macs: float
    effective_acs: float
    dense: float


class _Signal(NamedTuple):
    """Where a value comes from, the poolings and Flattens since with the shape before each, and
    its shape now.
    """

    source: str | None
    between: tuple[tuple[FixedSynapse, tuple[int, ...]], ...]
    shape: tuple[int, ...]


def trace(
    network: arch.Network, params: Params, image_shape: tuple[int, ...]
) -> dict[str, Synapses]:
    """All synapses of a network by the path of their weights, borders of maps exact.

    A weight of 0 is no synapse. A spike that several overlapping windows of a pooling hold has a
    synapse in each. A pooling behind weights adds none: what they send is added in its neuron.

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
    _trace(network.layers, params["layers"], start, "", found)
    stem = {name for name, _ in arch.named(network.layers)[: stem_length(network.layers)]}
    return {path: bundle._replace(in_stem=path in stem) for path, bundle in found.items()}


def _trace(
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
                signal = _trace_block(layer, numbers, signal, path, found)
            case Folded():
                pass  # conversion folded it into the weights
            case _:
                raise unknown_layer(path, layer)
    return signal


def _trace_block(
    block: Block, params: Params, signal: _Signal, path: str, found: dict[str, Synapses]
) -> _Signal:
    """Follow a signal through all branches; one that ends without weights has a synapse for each of
    its values.
    """
    ends = {}
    for branch, inner in reversed(list(block.branches.items())):
        into = f"{path}/{branch}"
        end = ends[branch] = _trace(inner, params.get(branch, {}), signal, f"{into}/", found)
        if end.source is not None:
            found[into] = _synapses(end, None, {})
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
    wire = _Wire(signal.source, tuple(passed for passed, _ in signal.between), layer)
    return Synapses(wire, merged, own, dense, in_stem=False)


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
    x = jnp.zeros((1, *shape))
    _, transpose = jax.vjp(lambda x: layer.incidence(params, x), x)
    (counts,) = transpose(jnp.asarray(behind, jnp.float32)[None])
    if float(counts.max(initial=0)) >= 2**24:
        raise ValueError(
            f"a value before a {type(layer).__name__} has {float(counts.max()):.0f} synapses; this"
            " count is exact up to 2**24 only"
        )
    return np.asarray(jnp.rint(counts[0]), np.int64)


def observer(found: Mapping[str, Synapses], encoding: Encoding) -> Observer:
    """What `simulation.simulate(record=...)` is to keep so that `count` can work.

    It keeps a few whole numbers of each image at each timestep. They are exact up to 2**31
    operations of an image, layer and timestep.

    Args:
      found: from `trace`.
      encoding: of the simulation.

    Raises:
      Nothing.
    """
    wires = tuple((path, bundle.wire) for path, bundle in found.items())
    arrays = {
        path: (jnp.asarray(b.merged, jnp.int32), jnp.asarray(b.own, jnp.int32))
        for path, b in found.items()
    }
    return Observer(_tally(wires, encoding.varies), arrays)


@lru_cache
def _tally(wires: tuple[tuple[str, _Wire], ...], spikes_in: bool) -> Any:
    """The observer's function; one object for equal wires, so that compilations are shared."""

    def tally(arrays: Any, frame: jax.Array, spikes: dict[str, jax.Array]) -> dict[str, Any]:
        rows = {}
        for path, wire in wires:
            if wire.source is not None:
                sent = frame if wire.source == INPUT else spikes[wire.source]
                is_spikes = wire.source != INPUT or spikes_in
                rows[path] = _row(wire, arrays[path], sent, is_spikes)
        events = {path: _summed(s != 0, jnp.ones(s.shape[1:], int)) for path, s in spikes.items()}
        return {"wires": rows, "events": events}

    return tally


def _row(
    wire: _Wire, fan_outs: tuple[jax.Array, jax.Array], sent: jax.Array, is_spikes: bool
) -> dict[str, jax.Array]:
    """Counts of one wire at one timestep, each `[B]`."""
    merged, own = fan_outs
    size = jnp.abs(sent) * is_spikes
    x = sent
    for passed in wire.between:
        x = passed.linear({}, x)
    unit = jnp.all((x == 0) | (jnp.abs(x) == 1))  # NeuroBench looks at all images of a call
    reached = _summed(x != 0, own) * (wire.layer is not None)
    return {
        "accumulates": _summed(jnp.rint(size).astype(jnp.int32), merged),
        "graded": _summed(size > 1, merged),
        "units": _summed(size == 1, merged),
        "effective_macs": reached * ~unit,
        "effective_acs": reached * unit,
    }


def _summed(values: jax.Array, each: jax.Array) -> jax.Array:
    return jnp.sum(values * each, axis=tuple(range(1, values.ndim)), dtype=jnp.int32)


def count(
    found: Mapping[str, Synapses],
    simulation: Simulation,
    encoding: Encoding,
    *,
    shown_steps: int = 0,
    noisy: bool = False,
) -> dict[str, Operations]:
    """Operations for the mean image of a simulation, by path of the weights.

    Args:
      found: from `trace`.
      simulation: with `record=observer(found, encoding)`.
      encoding: of the simulation.
      shown_steps: of the simulation; 0 for all timesteps.
      noisy: whether the images got noise, which makes every timestep's different.

    Raises:
      ValueError: if the simulation was not observed.
    """
    kept = simulation.recording
    if not isinstance(kept, dict) or set(kept) != {"wires", "events"}:
        raise ValueError(
            "the simulation has no counts; simulate with record=observer(found, encoding)"
        )
    steps = len(simulation.values)
    result = {}
    for path, bundle in found.items():
        rows = {
            name: float(np.asarray(row, np.int64).sum(0).mean())
            for name, row in kept["wires"].get(path, {}).items()
        }
        analog = bundle.wire.source is None or (bundle.wire.source == INPUT and not encoding.varies)
        shown = (shown_steps or steps) if bundle.wire.source == INPUT else steps
        recomputed = analog * shown * bundle.dense
        once = bundle.in_stem and not encoding.varies and not noisy
        result[path] = Operations(
            **{"accumulates": 0.0, "units": 0.0, "graded": 0.0, "effective_acs": 0.0,
               "effective_macs": float(recomputed), **rows},
            macs=float(analog * bundle.dense if once else recomputed),
            recomputed_macs=float(recomputed),
            dense=float(steps * bundle.dense),
        )  # fmt: skip
    return result
