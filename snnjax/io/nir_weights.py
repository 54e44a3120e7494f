"""Weights of dense layers and convolutions in NIR nodes, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snnjax.io.nir_layout import Params, Signal, flat_order, nir_package
from snnjax.networks import architecture as arch

__all__ = ["conv_node", "dense_node", "read_kernel", "written_weights"]


def dense_node(numbers: Params, signal: Signal) -> Any:
    """Return the `nir.Affine` of a dense layer with these parameters, behind `signal`.

    Behind a map, which it takes pixel by pixel, it is a `nir.Conv2d` with a kernel of one pixel.
    """
    kernel = np.asarray(numbers["kernel"]) / np.float32(signal.divisor)
    bias = np.asarray(numbers.get("bias", np.zeros(kernel.shape[1], np.float32)))
    metadata = _undo_metadata(numbers, signal)
    if len(signal.shape) == 3:
        return nir_package().Conv2d(
            signal.shape[:2], kernel.T[:, :, None, None], (1, 1), (0, 0), (1, 1), 1, bias,
            metadata={**metadata, "each_pixel": True},
        )  # fmt: skip
    return nir_package().Affine(kernel[flat_order(signal)].T, bias, metadata=metadata)


def conv_node(path: str, layer: arch.Conv, numbers: Params, signal: Signal) -> Any:
    """Return the `nir.Conv2d` of a convolution, behind a signal whose padding value is 0.

    NIR pads with zeros, equally before and after each axis. Where this package pads with another
    value, that value has been subtracted from the signal, and the current that it sends is added
    to the bias. Where the padding is not equal, both sides get the larger width, and the kernel
    gets taps of 0 on the side of the smaller one. If these do not fit the gaps of a dilated kernel,
    its gaps are filled with zeros.

    Raises:
      ValueError: if the padding is negative.
    """
    pads = layer.spec.window.pads(signal.shape)
    if min(map(min, pads)) < 0:
        raise ValueError(f"layer {path} has padding {pads}, and NIR none below 0; crop before it")
    differences = [after - before for before, after in pads]
    gaps = [
        gap if difference % gap == 0 else 1
        for gap, difference in zip(layer.dilation, differences, strict=True)
    ]
    filled = tuple(own // gap for own, gap in zip(layer.dilation, gaps, strict=True))
    added = [
        (max(n, 0) // gap, max(-n, 0) // gap) for n, gap in zip(differences, gaps, strict=True)
    ]
    kernel = np.asarray(numbers["kernel"], np.float32)
    bias = np.asarray(numbers.get("bias", np.zeros(layer.features)), np.float32)
    metadata = _undo_metadata(numbers, signal) | _undo_taps(added, filled)
    if "border" in numbers:
        metadata["bias"] = np.asarray(numbers["bias"])
        values = np.reshape(numbers["border"], (layer.groups, -1)).T
        values = np.repeat(values, layer.features // layer.groups, axis=1)
        bias = bias + (kernel * values).sum((0, 1, 2), dtype=np.float32)
    kernel = np.pad(_fill_gaps(kernel, filled), [*added, (0, 0), (0, 0)])
    return nir_package().Conv2d(
        signal.shape[:2], (kernel / np.float32(signal.divisor)).transpose(3, 2, 0, 1),
        layer.strides, tuple(map(max, pads)), tuple(gaps), layer.groups, bias, metadata=metadata,
    )  # fmt: skip


def _fill_gaps(kernel: np.ndarray, filled: tuple[int, ...]) -> np.ndarray:
    """Return a kernel with `filled` - 1 zeros between its taps, on each axis."""
    if filled == (1, 1):
        return kernel
    reach = [(n - 1) * gap + 1 for n, gap in zip(kernel.shape[:2], filled, strict=True)]
    wide = np.zeros((*reach, *kernel.shape[2:]), kernel.dtype)
    wide[:: filled[0], :: filled[1]] = kernel
    return wide


def _undo_taps(added: list[tuple[int, int]], filled: tuple[int, ...]) -> dict[str, Any]:
    """Return the taps added before and after each axis of a kernel, and the filled gaps."""
    before, behind = (np.array(side) for side in zip(*added, strict=True))
    found = {"added": before, "behind": behind, "filled": np.array(filled)}
    return {name: each for name, each in found.items() if np.any(each != (name == "filled"))}


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
    if made.get("each_pixel", False):
        kernel = kernel[0, 0]
    else:
        kernel = kernel[_own_taps(made, kernel.shape)]
    numbers = {"kernel": kernel}
    if made["has_bias"]:
        numbers["bias"] = made.get("bias", node.bias)
    return numbers


def _own_taps(made: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the taps of a kernel that the layer has; `made` says which ones were added."""
    neutral = np.zeros(len(shape[:-2]), int)
    before, behind = (made.get(name, neutral) for name in ("added", "behind"))
    ends = (n - more for n, more in zip(shape, behind, strict=False))
    return tuple(map(slice, before, ends, made.get("filled", neutral + 1)))


def read_kernel(node: Any, signal: Signal) -> np.ndarray:
    """Return a node's weights in this package's layout: inputs before outputs, channels last."""
    weight = np.asarray(node.weight, np.float32)
    if weight.ndim == 4:
        kernel = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
    else:
        kernel = np.empty_like(weight.T)
        kernel[flat_order(signal)] = weight.T
    return kernel * np.float32(signal.divisor)
