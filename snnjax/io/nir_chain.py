"""Read plain chains of NIR nodes, as other programs write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from snnjax.io.nir_layout import Params, Signal, flat_order, nir_package
from snnjax.io.nir_weights import read_kernel
from snnjax.networks import architecture as arch
from snnjax.runtime.windows import Window

__all__ = ["read_chain"]


class _Read(NamedTuple):
    """Layer of a node, or None where it needs none, its parameters, and its output."""

    layer: arch.Layer | None
    numbers: Params
    signal: Signal


def read_chain(graph: Any) -> tuple[arch.Network, Params]:
    """Return the network and parameters of a graph whose nodes form one chain.

    Raises:
      ValueError: naming the edge, node or rule that this package does not have.
    """
    chain = _in_order(graph)
    shape = tuple(int(n) for n in chain[0][1].input_type["input"])
    if len(shape) not in (1, 3):
        raise ValueError(f"the input has shape {shape}; want [C, H, W] or [N]")
    is_map = len(shape) == 3
    signal = Signal((*shape[1:], shape[0]) if is_map else shape)
    layers: list[arch.Layer] = [] if is_map else [arch.Flatten()]
    numbers: list[Params] = [{} for _ in layers]
    for name, node in chain[1:-1]:
        layer, found, signal = _reader_of(name, node)(name, node, signal)
        if layer is not None:
            layers.append(layer)
            numbers.append(found)
    if signal.divisor != 1:
        raise ValueError("a SumPool2d has no weights behind it; want an AvgPool2d there")
    network = arch.Network("nir", tuple(layers))
    names = (name for name, _ in arch.named(network.layers))
    held = {name: found for name, found in zip(names, numbers, strict=True) if found}
    one = np.float32(1.0)
    return network, {"gain": one, "layers": held, "output_leak": one}


def _in_order(graph: Any) -> list[tuple[str, Any]]:
    """Return the nodes from the one input to the one output."""
    after: dict[str, str] = {}
    for sender, receiver in graph.edges:
        if sender in after or receiver in after.values():
            raise ValueError(f"the edge {sender} -> {receiver} branches or joins; want a chain")
        after[sender] = receiver
    starts = list(graph.inputs)
    if len(starts) != 1:
        raise ValueError(f"the graph has {len(starts)} inputs; want 1")
    chain = [starts[0]]
    while chain[-1] in after and len(chain) <= len(after):
        chain.append(after[chain[-1]])
    if len(chain) != len(graph.nodes) or chain[-1] not in graph.outputs:
        raise ValueError(f"the chain ends at {chain[-1]}; want all nodes on it, and an output")
    return [(name, graph.nodes[name]) for name in chain]


def _reader_of(name: str, node: Any) -> Callable[[str, Any, Signal], _Read]:
    """Return the function that reads nodes of this kind."""
    nir = nir_package()
    readers: dict[Any, Callable[[str, Any, Signal], _Read]] = {
        nir.Affine: _read_dense, nir.Linear: _read_dense, nir.Conv2d: _read_conv,
        nir.SumPool2d: _read_pool, nir.AvgPool2d: _read_pool, nir.Flatten: _read_flatten,
        nir.IF: _read_neurons,
    }  # fmt: skip
    if type(node) not in readers:
        known = ", ".join(kind.__name__ for kind in readers)
        raise ValueError(f"node {name} is a {type(node).__name__}; want a chain of {known}")
    return readers[type(node)]


def _read_dense(name: str, node: Any, signal: Signal) -> _Read:
    if np.ndim(node.weight) != 2 or node.weight.shape[1:] != signal.shape:
        raise ValueError(
            f"node {name} has weights {np.shape(node.weight)} for a signal {signal.shape}; want"
            " [outputs, inputs], behind a Flatten of all axes"
        )
    numbers = _read_weights(node, signal)
    features = len(node.weight)
    return _Read(arch.Dense(features, "bias" in numbers), numbers, Signal((features,)))


def _read_conv(name: str, node: Any, signal: Signal) -> _Read:
    if len(signal.shape) != 3:
        raise ValueError(f"node {name} is behind a Flatten; want a Conv2d behind a map")
    window = _window_of(name, node, signal)
    groups, features = int(node.groups), len(node.weight)
    if node.weight.shape[1] * groups != signal.shape[2]:
        raise ValueError(
            f"node {name} has weights {node.weight.shape} in {groups} groups for"
            f" {signal.shape[2]} channels; want as many inputs"
        )
    numbers = _read_weights(node, signal)
    layer = arch.Conv(
        features, window.size, window.strides, window.padding, groups, "bias" in numbers,
        window.dilation,
    )  # fmt: skip
    return _Read(layer, numbers, Signal((*_outputs(name, window, signal), features)))


def _window_of(name: str, node: Any, signal: Signal) -> Window:
    """Return the windows of a convolution; its padding has a name where it is that of a name.

    Raises:
      ValueError: if the padding is no number of pixels, or a window is larger than the map.
    """
    size, strides, dilation = node.weight.shape[2:], _pair(node.stride), _pair(node.dilation)
    valid = Window(size, strides, "VALID", dilation)
    named = {"valid": valid, "same": replace(valid, padding="SAME")}
    if isinstance(node.padding, str):
        window = named.get(node.padding)
        if window is None or (node.padding == "same" and strides != (1, 1)):
            raise ValueError(
                f"node {name} pads by {node.padding!r} with strides {strides}; want 'valid', 'same'"
                " with strides of 1, or the pixels on each axis"
            )
        return window
    rows, columns = _pair(node.padding)
    if min(rows, columns) < 0:
        raise ValueError(f"node {name} pads by {(rows, columns)} pixels; want 0 or more")
    pads = ((rows, rows), (columns, columns))
    same = (window for window in named.values() if window.pads(signal.shape) == pads)
    return next(same, replace(valid, padding=pads))


def _outputs(name: str, window: Window, signal: Signal) -> tuple[int, int]:
    """Return the rows and columns of windows, or raise ValueError that names the node."""
    try:
        return window.outputs(signal.shape)
    except ValueError as error:
        raise ValueError(f"node {name}: {error}") from error


def _read_weights(node: Any, signal: Signal) -> Params:
    numbers = {"kernel": read_kernel(node, signal)}
    bias = getattr(node, "bias", None)
    if bias is not None:
        numbers["bias"] = np.asarray(bias, np.float32)
    return numbers


def _read_pool(name: str, node: Any, signal: Signal) -> _Read:
    if len(signal.shape) != 3 or _pair(node.padding) != (0, 0):
        raise ValueError(f"node {name} pads, or is behind a Flatten; want neither")
    window = Window(_pair(node.kernel_size), _pair(node.stride))
    pixels = window.size[0] * window.size[1]
    is_sum = type(node).__name__ == "SumPool2d"
    pooled = Signal(
        (*_outputs(name, window, signal), signal.shape[2]),
        divisor=signal.divisor * (pixels if is_sum else 1),
    )
    return _Read(arch.AvgPool(window.size, window.strides), {}, pooled)


def _read_flatten(name: str, node: Any, signal: Signal) -> _Read:
    axes = len(signal.shape)
    if axes == 1:
        return _Read(None, {}, signal)
    first, last = int(node.start_dim), int(node.end_dim)
    if first % axes != 0 or last % axes != axes - 1:
        raise ValueError(f"node {name} flattens axes {first} to {last}; want 0 to -1, all of them")
    flat = signal._replace(shape=(int(np.prod(signal.shape)),), unflattened=signal.shape)
    return _Read(arch.Flatten(), {}, flat)


def _read_neurons(name: str, node: Any, signal: Signal) -> _Read:
    r, threshold = np.asarray(node.r, np.float32), np.asarray(node.v_threshold, np.float32)
    if np.any(node.v_reset):
        raise ValueError(f"node {name} resets to v_reset other than 0; want 0")
    if not (np.all(r > 0) and np.all(threshold > 0) and np.isfinite(threshold / r).all()):
        raise ValueError(f"node {name} has an r or a v_threshold not above 0; want both above 0")
    if signal.divisor != 1:
        raise ValueError(f"node {name} is behind a SumPool2d without weights; want an AvgPool2d")
    numbers = {
        "positive": _in_our_order(threshold / r, signal),
        "negative": np.float32(np.inf),
        "initial": np.float32(0.0),
        "shift": np.float32(0.0),
        "bound": np.float32(np.inf),
    }
    return _Read(arch.Activation(alpha=0.0, theta=float("inf")), numbers, signal)


def _in_our_order(values: np.ndarray, signal: Signal) -> np.ndarray:
    """Return numbers of a node with channels last, or one number if all are equal."""
    if np.ptp(values) == 0:
        return values.ravel()[0].reshape(())
    if values.ndim == 3:
        return values.transpose(1, 2, 0)
    flat = np.empty_like(values)
    flat[flat_order(signal)] = values
    return flat


def _pair(value: Any) -> tuple[int, int]:
    """Return a number for both axes, or one for each, as two whole numbers."""
    first, last = np.broadcast_to(np.asarray(value), (2,)).tolist()
    return int(first), int(last)
