"""Fine-tuning of a converted network's weights: through its simulation, or as its quantised ANN.

Both forms of the network take the place of a Flax module's `apply` in `fitting.fit`.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from snnjax.snn.surrogates import Surrogate
from snnjax.training.gradient_step import Answers

__all__ = ["QuantisedTwin", "ThroughTime", "merge_weights", "split_weights"]

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
    return {"params": weights, "converted": params, "shares": kept}


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


@dataclass(frozen=True)
class ThroughTime:
    """A network as its simulation; hashable, a static argument of `train_step`.

    network, num_steps, neuron, encoding, surrogate: of the simulation; weights: of the answers
    after each timestep in the loss, `[T]`; penalty: loss for all synapses active at all timesteps.
    """

    network: arch.Network
    num_steps: int
    neuron: NeuronModel
    encoding: Encoding
    surrogate: Surrogate
    weights: tuple[float, ...]
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
        """Values after the last timestep; in training, those of all timesteps and the statistics.

        Args:
          variables: from `split_weights`.
          x: images `[B, ...]`.
          levels: without effect.
          train: True for answers and gradients.
          rngs: "dropout", the key of the encoding.
          mutable: without effect.

        Raises:
          ValueError: as `simulate`.
        """
        del levels, mutable
        found = simulate(
            self.network, merge_weights(variables), x, num_steps=self.num_steps,
            neuron=self.neuron, encoding=self.encoding,
            key=rngs["dropout"] if rngs else jax.random.key(0),
            surrogate=self.surrogate if train else None,
            record=Observer(_share_of_synapses, variables["shares"]) if self.penalty else False,
        )  # fmt: skip
        if not train:
            return found.values[-1]
        share = jnp.mean(found.recording) if self.penalty else jnp.float32(0)
        answers = Answers(found.values, jnp.asarray(self.weights), self.penalty * share)
        return answers, {name: of for name, of in variables.items() if name != "params"}


@dataclass(frozen=True)
class QuantisedTwin:
    """The quantised ANN of a converted network, with its parameters; hashable like `ThroughTime`.

    penalty: loss for all synapses active at all timesteps.
    """

    network: arch.Network
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
        """Logits; in training, answers and statistics. Arguments as in `ThroughTime`.

        Raises:
          ValueError: as `firing_rates`.
        """
        del rngs, mutable
        rates, logits = firing_rates(self.network, merge_weights(variables), x, levels=levels)
        if not train:
            return logits
        share = jnp.mean(_share_of_synapses(variables["shares"], x, rates))
        answers = Answers(logits[None], jnp.ones(1), self.penalty * share)
        return answers, {name: of for name, of in variables.items() if name != "params"}


def _share_of_synapses(
    shares: Mapping[str, jax.Array], frame: jax.Array, spikes: Mapping[str, jax.Array]
) -> jax.Array:
    """Share of all synapses that a timestep uses, `[B]`; an observer of a simulation."""
    total = jnp.zeros(len(frame))
    for path, sent in spikes.items():
        used = jnp.abs(sent) * shares[_key(path)]
        total += jnp.sum(used, axis=tuple(range(1, used.ndim)))
    return total
