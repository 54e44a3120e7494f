"""Operations of a simulation: additions for spikes, products for other values.

Two conventions have names of their own here. *Synaptic operations* merge poolings into the
weights behind them, so that only spikes are sent, and each costs one addition at every neuron
that it reaches. *NeuroBench's* count at the input of every Dense and Conv: its operations are
accumulates (ACs) if all of that input is -1, 0 or 1, and products (MACs) otherwise, so behind a
pooling they are products.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.analysis.synapses import INPUT, Connection, Synapses
from snnjax.snn.encoding import Encoding
from snnjax.snn.engine import Observer
from snnjax.snn.simulation import Simulation

__all__ = ["Operations", "count_operations", "make_observer"]


class Operations(NamedTuple):
    """Operations for one image, over all timesteps; biases, resets and memory are not counted.

    accumulates: a spike of coefficient c is |c| additions at each neuron that it reaches.
    units, graded: the same, but a spike with |c| > 1 is one product at each: additions, products.
    macs: products with values that are no spikes, also in a shortcut without weights; in the stem
      once for a constant image.
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


def make_observer(found: Mapping[str, Synapses], encoding: Encoding) -> Observer:
    """Make the observer for `simulation.simulate(record=...)` that `count_operations` needs.

    It keeps a few whole numbers of each image at each timestep. They are exact up to 2**31
    operations of an image, layer and timestep.

    Args:
      found: from `synapses.find_synapses`.
      encoding: of the simulation.

    Raises:
      Nothing.
    """
    connections = tuple((path, synapses.connection) for path, synapses in found.items())
    arrays = {
        path: (jnp.asarray(synapses.merged, jnp.int32), jnp.asarray(synapses.own, jnp.int32))
        for path, synapses in found.items()
    }
    return Observer(_tally(connections, encoding.varies), arrays)


@lru_cache
def _tally(connections: tuple[tuple[str, Connection], ...], spikes_in: bool) -> Any:
    """The observer's function; one object for equal connections, which share compilations."""

    def tally(arrays: Any, frame: jax.Array, spikes: dict[str, jax.Array]) -> dict[str, Any]:
        rows = {}
        for path, connection in connections:
            if connection.source is not None:
                sent = frame if connection.source == INPUT else spikes[connection.source]
                is_spikes = connection.source != INPUT or spikes_in
                rows[path] = _row(connection, arrays[path], sent, is_spikes)
        events = {path: _summed(s != 0, jnp.ones(s.shape[1:], int)) for path, s in spikes.items()}
        return {"wires": rows, "events": events}

    return tally


def _row(
    connection: Connection, fan_outs: tuple[jax.Array, jax.Array], sent: jax.Array, is_spikes: bool
) -> dict[str, jax.Array]:
    """Counts of one connection at one timestep, each `[B]`."""
    merged, own = fan_outs
    size = jnp.abs(sent) * is_spikes
    x = sent
    for passed in connection.between:
        x = passed.linear({}, x)
    unit = jnp.all((x == 0) | (jnp.abs(x) == 1))  # NeuroBench looks at all images of a call
    reached = _summed(x != 0, own) * (connection.layer is not None)
    return {
        "accumulates": _summed(jnp.rint(size).astype(jnp.int32), merged),
        "graded": _summed(size > 1, merged),
        "units": _summed(size == 1, merged),
        "effective_macs": reached * ~unit,
        "effective_acs": reached * unit,
    }


def _summed(values: jax.Array, each: jax.Array) -> jax.Array:
    return jnp.sum(values * each, axis=tuple(range(1, values.ndim)), dtype=jnp.int32)


def count_operations(
    found: Mapping[str, Synapses],
    simulation: Simulation,
    encoding: Encoding,
    *,
    shown_steps: int = 0,
    noisy: bool = False,
) -> dict[str, Operations]:
    """Operations for the mean image of a simulation, by path of the weights.

    Args:
      found: from `synapses.find_synapses`.
      simulation: with `record=make_observer(found, encoding)`.
      encoding: of the simulation.
      shown_steps: of the simulation; 0 for all timesteps.
      noisy: whether the images got noise, which makes every timestep's different.

    Raises:
      ValueError: if the simulation was not observed.
    """
    kept = simulation.recording
    if not isinstance(kept, dict) or set(kept) != {"wires", "events"}:
        raise ValueError(
            "the simulation has no counts; simulate with record=make_observer(found, encoding)"
        )
    steps = len(simulation.values)
    result = {}
    for path, synapses in found.items():
        rows = {
            name: float(np.asarray(row, np.int64).sum(0).mean())
            for name, row in kept["wires"].get(path, {}).items()
        }
        analog = synapses.connection.source is None or (
            synapses.connection.source == INPUT and not encoding.varies
        )
        shown = (shown_steps or steps) if synapses.connection.source == INPUT else steps
        recomputed = analog * shown * synapses.products
        once = synapses.in_stem and not encoding.varies and not noisy
        result[path] = Operations(
            **{"accumulates": 0.0, "units": 0.0, "graded": 0.0, "effective_acs": 0.0,
               "effective_macs": float(analog * shown * synapses.dense), **rows},
            macs=float(analog * synapses.products if once else recomputed),
            recomputed_macs=float(recomputed),
            dense=float(steps * synapses.dense),
        )  # fmt: skip
    return result
