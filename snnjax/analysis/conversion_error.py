"""Conversion error of every layer: firing rates against the ANN's activations, with causes.

`error_decomposition` defines the five parts of the error; this module sums them over images,
summarises each layer and names the cause where the error is large. `remedies` tries what helps.
"""

from __future__ import annotations

import math
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from snnjax.analysis.error_decomposition import OWN_PARTS, BatchSums, LayerSums, Moments, sum_batch
from snnjax.networks import architecture as arch
from snnjax.runtime.checks import check_count
from snnjax.runtime.images import float_images
from snnjax.runtime.ranges import STEPS
from snnjax.snn.encoding import CONSTANT, Encoding
from snnjax.snn.neurons import EXACT_CHARGE, NeuronModel
from snnjax.snn.simulation_arguments import check_models, needed_key

__all__ = ["ErrorReport", "LayerErrorReport", "largest_own_part", "measure_conversion_error"]

Params = dict[str, Any]


class LayerErrorReport(NamedTuple):
    """Conversion error of one layer over all of its neurons and all images.

    Activations, rates and errors are in spikes per timestep.

    neurons: number of neurons for an image.
    ann: mean activation; size: root mean square of the activations.
    rate: mean firing rate, net count over T; spikes: mean number of spikes of either sign over T.
    correlation: between activations and rates; NaN where one of them is constant.
    error: root mean square of rate minus activation.
    parts: root mean square and mean of each part of the error, by its name in ERROR_PARTS.
    residue: largest difference between the error and the sum of its parts.
    silent: share of the neurons without a spike for any image.
    saturated: share of neurons and images with a spike at every timestep.
    advice: the cause of a large error and what makes this part smaller, or ""; what helps the
    whole network is found by `remedies.try_remedies`.
    """

    neurons: int
    ann: float
    size: float
    rate: float
    spikes: float
    correlation: float
    error: float
    parts: dict[str, tuple[float, float]]
    residue: float
    silent: float
    saturated: float
    advice: str


class ErrorReport(NamedTuple):
    """Conversion error of a network.

    layers: report of each layer of neurons, by path; agreement: share of the images for which
    SNN and ANN give the same class; images: their number; num_steps: T.
    """

    layers: dict[str, LayerErrorReport]
    agreement: float
    images: int
    num_steps: int

    @property
    def first_large(self) -> str:
        """Path of the first layer with a large part of its own, or ""."""
        return next((path for path, layer in self.layers.items() if _own_part_is_large(layer)), "")


def measure_conversion_error(
    network: arch.Network,
    params: Params,
    images: ArrayLike,
    *,
    num_steps: int,
    neuron: NeuronModel = EXACT_CHARGE,
    encoding: Encoding = CONSTANT,
    key: jax.Array | None = None,
    batch_size: int = 100,
) -> ErrorReport:
    """Compare every layer of a spiking network with the same layer of its ANN.

    Source: clipping and quantisation error as in Li et al. 2021, unevenness error as in Bu et
    al. 2022; mixed signs from the charge balance of a neuron with two thresholds,
    sum of currents = `v_p n_+ - v_n n_-` + change of the membrane potential.
    Choice: the ANN has its smooth activation, so the levels that it was trained with count as
    error.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      images: floats `[N, H, W, C]` or `[N, D]`.
      num_steps: T.
      neuron: DOUBLE_THRESHOLD or EXACT_CHARGE; for others, counts do not determine the charge.
      encoding: of the images.
      key: for an encoding that draws.
      batch_size: images at a time.

    Raises:
      ValueError: if there are no images, they are not finite floats or do not fit the parameters,
        `num_steps` or `batch_size` is below 1, the neuron is another one, or a key is missing.
    """
    shown: Any = float_images(images, purpose=" to compare on")
    check_models(neuron, encoding)
    key = needed_key(key, encoding)
    num_steps = check_count("num_steps", num_steps, most=STEPS.highest)
    batch_size = check_count("batch_size", batch_size)
    if neuron.charge_count is None:
        raise ValueError("want the double-threshold or the exact-charge neuron, whose charge and"
                         " count are in balance")  # fmt: skip
    sums: BatchSums | None = None
    for first in range(0, len(shown), batch_size):
        of_batch = sum_batch(
            params, shown[first : first + batch_size], key, first,
            network=network, num_steps=num_steps, neuron=neuron, encoding=encoding,
        )  # fmt: skip
        of_batch = jax.tree.map(partial(np.asarray, dtype=np.float64), of_batch)
        sums = of_batch if sums is None else _add_batches(sums, of_batch)
    assert sums is not None
    layers = {
        path: _summarise(
            layer, np.asarray(sums.most_spikes[path]), float(sums.residue[path]), num_steps
        )
        for path, layer in sums.layers.items()
    }
    agreement = float(sums.agreeing / len(shown))
    return ErrorReport(_with_advice(layers, params), agreement, len(shown), num_steps)


