"""Fine-tuning of a converted network's weights: through its simulation, or as its quantised ANN.

Either way the network takes the place of a Flax module's `apply` in `fitting.fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.networks.layers import Weights
from snnjax.snn.encoding import Encoding
from snnjax.snn.engine import Observer, with_leaks
from snnjax.snn.neurons import NeuronModel
from snnjax.snn.rates import firing_rates
from snnjax.snn.simulation import simulate
from snnjax.snn.spike_counts import weigh_spikes
from snnjax.snn.surrogates import Surrogate
from snnjax.training.gradient_step import Answers

__all__ = ["FineTuned", "ThroughTime", "merge_weights", "quantised_twin", "split_weights"]

Params = dict[str, Any]


def split_weights(
    network: arch.Network, params: Params, shares: Mapping[str, ArrayLike]
) -> dict[str, Any]:
    """Return variables for `fitting.fit`: "params", the weights and biases, and what stays.

    Thresholds stay, because a threshold and the weights in front of it have one scale together.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      shares: by path of the neurons, the share of all synapses that begin at each neuron, in the
        shape of the layer; they sum to 1.

    Raises:
      Nothing.
    """
    weights: Params = {}
    for path, layer in arch.walk(network.layers):
        if isinstance(layer, Weights):
            own = arch.inside(params["layers"], path)
            weights[_key(path)] = {name: own[name] for name in layer.parameter_names() & set(own)}
    kept = {_key(path): jnp.asarray(share, jnp.float32) for path, share in shares.items()}
    return {"params": weights, "converted": _without_none(params), "shares": kept}


def _without_none(tree: Params) -> Params:
    """Entries that are arrays, as a file of the progress holds; `with_leaks` adds the others."""
    return {
        name: _without_none(of) if isinstance(of, dict) else of
        for name, of in tree.items()
        if of is not None
    }


def merge_weights(variables: Mapping[str, Any]) -> Params:
    """Return the converted parameters with the weights of "params"; see `split_weights`."""
    converted = variables["converted"]
    layers = with_leaks(converted["layers"])
    for key, weights in variables["params"].items():
        layers = _replaced(layers, key.split("."), weights)
    return {**converted, "layers": layers}


def _key(path: str) -> str:
    """Path without "/", which a file would read as a nested entry."""
    return path.replace("/", ".")


def _replaced(layers: Params, names: list[str], arrays: Params) -> Params:
    first, *rest = names
    inner = _replaced(layers[first], rest, arrays) if rest else {**layers[first], **arrays}
    return {**layers, first: inner}


Run = Callable[..., tuple[jax.Array, Any]]
"""run(network, params, x, levels=, key=, train=, observe=) -> values `[n, B, K]`, and what
`observe(frame, spikes)` returns for each of the n answers, or None without it."""


@dataclass(frozen=True)
class ThroughTime:
    """A run of a network as its simulation, with one answer after each timestep; hashable.

    num_steps, neuron, encoding, surrogate: of the simulation.
    """

    num_steps: int
    neuron: NeuronModel
    encoding: Encoding
    surrogate: Surrogate

    def __call__(
        self,
        network: arch.Network,
        params: Params,
        x: jax.Array,
        *,
        levels: ArrayLike | None,
        key: jax.Array,
        train: bool,
        observe: Observer | None,
    ) -> tuple[jax.Array, Any]:
        """Simulate; see `Run`.

        Raises:
          ValueError: as `simulate`.
        """
        del levels
        found = simulate(
            network, params, x, num_steps=self.num_steps, neuron=self.neuron,
            encoding=self.encoding, key=key, surrogate=self.surrogate if train else None,
            record=observe or False,
        )  # fmt: skip
        return found.values, found.recording


def quantised_twin(
    network: arch.Network,
    params: Params,
    x: jax.Array,
    *,
    levels: ArrayLike | None,
    key: jax.Array,
    train: bool,
    observe: Observer | None,
) -> tuple[jax.Array, Any]:
    """Run a network as its quantised ANN, with one answer; see `Run`.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      x: images `[B, ...]`.
      levels: of the activations; None for smooth ones.
      key: without effect.
      train: without effect.
      observe: applied to the images and the firing rates; None for nothing.

    Raises:
      ValueError: as `firing_rates`.
    """
    del key, train
    rates, logits = firing_rates(network, params, x, levels=levels)
    return logits[None], None if observe is None else observe(x, rates)


@dataclass(frozen=True)
class FineTuned:
    """A converted network in the place of a Flax module's `apply`; hashable, a static argument.

    network: the architecture; run: how its answers are computed; weights: of the answers in the
    loss, `[n]`; penalty: loss for all synapses active at all timesteps.
    """

    network: arch.Network
    run: Run
    weights: tuple[float, ...] = (1.0,)
    penalty: float = 0.0

    def __call__(
        self,
        variables: Mapping[str, Any],
        x: jax.Array,
        *,
        levels: ArrayLike | None = None,
        train: bool = False,
        rngs: Mapping[str, jax.Array] | None = None,
        mutable: Any = None,
    ) -> Any:
        """Last values `[B, K]`; in training, `Answers` and the variables that are no weights.

        Args:
          variables: from `split_weights`.
          x: images `[B, ...]`.
          levels: of the activations of an ANN.
          train: True for answers with gradients.
          rngs: "dropout", the key of an encoding.
          mutable: without effect.

        Raises:
          ValueError: as `run`.
        """
        del mutable
        penalised = train and self.penalty > 0
        values, shares = self.run(
            self.network, merge_weights(variables), x, levels=levels, train=train,
            key=rngs["dropout"] if rngs else jax.random.key(0),
            observe=Observer(_share_of_synapses, variables["shares"]) if penalised else None,
        )  # fmt: skip
        if not train:
            return values[-1]
        cost = self.penalty * jnp.mean(shares) if penalised else jnp.float32(0)
        answers = Answers(values, jnp.asarray(self.weights), cost)
        return answers, {name: of for name, of in variables.items() if name != "params"}


def _share_of_synapses(
    shares: Mapping[str, jax.Array], frame: jax.Array, spikes: Mapping[str, jax.Array]
) -> jax.Array:
    """Share of all synapses that a timestep uses, `[B]`; an observer of a simulation."""
    return weigh_spikes(spikes, {path: shares[_key(path)] for path in spikes}, len(frame))
