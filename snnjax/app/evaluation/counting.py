"""Simulations that count each image's operations, and the timesteps at which images stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from snnjax.analysis.energy_by_time import Counted, find_exits
from snnjax.analysis.silent_channels import beside_channels
from snnjax.analysis.synapses import Synapses
from snnjax.analysis.synaptic_operations import make_observer
from snnjax.app.configurations import SimulateConfig
from snnjax.io import datasets
from snnjax.networks import architecture as arch
from snnjax.runtime.images import unit_images
from snnjax.snn.early_exit import choose_margin
from snnjax.snn.simulation import count_pre_steps, simulate

__all__ = ["TOLERANCE", "CountingRun", "find_early_exits"]

Params = dict[str, Any]

TOLERANCE = 0.001
"""Share of the validation images that early exit may lose, where no option says otherwise."""


class CountingRun(NamedTuple):
    """A simulation that counts operations.

    found: synapses; config: how to simulate; batch_size: images at a time.
    """

    network: arch.Network
    params: Params
    found: Mapping[str, Synapses]
    config: SimulateConfig
    batch_size: int

    @property
    def before(self) -> int:
        """Number of pre-steps, which give no answer."""
        how = self.config.arguments
        return count_pre_steps(self.network, how["neuron"], how["pre_steps"], how["num_steps"])

    def count_split(
        self, split: datasets.Split, key: jax.Array
    ) -> tuple[Counted, dict[str, np.ndarray]]:
        """Simulate all images of a split batch by batch, and keep each image's counts.

        Args:
          split: the images.
          key: of random input spikes.

        Returns:
          The simulation; and channels that fired in an image, bools `[N, C]` by path.

        Raises:
          ValueError: as `simulate`.
        """
        how, parts = self.config.arguments, []
        watch = beside_channels(make_observer(self.found, how["encoding"]))
        for first in range(0, len(split.images), self.batch_size):
            images = unit_images(split.images[first : first + self.batch_size])
            result = simulate(
                self.network, self.params, images, key=key, first=first, record=watch, **how
            )
            kept = jax.device_get(result.recording)
            fired = jax.tree.map(lambda of: of.any(0)[None], kept["fired"])
            parts.append((np.asarray(result.values), kept["counts"], fired))
        values, counts, fired = jax.tree.map(lambda *of: np.concatenate(of, 1), *parts)
        whole = result._replace(values=values, recording=counts)
        labels = np.asarray(split.labels)
        counted = Counted(self.found, whole, labels, how["encoding"], how["shown_steps"])
        return counted, {path: of[0] for path, of in fired.items()}


def find_early_exits(
    run: CountingRun, counted: Counted, held: Counted | None
) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Return the timestep at which each image stops `[N]`, and how the margin was found.

    Args:
      run: with the options of early exit; without any, TOLERANCE may be lost.
      counted: the images to stop.
      held: other images, to calibrate the margin on; None if it is given or there are none.

    Returns:
      None and an empty dict if there is no margin, or one timestep only.

    Raises:
      ValueError: as `choose_margin`.
    """
    margin, before = run.config.exit_margin, run.before
    values, found = counted.simulation.values, dict[str, Any]()
    if len(values) - before < 2 or (margin is None and held is None):
        return None, {}
    if margin is None and held is not None:
        tolerance = run.config.exit_tolerance
        tolerance = TOLERANCE if tolerance is None else tolerance
        chosen = choose_margin(
            held.simulation.values, held.labels, tolerance=tolerance, before=before
        )
        margin = chosen.margin
        found = {"tolerance": tolerance, "images": len(held.labels), **chosen._asdict()}
    return find_exits(values, float(margin or 0), before=before), {"margin": margin, **found}
