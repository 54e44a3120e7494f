"""Converted networks as NIR graphs (Neuromorphic Intermediate Representation).

NIR has neurons with one threshold and a reset to a potential, and does not state the potential at
the start. A graph from here is meant with soft reset, which its metadata says, and with the
double-threshold neuron of this package.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from snnjax.io.checkpoint import write_whole
from snnjax.io.nir_layout import (
    Graph,
    Params,
    Shape,
    Signal,
    in_nir_order,
    nir_package,
    node_name,
)
from snnjax.io.nir_neurons import add_neurons
from snnjax.io.nir_weights import conv_node, dense_node
from snnjax.networks import architecture as arch
from snnjax.networks import serialisation
from snnjax.runtime.windows import Window
from snnjax.snn.engine import neuron_shapes
from snnjax.snn.whole_numbers import is_integer

__all__ = ["to_graph", "write"]


def write(
    path: Path,
    network: arch.Network,
    params: Params,
    image_shape: Shape,
    *,
    coupled: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a converted network with double-threshold neurons as a NIR file; see `to_graph`.

    Raises:
      ImportError: if nir is not installed.
      ValueError: if NIR cannot state the network exactly; then nothing is written.
      OSError: if the file cannot be written.
    """
    graph = to_graph(network, params, image_shape, coupled=coupled, metadata=metadata)
    content = io.BytesIO()
    nir_package().write(content, graph)
    write_whole(path, content.getvalue())


