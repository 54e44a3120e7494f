"""Layers made of what a program does between products: scales and activations."""

from __future__ import annotations

import numpy as np

from snnjax.conversion.tracing.activation_fit import fit
from snnjax.conversion.tracing.entry_values import differs_between_pixels, values_of_channels
from snnjax.conversion.tracing.graph import Node, flattened, scaled
from snnjax.conversion.tracing.image_layout import tell_layout
from snnjax.conversion.tracing.indices import (
    Array,
    channel_places,
    in_layer_order,
    same_for_all_pixels,
)
from snnjax.conversion.tracing.jaxpr_walk import Known, Operation, refuse
from snnjax.conversion.tracing.selections import whole
from snnjax.conversion.tracing.signals import Elementwise, Signal, Value, affine_from
from snnjax.networks import architecture as arch

__all__ = ["is_activation", "layer_output", "signal_and_weights"]


def layer_output(value: Signal | Elementwise) -> Signal:
    """Return a value as the output of a layer itself, with no scale or function behind it.

    A `Scale` or an `Activation` is added to the graph for a value that is scaled, or a function.
    It is added once, and every later call returns the same signal.

    Raises:
      ValueError: if a function is no activation, or scales differ between pixels.
    """
    if isinstance(value, Elementwise) and value.failure is not None:
        raise value.failure
    if value.output is None:
        value.output = (
            _with_activation(value) if isinstance(value, Elementwise) else _with_scale(value)
        )
    return value.output


def is_activation(function: Elementwise) -> bool:
    """Return True if a function can be the output of a layer as it is."""
    try:
        layer_output(function)
    except ValueError as error:
        function.failure = error
        return False
    return True


def signal_and_weights(operation: Operation, operands: list[Value]) -> tuple[Signal, Known, bool]:
    """Return the signal and the weights of a product, and True if the weights come first.

    Raises:
      ValueError: if both operands depend on the images.
    """
    left, right = operands
    if isinstance(right, Known):
        assert not isinstance(left, Known)
        return layer_output(left), right, False
    if isinstance(left, Known):
        return layer_output(right), left, True
    refuse(
        operation,
        "it multiplies two activations, as attention does; want one operand made of parameters",
    )


ALIKE = "want one for each channel"


def _with_scale(signal: Signal) -> Signal:
    """Add a Scale behind the layer of a scaled signal."""
    root = signal
    while root.parent is not None:
        root = root.parent
    if signal is root:
        return signal
    operation = signal.operation
    base = whole(Signal(root.node, root.indices, operation=operation))
    node = base.node
    scale, bias = (np.asarray(x, np.float64) for x in affine_from(root, signal))
    if not all(same_for_all_pixels(x, base.indices, node.shape) for x in (scale, bias)):
        if len(node.shape) == 3:
            _tell_channels(base, scale, bias, operation)
        if np.squeeze(signal.indices).ndim > 2:
            refuse(operation, f"its numbers differ from pixel to pixel; {ALIKE}")
        node = flattened(node)
        if not all(same_for_all_pixels(x, base.indices, node.shape) for x in (scale, bias)):
            refuse(operation, f"its numbers differ from image to image; {ALIKE}")
    scale, bias = (_by_channel(x, base.indices, node.shape) for x in (scale, bias))
    made = scaled(node, scale, bias, signal.sources, operation.line)
    return Signal(made, base.indices, operation=operation)


def _tell_channels(base: Signal, scale: Array, bias: Array, operation: Operation) -> None:
    """Tell the layout of the images by the only axis along which a scale of them differs.

    Raises:
      LayoutTold: if there is one.
    """
    numbers = [np.broadcast_to(x, base.indices.shape) for x in (scale, bias)]
    ordered = np.stack([in_layer_order(base.indices, x, base.node.shape) for x in numbers])
    differs = [
        axis for axis in range(1, 5) if np.any(ordered != np.take(ordered, [0], axis))
    ]  # 1 is the batch
    if len(differs) == 1 and differs != [1]:
        tell_layout(operation, base.node, (None, None, differs[0] - 1))


def _by_channel(values: Array, indices: Array, shape: tuple[int, ...]) -> Array:
    """Return one number for each channel of a layer's output, `[C]`."""
    places = channel_places(indices, shape)
    return np.broadcast_to(values, indices.shape)[places]


def _with_activation(function: Elementwise) -> Signal:
    """Add an Activation, or the alternative of a function that is none."""
    base = whole(layer_output(function.base))

    def outputs(z: Array) -> Array:
        return values_of_channels(function, base, z)

    try:
        if differs_between_pixels(function, base):
            raise ValueError("differs from pixel to pixel; want one for each channel")
        found = fit(outputs)
    except ValueError as error:
        if function.alternative is not None:
            return layer_output(function.alternative())
        if function.obstacle is not None:
            refuse(*function.obstacle)
        refuse(function.operations[-1], f"the function {error}")
    operation = function.operations[-1]
    if np.ndim(found.theta) > 0:
        layer = arch.Activation(found.alpha, 1.0, "channel")
        params = {"log_theta": np.log(found.theta)}
    else:
        layer, params = arch.Activation(found.alpha, float(found.theta)), {}
    # Neurons need a synapse before them: a neutral one, folded away where there are weights.
    synapse = scaled(base.node)
    node = Node(layer, [synapse], base.node.shape, params, function.sources, operation.line)
    if operation.module:
        node.user_name = f"{operation.module}/{operation.function or operation.primitive}"
    if np.any(found.gain != 1):
        node = scaled(node, found.gain, line=operation.line)
    return Signal(node, base.indices, operation=operation, origin=function)
