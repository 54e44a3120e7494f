"""Accuracy and energy of a spiking network after every timestep and with early exit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.analysis.energy import compare, integer_costs
from snnjax.analysis.memory_traffic import Contents, Widths, spiking_traffic
from snnjax.analysis.quantised_ann import PIXEL_BITS
from snnjax.analysis.synapses import Synapses
from snnjax.analysis.synaptic_operations import Operations, count_operations
from snnjax.snn.answers import classify
from snnjax.snn.early_exit import margins
from snnjax.snn.encoding import Encoding
from snnjax.snn.simulation import Simulation

__all__ = ["Counted", "Point", "find_exits", "measure_point", "shown_timesteps"]


class Counted(NamedTuple):
    """A simulation whose operations were counted for each image and timestep.

    found: synapses by path.
    simulation: with NumPy arrays, for N images.
    labels: `[N]`.
    encoding: of the images; shown_steps: as in `simulate`.
    """

    found: Mapping[str, Synapses]
    simulation: Simulation
    labels: np.ndarray
    encoding: Encoding
    shown_steps: int = 0

    def operations(self, t: int, images: Any = slice(None)) -> dict[str, Operations]:
        """Return the mean operations of some images in their first t timesteps."""
        recording = jax.tree.map(lambda of: of[:t, images], self.simulation.recording)
        part = self.simulation._replace(values=self.simulation.values[:t], recording=recording)
        shown = min(self.shown_steps, t)
        return count_operations(self.found, part, self.encoding, shown_steps=shown)

    def spikes(self, t: int, images: Any = slice(None)) -> float:
        """Return the mean spikes of some images in their first t timesteps, a graded one once."""
        events = self.simulation.recording["events"].values()
        return float(sum(of[:t, images].sum(0, np.int64).mean() for of in events))


class Point(NamedTuple):
    """Accuracy and energy of a spiking network for one image.

    steps: timesteps, or their mean with early exit.
    accuracy: share of correct answers.
    accumulates: additions for spikes in these timesteps.
    spikes: of all neurons.
    operations_nj: energy of the operations; memory_nj: energy of them and of memory accesses.
    """

    steps: float
    accuracy: float
    accumulates: float
    spikes: float
    operations_nj: float
    memory_nj: float


def shown_timesteps(first: int, num_steps: int) -> list[int]:
    """Return the timesteps of a table: 1, 2, 3, 4, 6, 8, 12, 16, ... and the last.

    Args:
      first: the first timestep with an answer.
      num_steps: the last timestep.
    """
    powers = [2**k for k in range(num_steps.bit_length())]
    steps = {t for p in powers for t in (p, p + p // 2) if first <= t < num_steps}
    return sorted({*steps, num_steps})


def find_exits(values: ArrayLike, margin: float, *, before: int = 0) -> np.ndarray:
    """Return the timestep at which each image stops, as in `simulate_until`, `[N]`.

    Args:
      values: `[T, N, K]`, after every timestep.
      margin: exit threshold.
      before: number of pre-steps, in which no image stops.
    """
    stops = np.asarray(margins(jnp.asarray(values))) >= np.float32(margin)
    stops[:before], stops[-1] = False, True
    return 1 + stops.argmax(0)


def measure_point(
    counted: Counted, exits: np.ndarray, contents: Contents, *, weight_bits: int, sum_bits: int
) -> Point:
    """Return accuracy and energy if each image stops at a timestep of its own.

    Args:
      counted: the simulation.
      exits: timestep at which each image stops, `[N]`.
      contents: of the network.
      weight_bits: of the weights, sign included.
      sum_bits: of the sums and potentials, sign included.

    Raises:
      ValueError: if a number of bits is below 1.
    """
    values, count = counted.simulation.values, len(exits)
    last = int(exits.max())
    costs = integer_costs(last, weight_bits, sum_bits)
    widths = Widths(weight_bits, sum_bits, PIXEL_BITS, sum_bits)
    sums = np.zeros(4)  # accumulates, spikes, energy of operations, energy of memory accesses
    for t in np.unique(exits):
        images = np.flatnonzero(exits == t)
        rows, spikes = counted.operations(t, images), counted.spikes(t, images)
        own = compare(counted.found, rows, costs, num_steps=t).snn
        traffic = spiking_traffic(
            counted.found, rows, contents, widths, spikes=spikes, steps=float(t)
        )
        added = sum(row.accumulates for row in rows.values())
        sums += len(images) * np.array([added, spikes, own, traffic])
    added, spikes, own, traffic = (sums / count).tolist()
    answers = np.asarray(classify(values))[exits - 1, np.arange(count)]
    right = float(np.mean(answers == counted.labels))
    return Point(float(exits.mean()), right, added, spikes, own, own + traffic)
