"""Calibration of a converted network: move its mean firing rates to its ANN's activations."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.conversion.ann_outputs import BATCH_SIZE, image_batches
from snnjax.networks import architecture as arch
from snnjax.runtime.checks import check_count
from snnjax.runtime.ranges import STEPS
from snnjax.snn.encoding import CONSTANT
from snnjax.snn.engine import float32_params, neuron_params, neuron_shapes
from snnjax.snn.neurons import DOUBLE_THRESHOLD, NeuronModel
from snnjax.snn.rates import firing_rates
from snnjax.snn.simulation_arguments import check_models
from snnjax.snn.whole_numbers import is_integer

__all__ = ["CORRECTIONS", "calibrate"]

Params = dict[str, Any]

CORRECTIONS = ("shift", "potential")
"""The two quantities that can be corrected: the current of every channel at each timestep
("shift"), or the initial potential of every neuron ("potential")."""


def calibrate(
    network: arch.Network,
    params: Params,
    images: ArrayLike,
    *,
    num_steps: int,
    correction: str = "shift",
    neuron: NeuronModel = DOUBLE_THRESHOLD,
    batch_size: int = BATCH_SIZE,
    progress: bool = True,
) -> Params:
    """Return parameters whose mean firing rates on `images` match the ANN's activations.

    The error of a layer is the ANN's mean activation minus the mean firing rate, in spikes per
    timestep. "shift" adds the mean error of each channel to its current at every timestep (the
    source's light pipeline). "potential" adds `num_steps` times the mean error of each neuron to
    its initial potential (the advanced pipeline). Layers are corrected from first to last within
    one pass over the images: the error of a layer is measured with all layers before it already
    corrected. The images are constant input.

    Source: SNN calibration, Li et al. 2021, without its calibration of weights.
    Choice: corrections are averaged over batches, where the source uses a single batch. The
    ANN's activation is the smooth one.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      images: floats `[N, H, W, C]` or `[N, D]`.
      num_steps: T of the simulations that the network is calibrated for.
      correction: one of CORRECTIONS.
      neuron: the neuron model of every layer.
      batch_size: images at a time; memory grows with `num_steps * batch_size`.
      progress: show a progress bar after the first second.

    Returns:
      Parameters with the structure of `params`, where every layer of neurons has its own "shift"
      `[C]` or "initial" `[...]`.

    Raises:
      ValueError: if `num_steps` or `batch_size` is below 1, there are no images, they are not
        finite floats or do not fit the parameters, `correction` is unknown, or the network is an
        integer network.
    """
    if correction not in CORRECTIONS:
        raise ValueError(f"correction is {correction!r}; want one of {', '.join(CORRECTIONS)}")
    if is_integer(params):
        raise ValueError("params are whole numbers; calibrate them before quantise")
    num_steps = check_count("num_steps", num_steps, most=STEPS.highest)
    check_models(neuron, CONSTANT)
    mean: dict[str, Any] = dict.fromkeys(arch.activations(network), 0.0)
    batches = image_batches(
        images, name="calibrate", purpose=" to calibrate on", batch_size=batch_size,
        progress=progress,
    )  # fmt: skip
    for batch in batches:
        of_batch = _measure_corrections(
            params, batch, network=network, num_steps=num_steps, correction=correction,
            neuron=neuron,
        )  # fmt: skip
        share = len(batch) / np.shape(images)[0]
        mean = {path: mean[path] + share * of_batch[path] for path in mean}
    layers = params["layers"]
    for path, amount in mean.items():
        corrected = _add_correction(arch.inside(layers, path), amount, correction)
        layers = _replace_at(layers, path.split("/"), corrected)
    return {**params, "layers": layers}


@partial(jax.jit, static_argnames=("network", "num_steps", "correction", "neuron"))
def _measure_corrections(
    params: Params,
    images: jax.Array,
    *,
    network: arch.Network,
    num_steps: int,
    correction: str,
    neuron: NeuronModel,
) -> dict[str, jax.Array]:
    """Return the correction of each layer in units of its threshold, by path.

    The simulation is layer-major: all timesteps pass a layer as one batch, so that the layer is
    corrected before the next layer receives its spikes.
    """
    params = float32_params(params)
    neuron_shapes(network, params["layers"], images.shape[1:])  # refuses images that do not fit
    activations, _ = firing_rates(network, params, images)
    corrections: dict[str, jax.Array] = {}

    def fire(layer: Params, currents: jax.Array) -> jax.Array:
        constants = neuron_params(layer)
        return jax.lax.scan(
            lambda state, x: neuron.step(constants, state, x + layer["shift"]),
            neuron.init(constants, currents.shape[1:]),
            currents,
        )[1]

    def correct_and_fire(path: str, layer: Params, current: jax.Array) -> jax.Array:
        currents = current.reshape(num_steps, len(images), *current.shape[1:])
        error = activations[path] - jnp.mean(fire(layer, currents), 0)
        if correction == "shift":
            corrections[path] = jnp.mean(error, tuple(range(error.ndim - 1)))
        else:
            corrections[path] = jnp.mean(error, 0) * num_steps
        spikes = fire(_add_correction(layer, corrections[path], correction), currents)
        return spikes.reshape(current.shape)

    frames = jnp.tile(params["gain"] * images, (num_steps, *[1] * (images.ndim - 1)))
    network.propagate(params["layers"], frames, correct_and_fire)
    return corrections


def _add_correction(layer: Params, amount: jax.Array, correction: str) -> Params:
    """Return the parameters of a layer of neurons with `amount`, in thresholds, added."""
    if correction == "shift":
        return {**layer, "shift": layer["shift"] + amount * layer["positive"]}
    return {**layer, "initial": layer["initial"] + amount}


def _replace_at(tree: Params, path: list[str], leaf: Params) -> Params:
    """Return nested dicts with `leaf` at `path`; the given ones stay as they are."""
    name, *rest = path
    return {**tree, name: _replace_at(tree[name], rest, leaf) if rest else leaf}
