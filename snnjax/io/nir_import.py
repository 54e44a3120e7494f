"""NIR files: writing converted networks, and reading those and plain chains of others."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from snnjax.io.checkpoint import write_whole
from snnjax.io.nir_export import Signal, nir_package, node_name, places, to_graph
from snnjax.networks import architecture as arch

__all__ = ["SNN", "from_graph", "read", "write"]

Params = dict[str, Any]


class SNN(NamedTuple):
    """network and params: as for `simulate`; metadata: what was written beside them."""

    network: arch.Network
    params: Params
    metadata: dict[str, Any]


def write(
    path: Path,
    network: arch.Network,
    params: Params,
    image_shape: tuple[int, ...],
    *,
    coupled: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a converted network with double-threshold neurons; see `lowering.to_graph`.

    Raises:
      ImportError: if nir is not installed.
      ValueError: if NIR cannot state the network exactly; then nothing is written.
      OSError: if the file cannot be written.
    """
    graph = to_graph(network, params, image_shape, coupled=coupled, metadata=metadata)
    content = io.BytesIO()
    nir_package().write(content, graph)
    write_whole(path, content.getvalue())


def read(path: Path) -> SNN:
    """Read a NIR file; see `from_graph`.

    Raises:
      ImportError: if nir is not installed.
      FileNotFoundError: if there is no such file.
      ValueError: if it is no NIR file, or holds what this package does not have.
    """
    nir, path = nir_package(), Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no NIR file at {path}")
    try:
        graph = nir.read(path, type_check=False)
    except (OSError, KeyError, ValueError, AssertionError, TypeError) as error:
        raise ValueError(f"{path} is no NIR file ({error})") from error
    try:
        return from_graph(graph)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_graph(graph: Any) -> SNN:
    """The network in a NIR graph: one that `write` made, or a plain chain.

    A chain is made of Affine, Linear, Conv2d, SumPool2d, AvgPool2d, Flatten and IF. NIR does not
    carry how an IF resets: simulate with DOUBLE_THRESHOLD to subtract the threshold, with
    DOUBLE_THRESHOLD_HARD for 0. A timestep is 1, the potential starts at 0, and reaching the
    threshold fires.

    Raises:
      ValueError: naming the node or rule that this package does not have, or if a graph was
        changed since it was written.
    """
    reset = graph.metadata.get("reset", "subtract")
    if reset != "subtract":
        raise ValueError(f"reset is {reset!r}; want 'subtract', or a graph that does not say")
    if "snnjax" not in graph.metadata:
        return _from_chain(graph)
    try:
        return _from_written(graph)
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"the graph is not as snnjax wrote it ({error!r}); write it again"
        ) from error


def _from_written(graph: Any) -> SNN:
    kept = json.loads(graph.metadata["snnjax"])
    described = kept["network"]
    network = arch.Network(described["name"], _specified(described["layers"]))
    params = jax.tree.map(np.asarray, graph.metadata["parameters"])
    for path, layer in arch.walk(network.layers):
        if not isinstance(layer, arch.Dense | arch.Conv):
            continue
        node, here = graph.nodes[node_name(path)], params["layers"]
        for name in path.split("/"):
            here = here.setdefault(name, {})
        made = node.metadata
        kernel = _kernel(node, tuple(made["pixels"].tolist()), int(made["divided_by"]))
        here["kernel"] = kernel[tuple(slice(n, None) for n in made.get("added", ()))]
        if made["has_bias"]:
            here["bias"] = made.get("bias", node.bias)
    shape = graph.nodes["input"].input_type["input"]
    again = to_graph(network, params, (*shape[1:].tolist(), int(shape[0])), coupled=kept["coupled"])
    for name in again.nodes.keys() | graph.nodes.keys():
        if not _same(again.nodes.get(name), graph.nodes.get(name)):
            raise ValueError(
                f"node {name} was changed since snnjax wrote the graph; write it again, or delete"
                " the metadata to read it as a plain chain"
            )
    if set(again.edges) != set(graph.edges):
        raise ValueError("edges were changed since snnjax wrote the graph; write it again")
    return SNN(network, params, kept["metadata"])


def _same(one: Any, other: Any) -> bool:
    """Whether two nodes, or what they hold, are of one kind with the same numbers."""
    if hasattr(one, "to_dict"):
        return type(one) is type(other) and _same(one.to_dict(), other.to_dict())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return np.array_equal(one, other)


