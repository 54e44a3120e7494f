"""The ANN in the units of its spiking network: the firing rates that neurons approach."""

from __future__ import annotations

from typing import Any

import jax
from jax.typing import ArrayLike

from snnjax.networks.architecture import Network, activations
from snnjax.runtime.images import float_images
from snnjax.snn.engine import float32_params
from snnjax.snn.whole_numbers import is_integer

__all__ = ["firing_rates", "limit"]

Params = dict[str, Any]


def firing_rates(
    network: Network, params: Params, images: jax.Array, *, levels: ArrayLike | None = None
) -> tuple[dict[str, jax.Array], jax.Array]:
    """The ANN's activations as firing rates in spikes per timestep, by path, and logits `[B, K]`.

    Every neuron is replaced by the ANN's activation of current / v_p, which approximates its
    firing rate at constant current (eq. 12). With the default alpha, the result is the trained
    ANN up to rounding, whatever the scales, shifts, leaks and initial potentials.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      images: floats `[B, H, W, C]` or `[B, D]`.
      levels: number of steps to quantise every rate to, as in training; None leaves it smooth.

    Raises:
      ValueError: if the images are not finite floats, or do not fit the parameters.
    """
    images, params = float_images(images), float32_params(params)
    specs, found = activations(network), {}

    def fire(path: str, numbers: Params, current: jax.Array) -> jax.Array:
        found[path] = specs[path].rate(numbers, current, levels=levels)
        return found[path]

    if not is_integer(params):
        return found, network.propagate(params["layers"], params["gain"] * images, fire)
    whole = params["integer"]
    logits = network.propagate(params["layers"], whole["pixel"] * images, fire)
    return found, logits * whole["logit"]


def limit(
    network: Network, params: Params, images: jax.Array, *, levels: ArrayLike | None = None
) -> jax.Array:
    """Logits `[B, K]` that the spiking network approaches; see `firing_rates`."""
    return firing_rates(network, params, images, levels=levels)[1]