def _add_batches(a: BatchSums, b: BatchSums) -> BatchSums:
    """Return the sums and the maxima over both batches."""
    return BatchSums(
        layers=jax.tree.map(np.add, a.layers, b.layers),
        residue=jax.tree.map(np.maximum, a.residue, b.residue),
        most_spikes=jax.tree.map(np.maximum, a.most_spikes, b.most_spikes),
        agreeing=np.add(a.agreeing, b.agreeing),
    )


def _summarise(
    sums: LayerSums, most_spikes: np.ndarray, residue: float, num_steps: int
) -> LayerErrorReport:
    """Return means, root mean squares and shares of a layer, without advice."""
    n = float(sums.samples)
    mean = Moments(*(float(x) / n for x in sums.moments))
    covariance = mean.product - mean.activation * mean.rate
    variances = (mean.squared_activation - mean.activation**2) * (mean.squared_rate - mean.rate**2)
    return LayerErrorReport(
        neurons=most_spikes.size,
        ann=mean.activation,
        size=math.sqrt(mean.squared_activation),
        rate=mean.rate,
        spikes=mean.spikes / num_steps,
        correlation=covariance / math.sqrt(variances) if variances > 0 else math.nan,
        error=math.sqrt(mean.squared_error),
        parts={
            name: (math.sqrt(square / n), float(value / n))
            for name, (square, value) in sums.parts.items()
        },
        residue=residue,
        silent=float(np.mean(most_spikes == 0)),
        saturated=float(sums.saturated / n),
        advice="",
    )


CAUSES = {
    "clipping": "activations exceed one spike per timestep; a larger scale for this layer clips"
    " less",
    "quantisation": "counts are too coarse; a smaller scale, {half}more timesteps, or a"
    " training with as many levels as timesteps make it smaller",
    "unevenness": "spikes come too late or too early; more timesteps, {half}or an input"
    " that stops after as many timesteps as the network has levels (--shown-steps) make it smaller",
    "mixed_signs": "opposite spikes do not cancel; the exact-charge neuron or a smaller alpha"
    " makes it smaller",
}
"""Cause of each part that a layer causes itself, and what makes it smaller.

`{half}` stands for an initial potential that rounds, where the layer has another one.
"""

LARGE_ERROR = 0.1
"""Choice: an error above this share of the activations' root mean square is large."""

MANY_SILENT = 0.5
"""Choice: a share of silent neurons above this is mentioned."""


def largest_own_part(layer: LayerErrorReport) -> str:
    """Return the name of the largest of the parts that a layer causes itself."""
    return max(OWN_PARTS, key=lambda part: layer.parts[part][0])


def _own_part_is_large(layer: LayerErrorReport) -> bool:
    return layer.parts[largest_own_part(layer)][0] > LARGE_ERROR * layer.size


def _with_advice(
    layers: dict[str, LayerErrorReport], params: Params
) -> dict[str, LayerErrorReport]:
    """Return the reports with the cause of the error for each layer where it is large."""
    advised = {}
    for path, layer in layers.items():
        own = largest_own_part(layer)
        most = layer.parts["inherited"][0] <= layer.parts[own][0]
        advice = ""
        if _own_part_is_large(layer) or (layer.error > LARGE_ERROR * layer.size and most):
            rounds = np.all(np.asarray(_numbers_of(path, params)["initial"]) == 0.5)
            advice = CAUSES[own].format(half="" if rounds else "v(0) = v_p / 2, ")
        elif layer.error <= LARGE_ERROR * layer.size and layer.silent > MANY_SILENT:
            advice = "most neurons never fire on these images"
        advised[path] = layer._replace(advice=advice)
    return advised


def _numbers_of(path: str, params: Params) -> Params:
    """Return the parameters of a layer of neurons."""
    return reduce(lambda tree, name: tree[name], path.split("/"), params["layers"])
