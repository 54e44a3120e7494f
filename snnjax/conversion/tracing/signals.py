"""Values of a trace: what is known, what depends on the images, and what bends on the way.

A signal stands for the output of a layer, in whatever order of axes the user's program keeps
it. `where` says for each entry which entry of that output it is, in the order `[B, H, W, C]`
or `[B, N]`, so a reshape or a transposition changes `where` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import numpy as np

from snnjax.conversion.tracing import graph
from snnjax.conversion.tracing.piecewise import fit
from snnjax.networks import architecture as arch

__all__ = [
    "BORDER",
    "INPUT",
    "Array",
    "Bent",
    "Known",
    "Signal",
    "Site",
    "arrangement",
    "canonical",
    "common",
    "flat",
    "laid_out",
    "line_up",
    "refuse",
    "settled",
]

Array = np.ndarray
BORDER = -1
"""In `where`: a zero that pads the output of a layer."""


class Site(NamedTuple):
    """An operation, the functions of JAX that it is part of, and the line that called them."""

    operation: str
    within: tuple[str, ...] = ()
    line: str = "an unknown line"


INPUT = Site("the input")


class Known(NamedTuple):
    """value: does not depend on the images; names: the user's parameters that it is made of."""

    value: Any
    names: frozenset[str] = frozenset()


@dataclass(eq=False)
class Signal:
    """The output of a layer, entry by entry, or one that was scaled and shifted.

    node: the layer; where: see above; parent: what it was before the last scale and shift.
    """

    node: graph.Node
    where: Array
    parent: Signal | None = None
    scale: Any = 1.0
    bias: Any = 0.0
    names: frozenset[str] = frozenset()
    site: Site = INPUT
    made: Signal | None = None

    def child(self, scale: Any, bias: Any, names: frozenset[str], site: Site) -> Signal:
        """This signal times `scale` plus `bias`, which broadcast to it."""
        return Signal(self.node, self.where, self, scale, bias, names | self.names, site)


@dataclass(eq=False)
class Bent:
    """A function of a signal, entry by entry, that may turn out to be an activation.

    apply: from the values of `base`; otherwise: what it is if it is no activation.
    """

    base: Signal
    apply: Callable[[Array], Any]
    sites: tuple[Site, ...]
    names: frozenset[str] = frozenset()
    otherwise: Callable[[], Signal] | None = field(default=None)
    made: Signal | None = None


def refuse(site: Site, why: str) -> NoReturn:
    """Raise what a user is told of an operation that has no spiking counterpart."""
    within = f", in {site.within[-1]}," if site.within else ""
    raise ValueError(f"{site.operation}{within} at {site.line} cannot be converted: {why}")


def canonical(shape: tuple[int, ...], batch: int) -> Array:
    """`where` of a layer's output as the layer gives it, `[B, H, W, C]` or `[B, N]`."""
    return np.arange(batch * int(np.prod(shape))).reshape(batch, *shape)


def common(a: Signal, b: Signal) -> Signal | None:
    """The last signal that both were made of by scaling and shifting."""
    line = []
    step: Signal | None = a
    while step is not None:
        line.append(step)
        step = step.parent
    step = b
    while step is not None and step not in line:
        step = step.parent
    return step


def line_up(signal: Signal, base: Signal) -> tuple[Any, Any]:
    """Scale and shift that make `signal` of `base`."""
    scale, bias = np.float64(1.0), np.float64(0.0)
    steps = []
    while signal is not base:
        steps.append(signal)
        assert signal.parent is not None
        signal = signal.parent
    for step in reversed(steps):
        scale, bias = scale * step.scale, bias * step.scale + step.bias
    return scale, bias


def settled(value: Signal | Bent) -> Signal:
    """A signal that is the output of a layer as it is, for which layers are made where needed.

    Raises:
      ValueError: if a function is no activation, or numbers differ between pixels.
    """
    if value.made is None:
        value.made = _activated(value) if isinstance(value, Bent) else _scaled(value)
    return value.made


def _scaled(signal: Signal) -> Signal:
    root = signal
    while root.parent is not None:
        root = root.parent
    if signal is root:
        return signal
    node = root.node
    numbers = line_up(signal, root)
    full = [np.broadcast_to(np.asarray(x, np.float64), signal.where.shape) for x in numbers]
    if len(node.shape) == 3 and not all(_uniform(signal, x, node.shape) for x in full):
        if np.squeeze(signal.where).ndim > 2:
            refuse(
                signal.site,
                "its numbers differ from pixel to pixel; want one for each channel, and dropout"
                " turned off",
            )
        node = flat(node)
    scale, bias = (_spread(signal, x, node.shape)[0].reshape(-1, node.shape[-1])[0] for x in full)
    made = graph.scaled(node, scale, bias, signal.names, signal.site.line)
    return Signal(made, signal.where, site=signal.site)


