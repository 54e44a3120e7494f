"""Weights of dense layers and convolutions in NIR nodes, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnjax.io.nir_layout import Params, Signal, flat_order, nir_package
from snnjax.networks import architecture as arch
from snnjax.runtime.windows import Pads, Window

__all__ = ["conv_node", "dense_node", "read_kernel", "written_weights"]


def dense_node(numbers: Params, signal: Signal) -> Any:
    """Return the `nir.Affine` of a dense layer with these parameters, behind `signal`."""
    kernel = np.asarray(numbers["kernel"]) / np.float32(signal.divisor)
    weight = kernel[flat_order(signal)].T
    bias = np.asarray(numbers.get("bias", np.zeros(len(weight), np.float32)))
    return nir_package().Affine(weight, bias, metadata=_undo_metadata(numbers, signal))


def conv_node(path: str, layer: arch.Conv, numbers: Params, signal: Signal) -> Any:
    """Return the `nir.Conv2d` of a convolution, behind a signal whose padding value is 0.

    NIR pads with zeros, equally before and after each axis. Where this package pads with another
    value, that value has been subtracted from the signal, and the current that it sends is added
    to the bias. Where the padding is wider after an axis than before, both sides get the larger
    width, and the kernel gets zeros in front.

    Raises:
      ValueError: if the kernel is dilated, or the padding is wider before an axis than after.
    """
    if layer.dilation != (1, 1):
        raise ValueError(
            f"layer {path} has dilation {layer.dilation}; NIR graphs are written for 1"
        )
    pads = Window(layer.kernel_size, layer.strides, layer.padding).pads(signal.shape)
    zeros = _zeros_in_front(path, pads)
    kernel = np.asarray(numbers["kernel"], np.float32)
    bias = np.asarray(numbers.get("bias", np.zeros(layer.features)), np.float32)
    metadata = _undo_metadata(numbers, signal)
    if any(zeros):
        metadata["added"] = np.array(zeros)
    if "border" in numbers:
        metadata["bias"] = np.asarray(numbers["bias"])
        values = np.reshape(numbers["border"], (layer.groups, -1)).T
        values = np.repeat(values, layer.features // layer.groups, axis=1)
        bias = bias + (kernel * values).sum((0, 1, 2), dtype=np.float32)
    kernel = np.pad(kernel / np.float32(signal.divisor), [*((n, 0) for n in zeros), (0, 0), (0, 0)])
    return nir_package().Conv2d(
        signal.shape[:2], kernel.transpose(3, 2, 0, 1), layer.strides,
        tuple(after for _, after in pads), (1, 1), layer.groups, bias, metadata=metadata,
    )  # fmt: skip


def _zeros_in_front(path: str, pads: Pads) -> list[int]:
    """Return the zeros to put in front of each axis of a kernel to make its padding symmetric."""
    zeros = [after - before for before, after in pads]
    if min(zeros) < 0:
        raise ValueError(
            f"layer {path} has padding {pads}; NIR graphs are written for no more pixels before an"
            " axis than after it"
        )
    return zeros


def _undo_metadata(numbers: Params, signal: Signal) -> dict[str, Any]:
    """Return what a reader needs to undo the changes made to weights behind a signal."""
    unflattened = np.array(signal.unflattened, int)
    return {"divided_by": signal.divisor, "pixels": unflattened, "has_bias": "bias" in numbers}


def written_weights(node: Any) -> Params:
    """Return kernel and bias as they were when this package made the node."""
    made = node.metadata
    signal = Signal(
        (np.shape(node.weight)[1],),
        unflattened=tuple(made["pixels"].tolist()), divisor=int(made["divided_by"]),
    )  # fmt: skip
    kernel = read_kernel(node, signal)
    numbers = {"kernel": kernel[tuple(slice(zeros, None) for zeros in made.get("added", ()))]}
    if made["has_bias"]:
        numbers["bias"] = made.get("bias", node.bias)
    return numbers


def read_kernel(node: Any, signal: Signal) -> np.ndarray:
    """Return a node's weights in this package's layout: inputs before outputs, channels last."""
    weight = np.asarray(node.weight, np.float32)
    if weight.ndim == 4:
        kernel = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
    else:
        kernel = np.empty_like(weight.T)
        kernel[flat_order(signal)] = weight.T
    return kernel * np.float32(signal.divisor)
