"""Penalty for the spikes of a network while it is trained as an ANN.

A neuron whose activation is a sends |a| / theta spikes per timestep, and each spike costs an
addition at every neuron that it reaches. The penalty is the share of all synapses that are in use,
which is the one of `fine_tuning` with firing rates in the place of spikes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.networks.ann import sown_activations
from snnjax.runtime.images import unit_images
from snnjax.snn.spike_counts import weigh_spikes
from snnjax.training.gradient_step import Answers, ApplyFn

__all__ = ["measure_synapses_in_use", "penalise_spikes"]

Variables = Mapping[str, Any]
Shares = Mapping[str, ArrayLike]

BATCH_SIZE = 500
"""Images at a time in `measure_synapses_in_use`."""


def penalise_spikes(
    apply: ApplyFn, network: arch.Network, shares: Shares, penalty: float
) -> ApplyFn:
    """Return `apply`, which in training returns `Answers` with the cost of its spikes.

    The cost is `penalty` times the mean over the images of sum_i share_i |a_i| / theta_i, the share
    of all synapses in use at each timestep. Both signs of an activation cost spikes.

    Source: the loss of Sorbaro et al. 2020 for synaptic operations while the ANN is trained.
    Choice: a share of all operations, without a target, so that one penalty fits all networks.

    Args:
      apply: of the module `ANN` of the network.
      network: the architecture; each activation has a theta that is fixed or learnt.
      shares: by path of the neurons, the share of all synapses that begin at each neuron, in the
        shape of the layer; they sum to 1.
      penalty: loss for a spike on every synapse at every timestep.

    Raises:
      Nothing.
    """

    def penalised(
        variables: Variables,
        x: jax.Array,
        *,
        train: bool = False,
        mutable: Any = (),
        **options: Any,
    ) -> Any:
        if not train:
            return apply(variables, x, **options)
        logits, collections = apply(
            variables, x, train=True, mutable=[*mutable, "intermediates"], **options
        )
        used = _synapses_in_use(network, variables["params"], collections, shares, len(x))
        kept = {name: of for name, of in collections.items() if name != "intermediates"}
        return Answers(logits[None], jnp.ones(1), penalty * jnp.mean(used)), kept

    return penalised


def measure_synapses_in_use(
    apply: ApplyFn,
    network: arch.Network,
    variables: Variables,
    images: np.ndarray,
    shares: Shares,
    *,
    levels: int = 0,
) -> float:
    """Share of all synapses in use, in the mean over images; see `penalise_spikes`.

    Args:
      apply: of the module `ANN` of the network.
      network: the architecture.
      variables: of the module.
      images: bytes `[N, H, W, C]` or `[N, D]`, or floats in the range of the network.
      shares: of each neuron in all synapses, by path.
      levels: quantisation levels of the activations; 0 leaves them smooth.

    Raises:
      ScopeParamShapeError: from Flax, if the images do not fit the parameters.
    """

    @partial(jax.jit, static_argnames="levels")
    def sum_of_shares(variables: Variables, images: jax.Array, levels: int | None) -> jax.Array:
        x = unit_images(images)
        _, collections = apply(variables, x, levels=levels, mutable=["intermediates"])
        return jnp.sum(_synapses_in_use(network, variables["params"], collections, shares, len(x)))

    starts = range(0, len(images), BATCH_SIZE)
    sums = (sum_of_shares(variables, images[i : i + BATCH_SIZE], levels or None) for i in starts)
    return sum(map(float, sums)) / len(images)


def _synapses_in_use(
    network: arch.Network,
    params: Variables,
    collections: Mapping[str, Any],
    shares: Shares,
    batch: int,
) -> jax.Array:
    """Sum of share_i |a_i| / theta_i over all neurons, `[B]`; activations are in `collections`."""
    specs, found = arch.activations(network), sown_activations(collections)
    rates = {}
    for path in shares:
        own = arch.inside(params, path) if specs[path].parameter_names() else {}
        rates[path] = found[path] / specs[path].learnt_theta(own, {})
    weights = {path: jnp.asarray(share, jnp.float32) for path, share in shares.items()}
    return weigh_spikes(rates, weights, batch)
