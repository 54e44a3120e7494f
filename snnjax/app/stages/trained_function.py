"""Function that a training fits: an ANN, with rounded weights and a spike penalty if wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.analysis.synapses import find_synapses, share_synapses
from snnjax.app.configurations import TrainConfig
from snnjax.conversion.conversion import convert
from snnjax.conversion.rounded_weights import round_weights
from snnjax.networks import architecture as arch
from snnjax.training.spike_penalty import measure_synapses_in_use, penalise_spikes

__all__ = ["TrainedFunction", "make_trained_function", "record_synapses_in_use"]

Variables = dict[str, Any]


class TrainedFunction(NamedTuple):
    """Function that a training fits, and what its options need.

    apply: in the place of the module's `apply`.
    rounded: maps variables to those with which it computes.
    shares: of each neuron in all synapses, by path; empty without a spike penalty.
    """

    apply: Callable[..., Any]
    rounded: Callable[[Variables], Variables]
    shares: Mapping[str, np.ndarray]


def make_trained_function(
    config: TrainConfig,
    network: arch.Network,
    apply: Callable[..., Any],
    variables: Variables,
    image_shape: tuple[int, ...],
) -> TrainedFunction:
    """Return the function for `fitting.fit`; without options, `apply` itself.

    Args:
      config: the options of the training.
      network: its architecture.
      apply: of the module `ANN` of the network.
      variables: of the module, for their shapes.
      image_shape: `(H, W, C)`.

    Raises:
      ValueError: as `round_weights` and `find_synapses`.
    """
    shares = {}
    if config.spike_penalty:
        shares = _share_all_synapses(network, variables, image_shape)
        apply = penalise_spikes(apply, network, shares, config.spike_penalty)
    if not config.weight_bits:
        return TrainedFunction(apply, lambda variables: variables, shares)
    rounded = jax.jit(partial(round_weights, network, bits=config.weight_bits))
    return TrainedFunction(_apply_behind(rounded, apply), rounded, shares)


def record_synapses_in_use(
    config: TrainConfig,
    function: TrainedFunction,
    apply: Callable[..., Any],
    variables: Variables,
    images: np.ndarray,
) -> dict[str, Any]:
    """Return the entry "synapses_in_use" of the record; none without a spike penalty.

    Args:
      config: the options of the training.
      function: what was trained.
      apply: of the module.
      variables: after the training, rounded if it rounds.
      images: to measure on, bytes `[N, H, W, C]`.

    Raises:
      Nothing.
    """
    if not config.spike_penalty:
        return {}
    measure = partial(
        measure_synapses_in_use, apply, config.architecture(), variables, images, function.shares
    )
    found = {"trained": measure(levels=config.finest_levels), "smooth": measure()}
    return {"synapses_in_use": found}


def _share_all_synapses(
    network: arch.Network, variables: Variables, image_shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Share of each neuron in all synapses; a weight is one also while it is 0."""
    ones = jax.tree.map(jnp.ones_like, variables)
    params = jax.jit(partial(convert, network))(ones)
    return share_synapses(find_synapses(network, params, image_shape))


def _apply_behind(change: Callable[[Any], Any], apply: Callable[..., Any]) -> Callable[..., Any]:
    """`apply` on variables that `change` changes first."""

    def changed(variables: Variables, *arguments: Any, **options: Any) -> Any:
        return apply(change(variables), *arguments, **options)

    return changed
