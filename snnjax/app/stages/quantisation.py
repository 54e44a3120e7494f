"""Quantisation stage: `snn.safetensors` in, the same network in whole numbers out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snnjax.app.run_files import load_data, load_network
from snnjax.app.stages.conversion import first_training_images
from snnjax.conversion.quantisation import quantise as quantise_params
from snnjax.conversion.quantised_weights import count_weights
from snnjax.io import checkpoint
from snnjax.runtime.ranges import UP_TO_IMAGES, WEIGHT_BITS

__all__ = ["quantise"]


def quantise(
    snn: Path,
    weight_bits: int,
    output: Path,
    *,
    calibration_images: int,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Quantise the network in the file `snn`, and write `snn.safetensors`.

    Args:
      snn: the file of a conversion.
      weight_bits: of the weights, sign included.
      output: folder for the file, another than that of `snn`.
      calibration_images: number of training images to calibrate on; 0 for none.
      dataset: whose training images; None for the data set of the training.

    Returns:
      The entry "exact" of the file's metadata: bits, images, number of weights and their bytes.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if a number is out of its range, the file would be overwritten, there are fewer
        images, or as `conversion.quantisation.quantise`.
      OSError: if `output` cannot be written.
    """
    WEIGHT_BITS.check("weight_bits", weight_bits)
    UP_TO_IMAGES.check("calibration_images", calibration_images)
    path = output / "snn.safetensors"
    if path.resolve() == Path(snn).resolve():
        raise ValueError(f"{path} would be overwritten; choose another --output folder")
    if dataset is not None and not calibration_images:
        raise ValueError(f"dataset is {dataset}, but calibration_images is 0; leave it out")
    checkpoint.check_writable(path)
    network, params, metadata = load_network(snn)
    images = None
    if calibration_images:
        data = load_data(metadata["trained"], dataset)
        images = first_training_images(data, calibration_images)
    whole = quantise_params(network, params, weight_bits, images)
    count = count_weights(network, whole)
    exact = {
        "weight_bits": weight_bits, "calibration_images": calibration_images, "weights": count,
        "weight_bytes": -(-count * weight_bits // 8),
    }  # fmt: skip
    checkpoint.save(path, whole, kind="snn", metadata={**metadata, "exact": exact})
    return exact
