"""Converted networks as NIR graphs (Neuromorphic Intermediate Representation).

NIR has neurons with one threshold and a reset to a potential, and says nothing of the potential at
the start. A graph from here is meant with reset by subtraction, which its metadata says, and
stands for the double-threshold neuron of this package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from snnjax.networks import architecture as arch
from snnjax.runtime.convolution import borders
from snnjax.snn import spiking

__all__ = ["Signal", "described", "nir_package", "node_name", "places", "to_graph"]

Params = dict[str, Any]
Shape = tuple[int, ...]


class Signal(NamedTuple):
    """What passes from layer to layer.

    heads: nodes whose sum it is; shape: ours, channels last; pixels: shape before a Flatten;
    factor: what the weights to come are divided by, for a sum in place of a mean.
    """

    heads: tuple[str, ...]
    shape: Shape
    pixels: Shape = ()
    factor: int = 1


class _Graph(NamedTuple):
    nodes: dict[str, Any]
    edges: list[tuple[str, str]]

    def add(self, name: str, node: Any, heads: tuple[str, ...]) -> tuple[str, ...]:
        self.nodes[name] = node
        self.edges.extend((head, name) for head in heads)
        return (name,)


def nir_package() -> Any:
    """The package nir, which only files need.

    Raises:
      ImportError: if it is not installed.
    """
    try:
        import nir
    except ImportError as error:
        raise ImportError("NIR files need the package nir: pip install 'snnjax[nir]'") from error
    return nir


def to_graph(
    network: arch.Network,
    params: Params,
    image_shape: Shape,
    *,
    coupled: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """A converted network with double-threshold neurons as a `nir.NIRGraph`.

    A layer without negative side is an IF. A two-sided one is no sum of one-sided ones that do
    not know of each other: a spike of either moves the potential of both. With `coupled` it is
    two IF with feedback, p and n, of potentials v and -v: p gets +v_n from every spike of n, and n
    +v_p from every spike of p, one timestep later. Where resets subtract and feedback takes
    one timestep that is the double-threshold neuron, spike by spike.

    Choice: a mean of 2**n pixels in front of weights is a SumPool2d with the weights divided, which
    is exact and read by more simulators; other means are AvgPool2d.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      image_shape: `(H, W, C)`.
      coupled: write two-sided neurons as two populations with feedback.
      metadata: JSON-able, kept in the graph.

    Raises:
      ImportError: if nir is not installed.
      ValueError: if NIR cannot state the network exactly, or the images do not fit it.
    """
    nir = nir_package()
    spiking.neurons(network, params["layers"], image_shape)  # raises where they do not fit
    if "readout" in params:
        raise ValueError("NIR has no readout that averages neurons; export before snnjax learn")
    if np.any(np.asarray(params["output_leak"]) != 1):
        raise ValueError("NIR cannot state output_leak; convert with --output-leak 1")
    height, width, channels = image_shape
    graph = _Graph({"input": nir.Input({"input": np.array([channels, height, width])})}, [])
    end = _add_layers(
        graph, network.layers, params["layers"], Signal(("input",), image_shape), "", coupled
    )
    graph.add("output", nir.Output({"output": np.array(end.shape)}), end.heads)
    kept = {
        "network": {"name": network.name, "layers": described(network.layers)},
        "metadata": dict(metadata or {}),
        "coupled": coupled,
    }
    facts = {
        "reset": "subtract",
        "fires": "v >= v_threshold",
        "time_step": 1.0,
        "neuron": "double-threshold",
        "input": "gain * image, channels first",
        "output": "current; its mean over timesteps is the logits",
        "feedback": "one timestep later" if any(".p_to_n" in n for n in graph.nodes) else "none",
        "snnjax": json.dumps(kept, sort_keys=True),
        "parameters": _without_weights(params),
    }
    # Types are ours: nir 1.0.8 takes every kernel for square and ungrouped when it checks them.
    return nir.NIRGraph(graph.nodes, graph.edges, facts, type_check=False)


def _add_layers(
    graph: _Graph,
    layers: tuple[arch.Layer, ...],
    params: Params,
    signal: Signal,
    prefix: str,
    coupled: bool,
) -> Signal:
    """Add layers behind a signal; returns what comes out."""
    nir = nir_package()
    for place, (name, layer) in enumerate(arch.named(layers)):
        path, numbers = prefix + name, params.get(name, {})
        match layer:
            case arch.BatchNorm() | arch.Normalise():
                pass  # conversion folded it into the weights
            case arch.Dense():
                signal = _add_dense(graph, path, numbers, signal)
            case arch.Conv():
                signal = _add_conv(graph, path, layer, numbers, signal)
            case arch.AvgPool():
                summed = _sum_is_exact(layer.window) and _weights_follow(layers[place + 1 :])
                signal = _add_pool(graph, path, layer, signal, summed)
            case arch.Flatten():
                if len(signal.shape) == 3:
                    height, width, channels = signal.shape
                    flat = nir.Flatten({"input": np.array([channels, height, width])}, 0, -1)
                    signal = signal._replace(
                        heads=graph.add(node_name(path), flat, signal.heads),
                        shape=(height * width * channels,), pixels=signal.shape,
                    )  # fmt: skip
            case arch.Activation():
                signal = _add_neurons(graph, path, numbers, signal, coupled)
            case arch.Residual():
                signal = _add_residual(graph, path, layer, numbers, signal, coupled)
            case _:
                raise ValueError(f"layer {path} is {layer!r}, which is not written to NIR graphs")
    return signal


def _add_residual(
    graph: _Graph, path: str, layer: arch.Residual, numbers: Params, signal: Signal, coupled: bool
) -> Signal:
    ends = []
    for branch, inside in (("body", layer.body), ("shortcut", layer.shortcut)):
        into = f"{path}/{branch}"
        end = _add_layers(graph, inside, numbers.get(branch, {}), signal, f"{into}/", coupled)
        if f"{branch}_weight" in numbers:
            scale = nir_package().Scale(_ours(numbers[f"{branch}_weight"], end))
            end = end._replace(heads=graph.add(node_name(into), scale, end.heads))
        ends.append(end)
    return ends[0]._replace(heads=(*ends[0].heads, *ends[1].heads))


def _add_pool(
    graph: _Graph, path: str, layer: arch.AvgPool, signal: Signal, summed: bool
) -> Signal:
    window, step = layer.window, layer.strides or layer.window
    kind = nir_package().SumPool2d if summed else nir_package().AvgPool2d
    node = kind(np.array(window), np.array(step), np.zeros(2, int))
    sides = ((n - w) // s + 1 for n, w, s in zip(signal.shape, window, step, strict=False))
    factor = signal.factor * (window[0] * window[1] if summed else 1)
    heads = graph.add(node_name(path), node, signal.heads)
    return Signal(heads, (*sides, signal.shape[-1]), (), factor)


def _add_dense(graph: _Graph, path: str, numbers: Params, signal: Signal) -> Signal:
    kernel = np.asarray(numbers["kernel"]) / np.float32(signal.factor)
    weight = kernel[places(signal)].T
    bias = np.asarray(numbers.get("bias", np.zeros(len(weight), np.float32)))
    node = nir_package().Affine(weight, bias, metadata=_changes(signal, numbers))
    heads = graph.add(node_name(path), node, signal.heads)
    return Signal(heads, (len(weight),))


def _add_conv(
    graph: _Graph, path: str, layer: arch.Conv, numbers: Params, signal: Signal
) -> Signal:
    """A border of other pixels than 0 is taken from the image in front, and its current is bias.

    NIR pads both sides alike, so where a border is wider behind, the kernel gets zeros in front.
    """
    kernel = np.asarray(numbers["kernel"], np.float32)
    bias = np.asarray(numbers.get("bias", np.zeros(layer.features)), np.float32)
    if "border" in numbers:
        signal = signal._replace(heads=_centred(graph, path, numbers["border"], signal))
        inputs = np.reshape(numbers["border"], (layer.groups, -1)).T
        each = np.repeat(inputs, layer.features // layer.groups, axis=1)
        bias = bias + (kernel * each).sum((0, 1, 2), dtype=np.float32)
    if layer.dilation != (1, 1):
        raise ValueError(
            f"layer {path} has dilation {layer.dilation}; NIR graphs are written for 1"
        )
    pads = borders(signal.shape[:2], layer.kernel_size, layer.strides, layer.padding)
    added = [after - before for before, after in pads]
    kernel = np.pad(kernel / np.float32(signal.factor), [*((n, 0) for n in added), (0, 0), (0, 0)])
    changes = _changes(signal, numbers)
    if any(added):
        changes["added"] = np.array(added)
    if "border" in numbers:
        changes["bias"] = np.asarray(numbers["bias"])
    node = nir_package().Conv2d(
        signal.shape[:2], kernel.transpose(3, 2, 0, 1), layer.strides,
        tuple(after for _, after in pads), (1, 1), layer.groups, bias, metadata=changes,
    )  # fmt: skip
    sides = (
        (n + sum(pad) - w) // s + 1
        for n, pad, w, s in zip(signal.shape, pads, layer.kernel_size, layer.strides, strict=False)
    )
    return Signal(graph.add(node_name(path), node, signal.heads), (*sides, layer.features))


def _centred(graph: _Graph, path: str, border: Any, signal: Signal) -> tuple[str, ...]:
    """The image less its border."""
    channels = signal.shape[-1]
    each = np.ones((channels, 1, 1, 1), np.float32)
    minus = -np.asarray(border, np.float32)
    node = nir_package().Conv2d(signal.shape[:2], each, (1, 1), (0, 0), (1, 1), channels, minus)
    return graph.add(f"{node_name(path)}.centred", node, signal.heads)


def _add_neurons(
    graph: _Graph, path: str, numbers: Params, signal: Signal, coupled: bool
) -> Signal:
    nir, node = nir_package(), node_name(path)
    for name, neutral, advice in (
        ("leak", 1.0, "NIR's leaks are in continuous time; convert with leak=1"),
        ("shift", 0.0, "NIR has no constant current; convert without --shift or --correct shift"),
    ):
        if np.any(np.asarray(numbers.get(name, neutral)) != neutral):
            raise ValueError(f"{path} has a {name} other than {neutral:g}: {advice}")
    positive, negative = (_ours(numbers[name], signal) for name in ("positive", "negative"))
    start = _ours(numbers["initial"] * numbers["positive"], signal)
    one_sided = np.isinf(negative).all()
    if not one_sided and not (coupled and np.isfinite(negative).all()):
        raise ValueError(
            f"{path} has a negative threshold, which NIR's neurons do not, and two populations"
            " that do not know of each other are not the same neuron; give --coupled to write two"
            " with feedback, or convert a network with alpha = 0, such as --activation th_relu"
        )

    def fires(threshold: np.ndarray, start: np.ndarray) -> Any:
        ones, zeros = np.ones_like(threshold), np.zeros_like(threshold)
        return nir.IF(ones, threshold, zeros, metadata={"initial_potential": start})

    if one_sided:
        return signal._replace(heads=graph.add(node, fires(positive, start), signal.heads))
    minus = -np.ones_like(positive)
    up = graph.add(f"{node}.p", fires(positive, start), signal.heads)
    turned = graph.add(f"{node}.turned", nir.Scale(minus), signal.heads)
    down = graph.add(f"{node}.n", fires(negative, -start), turned)
    for name, weight, (sender,), (receiver,) in (
        ("p_to_n", positive, up, down), ("n_to_p", negative, down, up),
    ):  # fmt: skip
        graph.add(f"{node}.{name}", nir.Scale(weight), (sender,))
        graph.edges.append((f"{node}.{name}", receiver))
    return signal._replace(heads=(*up, *graph.add(f"{node}.minus", nir.Scale(minus), down)))


def node_name(path: str) -> str:
    """A node's name: HDF5 splits names at slashes."""
    return path.replace("/", ".")