def to_graph(
    network: arch.Network,
    params: Params,
    image_shape: Shape,
    *,
    coupled: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """Return a converted network with double-threshold neurons as a `nir.NIRGraph`.

    A layer without negative threshold is one IF. A layer with both thresholds differs from two
    independent IF, because a spike of either sign moves the potential of both. With `coupled` it
    becomes two IF with feedback: p with potential v and n with potential -v. Every spike of n adds
    v_n to p, and every spike of p adds v_p to n, one timestep later. Where resets are soft and
    feedback takes one timestep, they send exactly the spikes of the double-threshold neuron.

    Weights, biases, thresholds and input of an integer network are whole numbers, held in floats
    like all numbers of a graph; its metadata has the `scale` of the output.

    Choice: a mean of 2**n pixels in front of weights is a SumPool2d with the weights divided, which
    is exact and read by more simulators; other means are AvgPool2d. The sums of an integer network
    are SumPool2d.

    Args:
      network: the architecture.
      params: parameters from `conversion.convert` or `quantise`.
      image_shape: `(H, W, C)`, or in the order that the network takes.
      coupled: write neurons with both thresholds as two populations with feedback.
      metadata: JSON-able, kept in the graph.

    Raises:
      ImportError: if nir is not installed.
      ValueError: if NIR cannot state the network exactly, or the images do not fit it.
    """
    nir = nir_package()
    neuron_shapes(network, params["layers"], image_shape)  # raises where they do not fit
    if "readout" in params:
        raise ValueError("NIR has no readout that averages neurons; export before snnjax learn")
    if np.any(np.asarray(params["output_leak"]) != 1):
        raise ValueError("NIR cannot state output_leak; convert with --output-leak 1")
    if network.image_order is not None:  # NIR has one order of axes
        image_shape = tuple(image_shape[axis] for axis in network.image_order.axes)
    if len(image_shape) != 3:
        raise ValueError(
            f"images have shape {tuple(image_shape)}; NIR graphs are written for maps: want a"
            " network that begins with a Flatten, and images [1, 1, D]"
        )
    height, width, channels = image_shape
    images = nir.Input({"input": np.array([channels, height, width])})
    graph = Graph({"input": images}, [], coupled)
    end = _add_layers(
        graph, network.layers, params["layers"], Signal(image_shape, ("input",)), prefix=""
    )
    graph.add("output", nir.Output({"output": np.array(end.shape)}), end.senders)
    kept = {
        "network": json.loads(serialisation.write(network)),
        "metadata": dict(metadata or {}),
        "coupled": coupled,
    }
    facts = {
        "reset": "subtract",
        "fires": "v >= v_threshold",
        "time_step": 1.0,
        "neuron": "double-threshold",
        **_input_and_output(params),
        "feedback": "one timestep later" if any(".p_to_n" in n for n in graph.nodes) else "none",
        "snnjax": json.dumps(kept, sort_keys=True),
        "parameters": _without_weights(params),
    }
    # nir 1.0.8 takes every kernel for square and ungrouped when it checks types.
    return nir.NIRGraph(graph.nodes, graph.edges, facts, type_check=False)


def _input_and_output(params: Params) -> dict[str, Any]:
    """Facts on what the graph takes and gives."""
    if not is_integer(params):
        return {"input": "gain * image, channels first",
                "output": "current; its mean over timesteps is the logits"}  # fmt: skip
    return {
        "input": f"{float(params['integer']['pixel']):g} * image, channels first: whole numbers",
        "output": "current; its mean over timesteps, times scale, is the logits",
        "scale": float(params["integer"]["logit"]),
    }


def _add_layers(
    graph: Graph, layers: tuple[arch.Layer, ...], params: Params, signal: Signal, *, prefix: str
) -> Signal:
    """Add layers behind a signal, and return their output."""
    for place, (name, layer) in enumerate(arch.named(layers)):
        path, numbers = prefix + name, params.get(name, {})
        match layer:
            case arch.BatchNorm() | arch.Normalise():
                pass  # conversion folded it into the weights
            case arch.Transpose() if place == 0 and not prefix:
                pass  # the input of the graph has the order behind it
            case arch.Dense():
                signal = _add_dense(graph, path, numbers, signal)
            case arch.Conv():
                signal = _add_conv(graph, path, layer, numbers, signal)
            case arch.AvgPool():
                signal = _add_pool(graph, path, layer, numbers, signal, behind=layers[place + 1 :])
            case arch.Flatten():
                signal = _add_flatten(graph, path, signal)
            case arch.Activation():
                signal = add_neurons(graph, path, numbers, signal)
            case arch.Residual():
                signal = _add_residual(graph, path, layer, numbers, signal)
            case _:
                raise ValueError(
                    f"layer {path} is a {type(layer).__name__}, for which NIR graphs have no node;"
                    " want Dense, Conv, AvgPool, Flatten, Activation, Residual, BatchNorm or"
                    " Normalise"
                )
    return signal


def _add_residual(
    graph: Graph, path: str, layer: arch.Residual, numbers: Params, signal: Signal
) -> Signal:
    ends = []
    for branch, inside in layer.branches.items():
        prefix = f"{path}/{branch}"
        end = _add_layers(graph, inside, numbers.get(branch, {}), signal, prefix=f"{prefix}/")
        if f"{branch}_weight" in numbers:
            scale = nir_package().Scale(in_nir_order(numbers[f"{branch}_weight"], end))
            end = end._replace(senders=graph.add(node_name(prefix), scale, end.senders))
        ends.append(end)
    body, shortcut = ends
    return body._replace(senders=(*body.senders, *shortcut.senders))


def _add_flatten(graph: Graph, path: str, signal: Signal) -> Signal:
    if len(signal.shape) != 3:
        return signal
    height, width, channels = signal.shape
    node = nir_package().Flatten({"input": np.array([channels, height, width])}, 0, -1)
    return signal._replace(
        shape=(height * width * channels,),
        senders=graph.add(node_name(path), node, signal.senders),
        unflattened=signal.shape,
    )


def _add_pool(
    graph: Graph,
    path: str,
    layer: arch.AvgPool,
    numbers: Params,
    signal: Signal,
    *,
    behind: tuple[arch.Layer, ...],
) -> Signal:
    """Add a pooling in front of the layers `behind`; one with a divisor of 1 sums."""
    window = Window(layer.window, layer.strides or layer.window)
    pixels = window.size[0] * window.size[1]
    is_power_of_two = pixels & (pixels - 1) == 0
    whole = "divisor" in numbers
    summed = not whole and is_power_of_two and _weights_come_first(behind)
    kind = nir_package().SumPool2d if summed or whole else nir_package().AvgPool2d
    node = kind(np.array(window.size), np.array(window.strides), np.zeros(2, int))
    return Signal(
        (*window.outputs(signal.shape), signal.shape[-1]),
        graph.add(node_name(path), node, signal.senders),
        divisor=signal.divisor * (pixels if summed else 1),
    )


def _weights_come_first(layers: tuple[arch.Layer, ...]) -> bool:
    """Return True if the first layer that is no AvgPool or Flatten has weights to be divided."""
    for layer in layers:
        if not isinstance(layer, arch.AvgPool | arch.Flatten):
            return isinstance(layer, arch.Dense | arch.Conv)
    return False


def _add_dense(graph: Graph, path: str, numbers: Params, signal: Signal) -> Signal:
    node = dense_node(numbers, signal)
    shape = (*(signal.shape[:-1] if len(signal.shape) == 3 else ()), len(node.weight))
    return Signal(shape, graph.add(node_name(path), node, signal.senders))


def _add_conv(graph: Graph, path: str, layer: arch.Conv, numbers: Params, signal: Signal) -> Signal:
    if "border" in numbers:
        padding_value = np.asarray(numbers["border"], np.float32)
        signal = _add_subtraction(graph, path, padding_value, signal)
    senders = graph.add(node_name(path), conv_node(path, layer, numbers, signal), signal.senders)
    window = layer.spec.window
    return Signal((*window.outputs(signal.shape), layer.features), senders)


def _add_subtraction(graph: Graph, path: str, value: np.ndarray, signal: Signal) -> Signal:
    """Subtract the value `[C]` of a layer's padding from every pixel in front of it."""
    channels = signal.shape[-1]
    identity = np.ones((channels, 1, 1, 1), np.float32)
    node = nir_package().Conv2d(
        signal.shape[:2], identity, (1, 1), (0, 0), (1, 1), channels, -value
    )
    return signal._replace(senders=graph.add(f"{node_name(path)}.centred", node, signal.senders))


def _without_weights(params: Params) -> Params:
    """Return the parameters that no node holds, in types that HDF5 keeps."""
    return {
        name: _without_weights(value) if isinstance(value, dict) else np.asarray(value)[()]
        for name, value in params.items()
        if name not in ("kernel", "bias") and value is not None
    }
