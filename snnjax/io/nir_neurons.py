"""Double-threshold neurons in NIR graphs: one IF, or two with feedback."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnjax.io.nir_layout import Graph, Params, Signal, in_nir_order, nir_package, node_name

__all__ = ["add_neurons"]


def add_neurons(graph: Graph, path: str, numbers: Params, signal: Signal) -> Signal:
    """Add a layer of double-threshold neurons to a graph, and return its spikes.

    Raises:
      ValueError: if NIR cannot state the neurons.
    """
    _check_neurons(path, numbers)
    positive, negative = (in_nir_order(numbers[name], signal) for name in ("positive", "negative"))
    start = in_nir_order(numbers["initial"] * numbers["positive"], signal)
    if np.isinf(negative).all():
        node = _integrate_and_fire(positive, start)
        return signal._replace(senders=graph.add(node_name(path), node, signal.senders))
    if np.isinf(negative).any():
        raise ValueError(
            f"{path} has a negative threshold in some of its neurons only, for which NIR graphs are"
            " not written; want all or none: convert with one alpha for the layer"
        )
    if graph.coupled:
        return _add_coupled_neurons(graph, node_name(path), (positive, negative), start, signal)
    raise ValueError(
        f"{path} has a negative threshold, which NIR's neurons do not, and two independent"
        " populations are not the same neuron; give --coupled to write two with feedback, or"
        " convert a network with alpha = 0, such as --activation th_relu"
    )


def _check_neurons(path: str, numbers: Params) -> None:
    """Refuse parameters that an IF does not have."""
    for name, neutral, advice in (
        ("leak", 1.0, "NIR's leaks are in continuous time; convert with leak=1"),
        ("shift", 0.0, "NIR has no constant current; convert without --shift or --correct shift"),
    ):
        value = numbers.get(name)
        if value is not None and np.any(np.asarray(value) != neutral):
            raise ValueError(f"{path} has a {name} other than {neutral:g}: {advice}")


def _integrate_and_fire(threshold: np.ndarray, start: np.ndarray) -> Any:
    """Return an IF with these thresholds and initial membrane potentials."""
    ones, zeros = np.ones_like(threshold), np.zeros_like(threshold)
    return nir_package().IF(ones, threshold, zeros, metadata={"initial_potential": start})


def _add_coupled_neurons(
    graph: Graph,
    name: str,
    thresholds: tuple[np.ndarray, np.ndarray],
    start: np.ndarray,
    signal: Signal,
) -> Signal:
    """Add populations p and n with feedback; the output is the spikes of p minus those of n."""
    scale, (positive, negative) = nir_package().Scale, thresholds
    minus = -np.ones_like(positive)
    up = graph.add(f"{name}.p", _integrate_and_fire(positive, start), signal.senders)
    turned = graph.add(f"{name}.turned", scale(minus), signal.senders)
    down = graph.add(f"{name}.n", _integrate_and_fire(negative, -start), turned)
    for feedback, weight, sender, (receiver,) in (
        ("p_to_n", positive, up, down), ("n_to_p", negative, down, up),
    ):  # fmt: skip
        (node,) = graph.add(f"{name}.{feedback}", scale(weight), sender)
        graph.edges.append((node, receiver))
    return signal._replace(senders=(*up, *graph.add(f"{name}.minus", scale(minus), down)))
