"""What a rate of 1 stands for after each layer: rules from the weights or from images.

A rule is a pure function `rule(network, variables, images) -> {path: scale}` whose result is
the `scales` of `conversion.convert`. Magnitudes count, since outputs have two signs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.conversion.conversion import fold
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN, theta_of
from snnjax.snn.spiking import inside

__all__ = [
    "RULES",
    "data_norm",
    "least_error",
    "measure_output_scale",
    "measure_scales",
    "model_norm",
    "unit",
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
) -> Scales:
    """What each activation reaches on `images` `[B, H, W, C]`: max_l of eq. 9, by path.

    Source: He et al. 2024, eq. 9 (the maximum); Rueckauer et al. 2017 (a percentile of the
    outputs above zero).
    Choice: magnitudes, since outputs have two signs; zeros do not count. Channels whose own
    theta is lower get that, or their rates could pass it.

    Raises:
      ValueError: if `percentile` is outside (0, 100], there are no images, or an activation
        is zero on all of them.
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile is {percentile}; want it in (0, 100]")
    scales: Scales = {}
    known = arch.activations(network)
    for path, leaf in _outputs(network, variables, images).items():
        sizes = np.abs(np.asarray(leaf))
        scales[path] = float(np.percentile(sizes[sizes > 0], percentile))
        if known[path].learn == "channel":
            theta = theta_of(known[path], inside(variables["params"], path), {})
            scales[path] = np.minimum(scales[path], theta)
    return scales


def _outputs(
    network: arch.Network, variables: Variables, images: ArrayLike
) -> dict[str, jax.Array]:
    """What each activation gives on `images`, by path, none of it zero throughout."""
    if not np.size(images):
        raise ValueError("there are no images to measure on; want at least one")
    caught: Any = ANN(network.layers).apply(variables, images, mutable=["intermediates"])[1]
    leaves = jax.tree_util.tree_flatten_with_path(caught["intermediates"])[0]
    outputs = {
        "/".join(key.key for key in keys[:-2]): leaf
        for keys, leaf in leaves
        if keys[-2].key == "output"
    }
    for path, leaf in outputs.items():
        if not np.any(leaf):
            raise ValueError(f"activation {path} is zero on every image; it has no scale")
    return outputs


def measure_output_scale(network: arch.Network, variables: Variables, images: np.ndarray) -> float:
    """The largest logit in magnitude on `images` `[B, H, W, C]`, for the counting readout.

    Raises:
      ValueError: if there are no images.
    """
    if not np.size(images):
        raise ValueError("there are no images to measure on; want at least one")
    apply = jax.jit(ANN(network.layers).apply)
    chunks = (np.asarray(images)[i : i + 500] for i in range(0, len(images), 500))
    return max(float(jnp.max(jnp.abs(jnp.asarray(apply(variables, x))))) for x in chunks)


def model_norm(
    network: arch.Network, variables: Variables, images: ArrayLike | None = None
) -> Scales:
    """The largest activation that any image in [0, 1] could cause, from the weights alone.

    S_l = max_i (S_(l-1) sum_j max(0, W_ij) + max(0, b_i)), with S_0 = 1.

    Source: ModelNorm of Diehl et al. 2015, whose networks have no biases; there W_l is
    divided by max_i sum_j max(0, W_ij), which is S_l / S_(l-1).
    Choice: a bias counts as an input that is always on.

    Args:
      network: a chain of layers.
      variables: its parameters.
      images: not looked at.

    Raises:
      ValueError: if the network has a residual block.
    """
    del images
    reach = 1.0

    def widen(params: Mapping[str, Any]) -> float:
        kernel = np.asarray(params["kernel"])
        sums = np.maximum(kernel, 0).sum(tuple(range(kernel.ndim - 1)))
        return float(np.max(reach * sums + np.maximum(params.get("bias", 0.0), 0)))

    scales: Scales = {}
    for name, layer, params in _chain(network, variables, "model_norm"):
        if isinstance(layer, arch.Activation):
            scales[name] = reach
        elif params:
            reach = widen(params)
    return scales


def data_norm(network: arch.Network, variables: Variables, images: ArrayLike) -> Scales:
    """The larger of a layer's largest weight and its largest activation on `images`.

    Source: DataNorm of Diehl et al. 2015. The published code divides each layer by the
    ratio that it applied to the one before, not by that layer's scale, which is right for
    two layers only; here W_l is multiplied by scale_(l-1) / scale_l for any number.

    Raises:
      ValueError: if the network has a residual block, there are no images, or an
        activation is zero on all of them.
    """
    scales = measure_scales(network, variables, images)
    weight = 0.0
    for name, layer, params in _chain(network, variables, "data_norm"):
        if isinstance(layer, arch.Activation):
            scales[name] = max(scales[name], weight)
        elif params:
            weight = float(np.max(params["kernel"]))
    return scales


def _chain(
    network: arch.Network, variables: Variables, rule: str
) -> list[tuple[str, arch.Layer, Mapping[str, Any]]]:
    """Name, layer and folded parameters of a network without branches."""
    if any(isinstance(layer, arch.Block | arch.Scale) for layer in network.layers):
        raise ValueError(f"{rule} is defined for a chain of layers; use 'percentile' or 'largest'")
    statistics = variables.get("batch_stats", {})
    folded = fold(network.layers, variables["params"], statistics)
    return [(name, layer, folded.get(name, {})) for name, layer in arch.named(network.layers)]


def unit(network: arch.Network, variables: Variables, images: ArrayLike | None = None) -> Scales:
    """1 everywhere, which leaves the weights as they are.

    Source: Cao et al. 2015.
    """
    del variables, images
    return dict.fromkeys(arch.activations(network), 1.0)


def least_error(
    network: arch.Network, variables: Variables, images: ArrayLike, *, num_steps: int
) -> Scales:
    """The scale by which `num_steps` spikes, rounded down, come closest to each activation.

    The least mean squared error of clip(floor(a T / V), 0, T) V / T among 95 scales V from
    the largest activation down to 6 % of it.

    Source: the threshold of SNN calibration, Li et al. 2021.
    Choice: one search over all images, where the source averages over batches.

    Args:
      network: the architecture.
      variables: its parameters.
      images: `[B, H, W, C]` to measure on.
      num_steps: T that the network will run for.

    Raises:
      ValueError: if `num_steps` is below 1, there are no images, or an activation is zero on
        all of them.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}; want at least 1 timestep")
    shares = 1 - 0.01 * jnp.arange(95)

    @jax.jit
    def best(outputs: jax.Array) -> jax.Array:
        def error(scale: jax.Array) -> jax.Array:
            spikes = jnp.clip(jnp.floor(outputs / scale * num_steps), 0, num_steps)
            return jnp.mean(jnp.square(spikes * scale / num_steps - outputs))

        scales = jnp.max(outputs) * shares
        return scales[jnp.argmin(jax.lax.map(error, scales))]

    outputs = _outputs(network, variables, images)
    return {path: float(best(leaf)) for path, leaf in outputs.items()}


RULES: dict[str, Rule] = {
    "unit": unit,
    "largest": measure_scales,
    "percentile": partial(measure_scales, percentile=99.9),
    "model_norm": model_norm,
    "data_norm": data_norm,
    "least_error": least_error,
}
"""Rules by name; "percentile" is the 99.9th of the outputs that are not zero, and
"least_error" wants `num_steps` too."""
