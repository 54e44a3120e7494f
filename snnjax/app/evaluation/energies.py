"""Energy of a spiking network at each T and with early exit, beside its ANN and quantised ANNs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from snnjax.analysis.energy import FLOAT32, activation_bits, compare
from snnjax.analysis.energy_by_time import Counted, Point, measure_point, shown_timesteps
from snnjax.analysis.memory_traffic import SRAM, Contents, Widths, ann_traffic
from snnjax.analysis.quantised_ann import MeasuredANN, quantised_energy
from snnjax.app.evaluation.accuracy import WITHIN
from snnjax.snn.whole_numbers import sum_bits

__all__ = ["MEASURES", "Bits", "compare_energies", "compare_with_cheapest"]

Params = dict[str, Any]

MEASURES = {"operations": "operations_nj", "memory": "memory_nj"}
"""Entry of a record with an energy, by what is counted: operations, or memory accesses too."""

FLOATS = Widths(32, 32, 32, 32)
"""Bits of the numbers of an ANN in 32-bit floats."""

MEMORY_MODEL = "Lemaire et al. 2022, arXiv 2210.13107; SRAM of Horowitz 2014, 45 nm"


class Bits(NamedTuple):
    """Bits of the weights and sums of a network in integer arithmetic.

    weights: sign included; params: of an integer network, which decide the bits of sums; of other
    networks None, and sums have 32 bits.
    """

    weights: int = 8
    params: Params | None = None

    def at(self, num_steps: int) -> dict[str, int]:
        """Return the bits for sums of T timesteps, or of an activation of as many levels."""
        sums = sum_bits(self.params, num_steps).values() if self.params else (32,)
        return {"weight_bits": self.weights, "sum_bits": max(sums)}


def compare_energies(
    counted: Counted,
    contents: Contents,
    bits: Bits,
    *,
    ann: MeasuredANN,
    quantised: Sequence[MeasuredANN],
    first: int,
    exits: np.ndarray | None,
) -> dict[str, Any]:
    """Return the rows of all T and of early exit, of the ANN, and of the quantised ANNs.

    A quantised ANN is as accurate as the spiking network if it is at most WITHIN below. Of those
    the cheapest is compared with, in operations and with memory apart.

    Args:
      counted: the simulation.
      contents: of the network.
      bits: of the spiking network and of the quantised ANNs; the ANN computes in 32-bit floats.
      ann: the ANN as it was trained.
      quantised: ANNs with quantised activations.
      first: the first timestep with an answer.
      exits: timestep at which each image stops early, `[N]`; None without early exit.

    Raises:
      ValueError: if a number of bits is below 1.
    """
    num_steps, count = len(counted.simulation.values), len(counted.labels)
    dense = {path: float(bundle.dense) for path, bundle in counted.found.items()}
    whole = compare(counted.found, counted.operations(num_steps), FLOAT32, num_steps=num_steps).ann
    own = {
        "levels": ann.levels,
        "accuracy": ann.accuracy,
        "products": sum(dense.values()),
        "operations_nj": whole,
        "memory_nj": whole + ann_traffic(counted.found, dense, contents, FLOATS),
    }
    rivals = [_quantised(counted, contents, each, bits, dense) for each in quantised]

    def row(point: Point, widths: Mapping[str, int]) -> dict[str, Any]:
        of = point._asdict()
        to_ann = {name: of[key] / own[key] for name, key in MEASURES.items()}
        to_rival = {name: compare_with_cheapest(of, rivals, key) for name, key in MEASURES.items()}
        return {**of, **widths, "to_ann": to_ann, "to_quantised_ann": to_rival}

    rows = []
    for t in shown_timesteps(first, num_steps):
        point = measure_point(counted, np.full(count, t), contents, **bits.at(t))
        rows.append(row(point._replace(steps=t), bits.at(t)))
    early = None
    if exits is not None:
        widths = bits.at(num_steps)
        early = row(measure_point(counted, exits, contents, **widths), widths)
    return {
        "timesteps": rows,
        "early_exit": early,
        "ann": own,
        "quantised_ann": rivals,
        "memory_model": {"source": MEMORY_MODEL, "sram_pj_per_64_bits": SRAM},
    }


def _quantised(
    counted: Counted,
    contents: Contents,
    measured: MeasuredANN,
    bits: Bits,
    dense: Mapping[str, float],
) -> dict[str, Any]:
    """Row of a quantised ANN that skips activations of 0, with the figures without skipping."""
    levels, widths = measured.levels or 1, bits.at(measured.levels or 1)
    energies = [
        quantised_energy(counted.found, products, contents, levels=levels, **widths)
        for products in (measured.products, dense)
    ]
    (own, all_own), (whole, all_whole) = energies
    return {
        "levels": levels,
        "activation_bits": activation_bits(levels),
        **widths,
        "accuracy": measured.accuracy,
        "products": sum(measured.products.values()),
        "operations_nj": own,
        "memory_nj": all_own,
        "without_skipping": {
            "products": sum(dense.values()), "operations_nj": whole, "memory_nj": all_whole,
        },
    }  # fmt: skip


def compare_with_cheapest(
    point: Mapping[str, Any], rivals: Sequence[Mapping[str, Any]], key: str
) -> dict[str, Any] | None:
    """Return "levels" of the cheapest ANN as accurate as a point, and "ratio" to its energy.

    An ANN is as accurate if it is at most WITHIN below.

    Args:
      point: with its accuracy and energies.
      rivals: ANNs with theirs.
      key: of the energy that is compared.

    Returns:
      None if no ANN is as accurate.

    Raises:
      Nothing.
    """
    good = [r for r in rivals if r["accuracy"] >= point["accuracy"] - WITHIN - 1e-9]
    if not good:
        return None
    best = min(good, key=lambda r: float(r[key]))
    return {"levels": best["levels"], "ratio": point[key] / best[key]}