def _changes(signal: Signal, numbers: Params) -> dict[str, Any]:
    """What was done to the weights behind a signal, so that it can be undone."""
    pixels = np.array(signal.pixels, int)
    return {"divided_by": signal.factor, "pixels": pixels, "has_bias": "bias" in numbers}


def _sum_is_exact(window: tuple[int, int]) -> bool:
    pixels = window[0] * window[1]
    return pixels & (pixels - 1) == 0


def _weights_follow(layers: tuple[arch.Layer, ...]) -> bool:
    """Whether weights are next, so that they can hold a factor."""
    for layer in layers:
        if not isinstance(layer, arch.AvgPool | arch.Flatten):
            return isinstance(layer, arch.Dense | arch.Conv)
    return False


def places(signal: Signal) -> np.ndarray:
    """Where each value of a flat signal, in NIR's order, is in ours."""
    here = np.arange(signal.shape[0])
    return _channels_first(here.reshape(signal.pixels)).ravel() if signal.pixels else here


def _ours(values: Any, signal: Signal) -> np.ndarray:
    """Numbers of a layer, one for each of its values, in NIR's order."""
    full = np.broadcast_to(np.asarray(values, np.float32), signal.shape)
    return _channels_first(full) if full.ndim == 3 else full[places(signal)]


def _channels_first(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def described(layers: tuple[arch.Layer, ...]) -> list[dict[str, Any]]:
    """Layers as JSON."""
    return [
        {
            "kind": type(layer).__name__,
            **{
                name: described(value) if name in ("body", "shortcut") else value
                for name, value in vars(layer).items()
            },
        }
        for layer in layers
    ]


def _without_weights(params: Params) -> Params:
    """The numbers that no node holds, as HDF5 keeps them."""
    return {
        name: _without_weights(value) if isinstance(value, dict) else np.asarray(value)[()]
        for name, value in params.items()
        if name not in ("kernel", "bias")
    }