def _kernel(node: Any, pixels: tuple[int, ...], factor: int) -> np.ndarray:
    """Weights of a node as this package has them: inputs before outputs, channels last."""
    weight = np.asarray(node.weight, np.float32)
    if weight.ndim == 4:
        return np.ascontiguousarray(weight.transpose(2, 3, 1, 0)) * np.float32(factor)
    kernel = np.empty_like(weight.T)
    kernel[places(Signal((), (len(kernel),), pixels))] = weight.T
    return kernel * np.float32(factor)


def _specified(described: list[dict[str, Any]]) -> tuple[arch.Layer, ...]:
    """What `lowering.described` was made from."""
    kinds = {kind.__name__: kind for kind in arch.type_names}
    layers = []
    for entry in described:
        fields = {
            name: _specified(value)
            if name in ("body", "shortcut")
            else (tuple(value) if isinstance(value, list) else value)
            for name, value in entry.items()
            if name != "kind"
        }
        layers.append(kinds[entry["kind"]](**fields))
    return tuple(layers)


_Read = tuple[arch.Layer | None, Params, Signal]


def _from_chain(graph: Any) -> SNN:
    nir, chain = nir_package(), _in_order(graph)
    shape = tuple(int(n) for n in chain[0][1].input_type["input"])
    if len(shape) not in (1, 3):
        raise ValueError(f"the input has shape {shape}; want [C, H, W] or [N]")
    layers: list[arch.Layer] = [] if len(shape) == 3 else [arch.Flatten()]
    numbers: list[Params] = [{} for _ in layers]
    signal = Signal((), (*shape[1:], shape[0]) if len(shape) == 3 else shape)
    readers: dict[Any, Callable[[str, Any, Signal], _Read]] = {
        nir.Affine: _read_dense, nir.Linear: _read_dense, nir.Conv2d: _read_conv,
        nir.SumPool2d: _read_pool, nir.AvgPool2d: _read_pool, nir.Flatten: _read_flatten,
        nir.IF: _read_neurons,
    }  # fmt: skip
    for name, node in chain[1:-1]:
        if type(node) not in readers:
            known = ", ".join(kind.__name__ for kind in readers)
            raise ValueError(f"node {name} is a {type(node).__name__}; want a chain of {known}")
        layer, found, signal = readers[type(node)](name, node, signal)
        if layer is not None:
            layers.append(layer)
            numbers.append(found)
    if signal.factor != 1:
        raise ValueError("a SumPool2d has no weights behind it; want an AvgPool2d there")
    network = arch.Network("nir", tuple(layers))
    names = (name for name, _ in arch.named(network.layers))
    held = {name: found for name, found in zip(names, numbers, strict=True) if found}
    one = np.float32(1.0)
    return SNN(network, {"gain": one, "layers": held, "output_leak": one}, {})


def _in_order(graph: Any) -> list[tuple[str, Any]]:
    """The nodes from the one input to the one output."""
    after: dict[str, str] = {}
    for sender, receiver in graph.edges:
        if sender in after or receiver in after.values():
            raise ValueError(f"the edge {sender} -> {receiver} branches or joins; want a chain")
        after[sender] = receiver
    starts = [name for name in graph.inputs]
    if len(starts) != 1:
        raise ValueError(f"the graph has {len(starts)} inputs; want 1")
    chain = [starts[0]]
    while chain[-1] in after and len(chain) <= len(after):
        chain.append(after[chain[-1]])
    if len(chain) != len(graph.nodes) or chain[-1] not in graph.outputs:
        raise ValueError(f"the chain ends at {chain[-1]}; want all nodes on it, and an output")
    return [(name, graph.nodes[name]) for name in chain]


def _read_dense(name: str, node: Any, signal: Signal) -> _Read:
    if np.ndim(node.weight) != 2 or node.weight.shape[1:] != signal.shape:
        raise ValueError(
            f"node {name} has weights {np.shape(node.weight)} for a signal {signal.shape}; want"
            " [outputs, inputs], behind a Flatten of all axes"
        )
    numbers = {"kernel": _kernel(node, signal.pixels, signal.factor)}
    bias = getattr(node, "bias", None)
    if bias is not None:
        numbers["bias"] = np.asarray(bias, np.float32)
    outputs = len(node.weight)
    return arch.Dense(outputs, bias is not None), numbers, Signal((), (outputs,))


