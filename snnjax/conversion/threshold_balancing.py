"""Threshold balancing: rules that choose the scale of each layer.

The scale of a layer of neurons is the activation that a firing rate of one spike per timestep
represents. A rule is a pure function `rule(network, variables, images) -> {path: scale}`, whose
result is the `scales` argument of `conversion.convert`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.conversion import ann_outputs
from snnjax.conversion.ann_outputs import BATCH_SIZE, largest_values, percentiles
from snnjax.conversion.folding import fold
from snnjax.networks import architecture as arch
from snnjax.networks.parameters import check_layered, check_variables
from snnjax.runtime.checks import check_count, check_single, check_value
from snnjax.runtime.ranges import STEPS

__all__ = [
    "BALANCING_RULES",
    "check_rule",
    "data_norm",
    "least_error",
    "measure_output_scale",
    "measure_scales",
    "model_norm",
    "unit_scales",
]

Variables = Mapping[str, Any]
Scales = dict[str, Any]
Rule = Callable[..., Scales]


def measure_scales(
    network: arch.Network,
    variables: Variables,
    images: ArrayLike,
    *,
    percentile: float = 100.0,
    batch_size: int = BATCH_SIZE,
    progress: bool = True,
) -> Scales:
    """Return the largest output of each activation on `images`, by path.

    With a percentile below 100, return that percentile of the outputs instead. It is exact, and
    takes a second pass over the images. Memory does not grow with the number of images.

    Source: He et al. 2024, max_l of eq. 9; Rueckauer et al. 2017 for the percentile of the
    outputs above zero.
    Choice: magnitudes of all outputs that are not zero, since outputs have two signs. A channel
    with a learnt theta below the scale has theta as its scale; otherwise its firing rate could
    exceed the ANN's bound.

    Args:
      network: the architecture.
      variables: trained parameters and statistics of the ANN.
      images: floats `[N, H, W, C]` or `[N, D]`.
      percentile: percentile of the magnitudes, in (0, 100]; 100 is the maximum.
      batch_size: images at a time.
      progress: show a progress bar after the first second.

    Raises:
      ValueError: if `percentile` is outside (0, 100], network, parameters or images are not what
        they should be or do not fit each other, or an activation is zero on all images.
    """
    check_single("percentile", percentile)
    check_value("percentile", percentile, lambda x: (x > 0) & (x <= 100), "it in (0, 100]")
    start = partial(
        ann_outputs.activation_batches, network, variables, images,
        name="scales", batch_size=batch_size, progress=progress,
    )  # fmt: skip
    whole = percentile == 100
    scales: Scales = largest_values(start(), np.abs) if whole else percentiles(start, percentile)
    known = arch.activations(network)
    for path in scales:
        _check_active(path, scales[path])
        if known[path].learn == "channel":
            theta = known[path].learnt_theta(arch.inside(variables["params"], path), {})
            scales[path] = np.minimum(scales[path], theta)
    return scales


def _check_active(path: str, largest: float) -> None:
    if largest == 0:
        raise ValueError(f"activation {path} is zero on every image; it has no scale")


def measure_output_scale(
    network: arch.Network,
    variables: Variables,
    images: ArrayLike,
    *,
    batch_size: int = BATCH_SIZE,
    progress: bool = True,
) -> float:
    """Return the largest magnitude of a logit on `images`.

    It is the `output_scale` of `conversion.convert`, which the spike-count readout needs.

    Args:
      network: the architecture.
      variables: trained parameters and statistics of the ANN.
      images: floats `[N, H, W, C]` or `[N, D]`.
      batch_size: images at a time.
      progress: show a progress bar after the first second.

    Raises:
      ValueError: if there are no images, or they are not finite floats or do not fit the
        parameters.
    """
    batches = ann_outputs.logit_batches(
        network, variables, images, name="output scale", batch_size=batch_size, progress=progress
    )
    return largest_values(({"": logits} for logits in batches), np.abs)[""]


def model_norm(
    network: arch.Network, variables: Variables, images: ArrayLike | None = None
) -> Scales:
    """Return the largest activation that an image in [0, 1] could cause, from the weights alone.

    S_l = max_i (S_(l-1) sum_j max(0, W_ij) + max(0, b_i)), with S_0 = 1.

    Source: ModelNorm of Diehl et al. 2015, whose networks have no biases; there W_l is
    divided by max_i sum_j max(0, W_ij), which is S_l / S_(l-1).
    Choice: a bias counts as an input that is always on.

    Args:
      network: a chain of layers.
      variables: trained parameters and statistics of the ANN.
      images: unused; the argument gives all rules one signature.

    Raises:
      ValueError: if the network has a residual block.
    """
    del images
    scales: Scales = {}
    largest = 1.0
    for name, layer, params in _folded_chain(network, variables, "model_norm"):
        if isinstance(layer, arch.Activation):
            scales[name] = largest
        elif params:
            kernel = np.asarray(params["kernel"])
            sums = np.maximum(kernel, 0).sum(tuple(range(kernel.ndim - 1)))
            largest = float(np.max(largest * sums + np.maximum(params.get("bias", 0.0), 0)))
    return scales


def data_norm(
    network: arch.Network,
    variables: Variables,
    images: ArrayLike,
    *,
    batch_size: int = BATCH_SIZE,
    progress: bool = True,
) -> Scales:
    """Return the larger of each layer's largest weight and its largest activation on `images`.

    Source: DataNorm of Diehl et al. 2015.
    Choice: W_l is multiplied by scale_(l-1) / scale_l for any number of layers. The published
    code divides each layer by the ratio applied to the layer before it instead of that layer's
    scale, which is correct for two layers only.

    Args:
      network: a chain of layers.
      variables: trained parameters and statistics of the ANN.
      images: floats `[N, H, W, C]` or `[N, D]`.
      batch_size: images at a time.
      progress: show a progress bar after the first second.

    Raises:
      ValueError: if the network has a residual block, or as in `measure_scales`.
    """
    scales = measure_scales(network, variables, images, batch_size=batch_size, progress=progress)
    weight = 0.0
    for name, layer, params in _folded_chain(network, variables, "data_norm"):
        if isinstance(layer, arch.Activation):
            scales[name] = max(scales[name], weight)
        elif params:
            weight = float(np.max(params["kernel"]))
    return scales


def _folded_chain(
    network: arch.Network, variables: Variables, rule: str
) -> list[tuple[str, arch.Layer, Mapping[str, Any]]]:
    """Return name, layer and folded parameters of each layer; raise if the network branches."""
    check_variables(network, variables)
    check_rule(rule, network)
    statistics = variables.get("batch_stats", {})
    folded = fold(network.layers, variables["params"], statistics)
    return [(name, layer, folded.get(name, {})) for name, layer in arch.named(network.layers)]


def unit_scales(
    network: arch.Network, variables: Variables, images: ArrayLike | None = None
) -> Scales:
    """Return a scale of 1 for each activation, with which conversion keeps the weights.

    Source: Cao et al. 2015.
    """
    del variables, images
    check_layered(network)
    return dict.fromkeys(arch.activations(network), 1.0)


def least_error(
    network: arch.Network,
    variables: Variables,
    images: ArrayLike,
    *,
    num_steps: int,
    batch_size: int = BATCH_SIZE,
    progress: bool = True,
) -> Scales:
    """Return the scale of each layer that minimises its clipping and quantisation error at T.

    The scale V has the least mean squared error of clip(floor(a T / V), 0, T) V / T from the
    activations a, among 95 values from the largest activation down to 6 % of it. Two passes over
    the images, one for the largest activation; memory does not grow with their number.

    Source: threshold search of SNN calibration, Li et al. 2021.
    Choice: one search over all images, where the source averages over batches.

    Args:
      network: the architecture.
      variables: trained parameters and statistics of the ANN.
      images: floats `[N, H, W, C]` or `[N, D]`.
      num_steps: T of the simulations that the scales are meant for.
      batch_size: images at a time.
      progress: show a progress bar after the first second.

    Raises:
      ValueError: if `num_steps` is below 1, or as in `measure_scales`.
    """
    num_steps = check_count("num_steps", num_steps, most=STEPS.highest)
    start = partial(
        ann_outputs.activation_batches, network, variables, images,
        name="scales", batch_size=batch_size, progress=progress,
    )  # fmt: skip
    shares = np.float32(1) - np.float32(0.01) * np.arange(95, dtype=np.float32)
    candidates = {}
    for path, largest in largest_values(start(), lambda values: values).items():
        _check_active(path, largest)
        candidates[path] = np.float32(largest) * shares
    errors: dict[str, np.ndarray] = {}
    for batch in start():
        for path, values in batch.items():
            of_batch = _squared_errors(values, candidates[path], num_steps)
            errors[path] = errors.get(path, 0.0) + np.asarray(of_batch, np.float64)
    return {path: float(candidates[path][np.argmin(sums)]) for path, sums in errors.items()}


@jax.jit
def _squared_errors(values: jax.Array, scales: jax.Array, num_steps: ArrayLike) -> jax.Array:
    """Sum of the squared errors of all values at each scale, after T = `num_steps` timesteps."""

    def sum_at(scale: jax.Array) -> jax.Array:
        spikes = jnp.clip(jnp.floor(values / scale * num_steps), 0, num_steps)
        return jnp.sum(jnp.square(spikes * scale / num_steps - values))

    return jax.lax.map(sum_at, scales)


def check_rule(name: str, network: arch.Network) -> None:
    """Check that a rule is defined for a network.

    Args:
      name: of the rule, in BALANCING_RULES; other names pass.
      network: the architecture.

    Raises:
      ValueError: if the rule is for chains of layers, and the network branches.
    """
    branches = any(isinstance(layer, arch.Block | arch.Scale) for layer in network.layers)
    if name in CHAIN_RULES and branches:
        raise ValueError(f"{name} is defined for a chain of layers; use 'percentile' or 'largest'")


CHAIN_RULES = ("model_norm", "data_norm")

BALANCING_RULES: dict[str, Rule] = {
    "unit": unit_scales,
    "largest": measure_scales,
    "percentile": partial(measure_scales, percentile=99.9),
    "percentile_99": partial(measure_scales, percentile=99.0),
    "model_norm": model_norm,
    "data_norm": data_norm,
    "least_error": least_error,
}
"""Rules by name. "percentile" is the 99.9th; "least_error" also needs `num_steps`."""