def flat(node: graph.Node) -> graph.Node:
    """The layer's output as a vector for each image."""
    if len(node.shape) == 1:
        return node
    size = int(np.prod(node.shape))
    return graph.Node(arch.Flatten(), [node], (size,), line=node.line)


def _spread(signal: Signal, values: Array, shape: tuple[int, ...]) -> Array:
    """Values of a signal's entries in the order of its layer, `[B, ...]`."""
    where = signal.where
    if where.min() < 0 or len(np.unique(where)) < where.size or where.size % np.prod(shape):
        refuse(signal.site, "it works on a part, a padding or copies of a layer's output")
    spread = np.zeros(where.size, values.dtype)
    spread[where.ravel()] = values.ravel()
    return spread.reshape(-1, *shape)


def _uniform(signal: Signal, values: Array, shape: tuple[int, ...]) -> bool:
    spread = _spread(signal, values, shape).reshape(-1, shape[-1])
    return bool(np.all(spread == spread[0]))


def _activated(bent: Bent) -> Signal:
    below = settled(bent.base)
    # Neurons need a synapse before them; a neutral one goes where there are weights.
    features = below.node.shape[-1]
    ready = graph.scaled(below.node, np.ones(features), np.zeros(features), frozenset(), "")

    def outputs(z: float) -> Array:
        values = np.asarray(bent.apply(np.full(below.where.shape, z, np.float32)), np.float64)
        if not _uniform(below, values, below.node.shape):
            raise ValueError("differs from pixel to pixel")
        return _spread(below, values, below.node.shape).reshape(-1, features)[0]

    try:
        bend = fit(outputs)
    except ValueError as error:
        if bent.otherwise is not None:
            return settled(bent.otherwise())
        _refuse_bent(bent, str(error))
    several = np.ndim(bend.theta) > 0
    layer = arch.Activation(bend.alpha, 1.0, "channel") if several else arch.Activation(
        bend.alpha, float(bend.theta)
    )  # fmt: skip
    params = {"log_theta": np.log(bend.theta)} if several else {}
    line = bent.sites[-1].line
    node = graph.Node(layer, [ready], below.node.shape, params, bent.names, line)
    if np.any(bend.gain != 1):
        node = graph.scaled(node, bend.gain, np.zeros(features), frozenset(), line)
    return Signal(node, below.where, site=bent.sites[-1])


BENDS = {"max", "min", "clamp", "select_n", "abs", "ge", "gt", "le", "lt", "eq", "ne"} | {
    "mul", "add", "add_any", "sub", "neg", "div", "convert_element_type", "copy", "and", "or",
    "not", "sign", "xor",
}  # fmt: skip


def _refuse_bent(bent: Bent, why: str) -> NoReturn:
    """Name the operation that no piecewise linear function has, or else the last."""
    curved = [site for site in bent.sites if site.operation not in BENDS]
    if curved:
        refuse(
            curved[0],
            "neurons follow sthLeakyReLU, LeakyReLU, ReLU and clip only; train with one of these"
            + (", and trace it without levels" if curved[0].operation in ROUNDS else ""),
        )
    refuse(bent.sites[-1], f"the function {why}")


ROUNDS = ("floor", "round", "ceil")


def arrangement(signal: Signal) -> tuple[int | None, ...] | None:
    """For each axis of a signal which of B, H, W and C it is, 0 to 3, or None for one of size 1.

    None altogether if the signal is no transposition of its layer's output.
    """
    where, shape = signal.where, signal.node.shape
    if len(shape) != 3 or where.size % np.prod(shape) or where.min() < 0:
        return None
    sizes = (where.size // int(np.prod(shape)), *shape)
    steps = [int(np.prod(sizes[place + 1 :])) for place in range(4)]
    roles: list[int | None] = []
    for axis, size in enumerate(where.shape):
        if size == 1:
            roles.append(None)
            continue
        step = int(np.diff(np.take(where, [0, 1], axis), axis=axis).flat[0])
        found = [j for j in range(4) if sizes[j] == size and steps[j] == step]
        if not found or found[0] in roles:
            return None
        roles.append(found[0])
    wanted = laid_out(canonical(shape, sizes[0]), tuple(roles), where.shape)
    return tuple(roles) if np.array_equal(where, wanted) else None


def laid_out(image: Array, roles: tuple[int | None, ...], shape: tuple[int, ...]) -> Array:
    """`[B, H, W, C]` with its axes where `arrangement` found them."""
    order = [role for role in roles if role is not None]
    ones = [role for role in range(4) if role not in order]
    return image.transpose(*order, *ones).reshape(shape)