def _read_conv(name: str, node: Any, signal: Signal) -> _Read:
    window, strides = tuple(node.weight.shape[2:]), _pair(node.stride)
    if len(signal.shape) != 3 or _pair(node.dilation) != (1, 1):
        raise ValueError(f"node {name} is dilated, or behind a Flatten; want neither")
    size, given = signal.shape[:2], node.padding
    given = str(given) if isinstance(given, str) else tuple((n, n) for n in _pair(given))
    pads = {p: jax.lax.padtype_to_pads(size, window, strides, p) for p in ("VALID", "SAME")}
    fits = [p for p, q in pads.items() if given in (p.lower(), tuple(tuple(n) for n in q))]
    if not fits or (given == "same" and strides != (1, 1)):
        raise ValueError(f"node {name} pads by {given}; want what 'same' or 'valid' pad")
    groups, features = int(node.groups), len(node.weight)
    if node.weight.shape[1] * groups != signal.shape[2]:
        raise ValueError(
            f"node {name} has weights {node.weight.shape} in {groups} groups for"
            f" {signal.shape[2]} channels; want as many inputs"
        )
    use_bias = node.bias is not None
    numbers = {"kernel": _kernel(node, (), signal.factor)}
    if use_bias:
        numbers["bias"] = np.asarray(node.bias, np.float32)
    sides = (
        (n + sum(q) - w) // s + 1
        for n, q, w, s in zip(size, pads[fits[0]], window, strides, strict=True)
    )
    padding: Any = fits[0]
    layer = arch.Conv(features, window, strides, padding, groups, use_bias)
    return layer, numbers, Signal((), (*sides, features))


def _read_pool(name: str, node: Any, signal: Signal) -> _Read:
    window, strides = _pair(node.kernel_size), _pair(node.stride)
    if len(signal.shape) != 3 or _pair(node.padding) != (0, 0):
        raise ValueError(f"node {name} pads, or is behind a Flatten; want neither")
    sides = ((n - w) // s + 1 for n, w, s in zip(signal.shape, window, strides, strict=False))
    summed = type(node).__name__ == "SumPool2d"
    factor = signal.factor * (window[0] * window[1] if summed else 1)
    return arch.AvgPool(window, strides), {}, Signal((), (*sides, signal.shape[2]), (), factor)


def _read_flatten(name: str, node: Any, signal: Signal) -> _Read:
    first, last = int(node.start_dim), int(node.end_dim)
    axes = len(signal.shape)
    if axes == 1:
        return None, {}, signal
    if first % axes != 0 or last % axes != axes - 1:
        raise ValueError(f"node {name} flattens axes {first} to {last}; want 0 to -1, all of them")
    flat = (int(np.prod(signal.shape)),)
    return arch.Flatten(), {}, Signal((), flat, signal.shape, signal.factor)


def _read_neurons(name: str, node: Any, signal: Signal) -> _Read:
    r, threshold = np.asarray(node.r, np.float32), np.asarray(node.v_threshold, np.float32)
    if np.any(node.v_reset):
        raise ValueError(f"node {name} resets to v_reset other than 0; want 0")
    if not (np.all(r > 0) and np.all(threshold > 0) and np.isfinite(threshold / r).all()):
        raise ValueError(f"node {name} has an r or a v_threshold not above 0; want both above 0")
    if signal.factor != 1:
        raise ValueError(f"node {name} is behind a SumPool2d without weights; want an AvgPool2d")
    charge = threshold / r
    if charge.size > 1 and np.ptp(charge) == 0:
        charge = charge.ravel()[0]
    elif charge.ndim == 3:
        charge = charge.transpose(1, 2, 0)
    elif charge.size > 1:
        flat = np.empty_like(charge)
        flat[places(signal)] = charge
        charge = flat
    numbers = {
        "positive": charge.reshape(()) if charge.size == 1 else charge,
        **{name: np.float32(value) for name, value in
           (("negative", np.inf), ("initial", 0.0), ("shift", 0.0), ("bound", np.inf))},
    }  # fmt: skip
    return arch.Activation(alpha=0.0, theta=float("inf")), numbers, signal


def _pair(value: Any) -> tuple[int, int]:
    first, last = np.broadcast_to(np.asarray(value), (2,)).tolist()
    return int(first), int(last)
