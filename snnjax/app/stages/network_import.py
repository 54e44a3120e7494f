"""Import stage: a network that was trained elsewhere in, `ann.safetensors` out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from snnjax.app.run_files import describe_dataset, describe_own
from snnjax.app.stages.training import MEASURED
from snnjax.conversion import threshold_balancing
from snnjax.io import checkpoint, datasets
from snnjax.networks import architecture as arch
from snnjax.networks import serialisation

__all__ = ["import_network"]


def import_network(
    network: arch.Network, variables: Mapping[str, Any], output: Path, *, dataset: str
) -> Path:
    """Write `ann.safetensors` for a network and its parameters, such as `tracing.trace` returns.

    Of the training, the file records only what is known: the data set, the architecture as JSON,
    and the activation. A network that takes images in another order of axes, such as
    `[B, C, H, W]`, takes the data set's `[B, H, W, C]` in the file, with the same parameters.

    Args:
      network: the architecture.
      variables: its parameters.
      output: folder for the file.
      dataset: name or path of the data set whose images, divided by 255, the network takes; the
        later stages load it.

    Returns:
      The path of the file.

    Raises:
      ValueError: if the data set is unknown, its images do not fit the network or have their
        axes in another order, or a layer cannot be written.
      FileNotFoundError: if the data set is not prepared.
      OSError: if `output` cannot be written.
    """
    checkpoint.check_writable(Path(output) / "ann.safetensors")
    data = datasets.load(dataset)
    images = data.train.images[:MEASURED].astype(np.float32) / 255
    network = _with_channels_last(network)
    shape, held = network.image_shape, images.shape[1:]
    if shape is not None and shape != held and sorted(shape) == sorted(held):
        raise ValueError(
            f"network {network.name!r} takes images of shape {shape}, and those of {dataset} have"
            f" {held}; trace it with layout='NCHW', or what its axes are"
        )
    try:
        largest = threshold_balancing.measure_output_scale(network, dict(variables), images)
    except Exception as error:  # Flax has several for shapes
        raise ValueError(
            f"images of {dataset}, {images.shape[1:]}, do not fit network {network.name!r}"
            f" ({str(error).splitlines()[0]}); want the data set that it was trained on"
        ) from error
    layers = [layer for _, layer in arch.walk(network.layers)]
    metadata = {
        "config": {
            **(describe_own(dataset, data) if data.sha256 else {"dataset": dataset}),
            "network": network.name,
            "activation": _activation(network),
            "bias_free": not any(getattr(layer, "use_bias", False) for layer in layers),
            "levels": 0,
            "blueprint": serialisation.write(network),
        },
        "dataset": describe_dataset(data),
        "output_scale": largest,
    }
    path = Path(output) / "ann.safetensors"
    checkpoint.save(path, dict(variables), kind="ann", metadata=metadata)
    return path


def _with_channels_last(network: arch.Network) -> arch.Network:
    """Return the network for images `[B, H, W, C]`, its layers named as before."""
    if network.image_order is None:
        return network
    axes, shape = network.image_order.axes, network.image_shape
    return replace(
        network,
        layers=(arch.Transpose((0, 1, 2)), *network.layers[1:]),
        image_shape=shape and tuple(shape[axis] for axis in axes),
    )


def _activation(network: arch.Network) -> str:
    """Value of `TrainConfig.activation` that includes all activations of the network."""
    active = arch.activations(network).values()
    if any(x.step for x in active):
        return "step_relu"
    bounded = all(np.isfinite(x.theta) for x in active)
    if any(x.alpha for x in active):
        return "sth_leaky_relu" if bounded else "leaky_relu"
    return "th_relu" if bounded else "relu"
