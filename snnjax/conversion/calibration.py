"""Small corrections of a converted network, by comparing it with its ANN on a few images."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.snn import spiking
from snnjax.snn.neuron import DOUBLE_THRESHOLD, NeuronModel

__all__ = ["CORRECTIONS", "calibrate"]

Params = dict[str, Any]

CORRECTIONS = ("shift", "potential")


def calibrate(
    network: arch.Network,
    params: Params,
    images: ArrayLike,
    *,
    num_steps: int,
    correct: str = "shift",
    neuron: NeuronModel = DOUBLE_THRESHOLD,
    batch_size: int = 100,
) -> Params:
    """Move the mean rate of every neuron, or channel, to that of the ANN, layer after layer.

    "shift" adds what the rates of a channel miss on average to the current of that channel
    at every timestep (the light pipeline). "potential" adds what a neuron's rate misses,
    `num_steps` times, to its initial potential (the advanced one). Each layer is corrected
    with the layers before it corrected already, in one pass over the images, under
    constant input.

    Source: SNN calibration, Li et al. 2021, without the calibration of weights.
    Choice: corrections are averaged over batches; the source looks at one batch. The mean
    of the ANN is that of the smooth activation.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      images: floats `[N, H, W, C]`.
      num_steps: T that the network will run for.
      correct: one of CORRECTIONS.
      neuron: the neuron of every layer.
      batch_size: images at a time; memory grows with `num_steps` times this.

    Returns:
      Parameters of the same kind, with a "shift" `[C]` or an "initial" `[...]` of its own in
      each layer of neurons.

    Raises:
      ValueError: if `num_steps` or `batch_size` is below 1, there are no images, or `correct`
        is not known.
    """
    images = np.asarray(images)
    if correct not in CORRECTIONS:
        raise ValueError(f"correct is {correct!r}; want one of {', '.join(CORRECTIONS)}")
    if num_steps < 1 or batch_size < 1:
        raise ValueError(
            f"num_steps is {num_steps} and batch_size {batch_size}; want at least 1 of each"
        )
    if not len(images):
        raise ValueError("there are no images to calibrate on; want at least one")
    total: dict[str, Any] = dict.fromkeys(arch.activations(network), 0.0)
    for x in np.array_split(images, math.ceil(len(images) / batch_size)):
        misses = _misses(
            params, x, network=network, num_steps=num_steps, correct=correct, neuron=neuron
        )
        total = {path: total[path] + len(x) / len(images) * misses[path] for path in total}
    layers = params["layers"]
    for path, missing in total.items():
        moved = _moved(spiking.inside(layers, path), missing, correct)
        layers = _with(layers, path.split("/"), moved)
    return {**params, "layers": layers}


@partial(jax.jit, static_argnames=("network", "num_steps", "correct", "neuron"))
def _misses(
    params: Params,
    images: jax.Array,
    *,
    network: arch.Network,
    num_steps: int,
    correct: str,
    neuron: NeuronModel,
) -> dict[str, jax.Array]:
    """What each layer misses on average, by path.

    All timesteps of a layer pass as one batch, so that a layer can be corrected before the
    next one listens to it.
    """
    wanted, _ = spiking.rates(network, params, images)
    misses: dict[str, jax.Array] = {}

    def run(numbers: Params, currents: jax.Array) -> jax.Array:
        own = spiking.neuron_params(numbers)
        return jax.lax.scan(
            lambda state, x: neuron.step(own, state, x + numbers["shift"]),
            neuron.init(own, currents.shape[1:]),
            currents,
        )[1]

    def listen(path: str, state: Any, current: jax.Array) -> tuple[Any, jax.Array]:
        currents = current.reshape(num_steps, len(images), *current.shape[1:])
        numbers = spiking.inside(params["layers"], path)
        missing = wanted[path] - jnp.mean(run(numbers, currents), 0)
        axes = tuple(range(missing.ndim - 1)) if correct == "shift" else 0
        misses[path] = jnp.mean(missing, axes) * (1 if correct == "shift" else num_steps)
        spikes = run(_moved(numbers, misses[path], correct), currents)
        return state, spikes.reshape(current.shape)

    frames = jnp.tile(params["gain"] * images, (num_steps, 1, 1, 1))
    spiking.propagate(network.layers, params["layers"], {}, frames, "", listen)
    return misses


def _moved(numbers: Params, missing: jax.Array, correct: str) -> Params:
    """The numbers of a layer after a correction in spikes."""
    if correct == "shift":
        return {**numbers, "shift": numbers["shift"] + missing * numbers["positive"]}
    return {**numbers, "initial": numbers["initial"] + missing}


def _with(tree: Params, path: list[str], leaf: Params) -> Params:
    name, *rest = path
    return {**tree, name: _with(tree[name], rest, leaf) if rest else leaf}
