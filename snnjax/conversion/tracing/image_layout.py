"""Order of the axes of the user's images, told by the caller or by the first operation.

A convolution names the axes of its pixels and channels, a pooling goes over pixels, and a scale
along one axis is one for each channel. Sizes of axes tell nothing.
"""

from __future__ import annotations

import numpy as np

from snnjax.conversion.tracing.graph import Node, flattened, is_layer
from snnjax.conversion.tracing.indices import (
    CHANNELS,
    COLUMNS,
    ROWS,
    Roles,
    in_user_order,
    indices_of,
)
from snnjax.conversion.tracing.jaxpr_walk import Operation
from snnjax.conversion.tracing.signals import Signal
from snnjax.networks import architecture as arch

__all__ = [
    "IN_ORDER",
    "LayoutTold",
    "input_signal",
    "layout_axes",
    "layout_name",
    "reaches_input",
    "tell_layout",
]

Axes = tuple[int, int, int]
IN_ORDER: Axes = (0, 1, 2)
"""Axes of rows, columns and channels in `[B, H, W, C]`."""


class LayoutTold(Exception):  # no error: `trace` begins again with the layout
    """Layout of the images that an operation needs, other than the one at hand.

    axes: the axes of one image that are its rows, columns and channels.
    """

    def __init__(self, axes: Axes, operation: Operation) -> None:
        """Keep the axes and the operation that takes them."""
        super().__init__(layout_name(axes))
        self.axes, self.operation = axes, operation


def layout_axes(layout: str | None, num_axes: int) -> Axes | None:
    """Return the axes of one image that are rows, columns and channels; None for no layout.

    Raises:
      ValueError: if it is no layout, or the images have no such axes.
    """
    if layout is None:
        return None
    if layout[:1] != "N" or sorted(layout) != sorted("NHWC"):
        raise ValueError(
            f"layout is {layout!r}; want the order of the example's axes, 'NHWC' or 'NCHW', or None"
            " for what the function's first convolution says"
        )
    if num_axes != 4:
        raise ValueError(f"layout is {layout!r}, but the example has {num_axes} axes; want 4")
    rows, columns, channels = (layout.index(letter) - 1 for letter in "HWC")
    return rows, columns, channels


def layout_name(axes: Axes) -> str:
    """Return the letters of a layout, such as "NCHW" for the axes (1, 2, 0)."""
    return "N" + "".join("HWC"[axes.index(axis)] for axis in range(3))


def input_signal(shape: tuple[int, ...], batch: int, axes: Axes) -> tuple[Node, Signal]:
    """Return the graph's input, and the signal that stands for the user's images.

    Args:
      shape: of one image, as the user's function takes it.
      batch: number of images.
      axes: of one image that are its rows, columns and channels.
    """
    if len(shape) == 1:
        start = Node(None, [], (1, 1, *shape))
        return start, Signal(flattened(start), indices_of(shape, batch))
    start = node = Node(None, [], shape)
    if axes != IN_ORDER:
        node = Node(arch.Transpose(axes), [start], tuple(shape[axis] for axis in axes))
    roles = (0, *(axis + 1 for axis in np.argsort(axes).tolist()))
    return start, Signal(node, in_user_order(indices_of(node.shape, batch), roles, (batch, *shape)))


def reaches_input(node: Node) -> bool:
    """Return True if nothing but scales and an order of axes is between a node and the images."""
    while is_layer(node, arch.Scale):
        node = node.inputs[0]
    return node.layer is None or is_layer(node, arch.Transpose)


def tell_layout(operation: Operation, node: Node, roles: Roles) -> None:
    """Begin again with another layout, if an operation takes other axes of the images for pixels.

    Args:
      operation: the one that takes them.
      node: whose output it takes; nothing happens unless these are the images.
      roles: present roles of the axes that it takes for rows, columns and channels; None for an
        axis of one pixel, and for one that it does not name.

    Raises:
      LayoutTold: if the order of the axes is another than the present one.
    """
    if not reaches_input(node):
        return
    left = [role for role in (ROWS, COLUMNS, CHANNELS) if role not in roles]
    order: list[int] = []
    for own, role in zip((ROWS, COLUMNS, CHANNELS), roles, strict=True):
        if role is None:
            role = own if own in left else left[0]
            left.remove(role)
        order.append(role)
    if order == [ROWS, COLUMNS, CHANNELS] or sorted(order) != [ROWS, COLUMNS, CHANNELS]:
        return
    while is_layer(node, arch.Scale):
        node = node.inputs[0]
    present = node.layer.axes if isinstance(node.layer, arch.Transpose) else IN_ORDER
    rows, columns, channels = (present[role - 1] for role in order)
    raise LayoutTold((rows, columns, channels), operation)
