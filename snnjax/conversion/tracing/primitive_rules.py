"""What each operation of a trace is: a layer, bookkeeping, a part of an activation, or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from snnjax.conversion.tracing import graph
from snnjax.conversion.tracing.signals import (
    BORDER,
    Array,
    Bent,
    Known,
    Signal,
    Site,
    arrangement,
    canonical,
    common,
    flat,
    laid_out,
    line_up,
    refuse,
    settled,
)
from snnjax.networks import architecture as arch

__all__ = ["evaluate", "translate"]

Value = Known | Signal | Bent
Rule = Callable[[Site, JaxprEqn, list[Any]], Any]


def translate(site: Site, equation: JaxprEqn, operands: list[Value]) -> list[Value]:
    """The outputs of an operation of which at least one operand depends on the images.

    Raises:
      ValueError: naming an operation that has no spiking counterpart, and its line.
    """
    rule = RULES.get(equation.primitive.name)
    if rule is None:
        refuse(site, ADVICE.get(equation.primitive.name, "no spiking layer does that"))
    outputs = rule(site, equation, operands)
    return outputs if isinstance(outputs, list) else [outputs]


def evaluate(equation: JaxprEqn, values: Sequence[Any]) -> list[Any]:
    """The outputs of an operation on arrays."""
    outputs = equation.primitive.bind(*values, **equation.params)
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def _shape(equation: JaxprEqn) -> tuple[int, ...]:
    return tuple(equation.outvars[0].aval.shape)  # type: ignore[attr-defined]


def names_of(operands: Sequence[Value]) -> frozenset[str]:
    """The user's parameters in all known operands."""
    return frozenset().union(*(x.names for x in operands if isinstance(x, Known)))


# --- entry by entry ---------------------------------------------------------------------


def affine(site: Site, equation: JaxprEqn, operands: list[Value]) -> Value:
    """A sum or product with known numbers, a sum of signals, or a part of an activation."""
    name = equation.primitive.name
    known = [x for x in operands if isinstance(x, Known)]
    if len(operands) == 1 or known:
        (signal,) = (x for x in operands if not isinstance(x, Known))
        if isinstance(signal, Bent):
            closed = _closed(signal)
            if closed is None:
                return bend(site, equation, operands)
            signal = closed
        number = np.asarray(known[0].value if known else 0.0, np.float64)
        first = isinstance(operands[0], Known)
        if name == "div" and first:
            refuse(site, "it divides by an activation")
        scale, bias = _numbers(name, number, first)
        return signal.child(scale, bias, names_of(operands), site)
    if name in ("mul", "div"):
        return bend(site, equation, operands)
    left, right = operands
    joined = partial(_added, site, left, right, -1.0 if name == "sub" else 1.0)
    one_base = common(_base(left), _base(right)) is not None
    if one_base and (isinstance(left, Bent) or isinstance(right, Bent)):
        bent = bend(site, equation, operands)
        bent.otherwise = joined
        return bent
    return joined()


def _numbers(name: str, number: Array, first: bool) -> tuple[Any, Any]:
    """Scale and shift of what is not the known operand."""
    return {
        "add": (1.0, number), "add_any": (1.0, number), "mul": (number, 0.0),
        "sub": (-1.0, number) if first else (1.0, -number),
        "div": (1 / np.where(number == 0, np.nan, number), 0.0), "neg": (-1.0, 0.0),
    }[name]  # fmt: skip


def _closed(bent: Bent) -> Signal | None:
    """The activation that it is, or None if it is a part of one at most."""
    try:
        return settled(bent)
    except ValueError:
        return None


def _base(value: Any) -> Signal:
    return value.base if isinstance(value, Bent) else value


def _added(site: Site, left: Any, right: Any, sign: float) -> Signal:
    """A residual sum: a block of which the two are the ends of the branches."""
    if sign < 0:
        right = settled(right).child(-1.0, 0.0, frozenset(), site)
    a, b = settled(left), settled(right)
    nodes = [a.node, b.node]
    if a.node.shape != b.node.shape:
        nodes = [flat(a.node), flat(b.node)]
    if nodes[0].shape != nodes[1].shape or not np.array_equal(a.where, b.where):
        refuse(site, "it adds arrays whose entries are in different orders, or are not all there")
    node = graph.Node(arch.Residual, nodes, nodes[0].shape, line=site.line)
    return Signal(node, a.where, site=site)


def bend(site: Site, equation: JaxprEqn, operands: list[Value]) -> Bent:
    """A function of one signal, entry by entry."""
    followed: list[Any] = [x for x in operands if not isinstance(x, Known)]
    base = _base(followed[0])
    for other in followed[1:]:
        found = common(base, _base(other))
        if found is None:
            refuse(site, ADVICE.get(site.operation, "it makes one of two activations"))
        base = found
    if _shape(equation) != base.where.shape:
        refuse(site, "it broadcasts an activation")

    def apply(z: Array) -> Any:
        return evaluate(equation, [_at(x, base, z) for x in operands])[0]

    earlier = tuple(s for x in followed if isinstance(x, Bent) for s in x.sites)
    names = names_of(operands).union(*(x.names for x in followed)) - base.names
    return Bent(base, apply, (*earlier, site), names)


def _at(value: Any, base: Signal, z: Array) -> Any:
    """An operand where the base is z."""
    if isinstance(value, Known):
        return value.value
    scale, bias = line_up(_base(value), base)
    moved = np.asarray(z * scale + bias, np.float32)
    return value.apply(moved) if isinstance(value, Bent) else moved


def converted(site: Site, equation: JaxprEqn, operands: list[Value]) -> Value:
    """A change of type: of floats nothing, and of truth a part of an activation."""
    (value,) = operands
    if isinstance(value, Signal) and jnp.issubdtype(equation.params["new_dtype"], jnp.floating):
        return value
    return bend(site, equation, operands)


def same(site: Site, equation: JaxprEqn, operands: list[Value]) -> list[Value]:
    """Nothing happens."""
    del site, equation
    return operands


# --- bookkeeping ------------------------------------------------------------------------


def moved(site: Site, equation: JaxprEqn, operands: list[Value]) -> list[Value]:
    """The same entries in another order or shape, or some of them."""
    signal = settled(operands[0])  # type: ignore[arg-type]
    if not all(isinstance(x, Known) for x in operands[1:]):
        refuse(site, "where it looks depends on the images")
    rest: list[Any] = [x.value for x in operands[1:] if isinstance(x, Known)]
    if equation.primitive.name == "pad":
        if np.any(np.asarray(rest[0]) != 0):
            refuse(site, f"it pads with {rest[0]}; want zeros")
        rest[0] = np.int32(BORDER)
    where = evaluate(equation, [signal.where.astype(np.int32), *rest])
    return [Signal(signal.node, np.asarray(w), site=site) for w in where]


def concatenated(site: Site, equation: JaxprEqn, operands: list[Value]) -> Signal:
    """Channels side by side."""
    if any(isinstance(x, Known) for x in operands):
        refuse(site, "it joins activations and constants")
    parts = [settled(x) for x in operands]  # type: ignore[arg-type]
    nodes = [part.node for part in parts]
    if len({node.shape[:-1] for node in nodes}) > 1:
        nodes = [flat(node) for node in nodes]
    offsets = np.cumsum([0, *(node.shape[-1] for node in nodes)])
    shape = (*nodes[0].shape[:-1], int(offsets[-1]))
    places = []
    for part, node, offset in zip(parts, nodes, offsets, strict=False):
        pixel, channel = np.divmod(part.where, node.shape[-1])
        places.append(np.where(part.where < 0, BORDER, pixel * shape[-1] + channel + offset))
    where = np.concatenate(places, equation.params["dimension"])
    return Signal(graph.Node(arch.Concat, nodes, shape, line=site.line), where, site=site)


# --- layers -----------------------------------------------------------------------------


def product(site: Site, equation: JaxprEqn, operands: list[Value]) -> Signal:
    """A Dense, or a convolution of one pixel."""
    signal, weights, swapped = _operands(site, operands)
    contracted, batched = equation.params["dimension_numbers"]
    if batched[0]:
        refuse(site, "its weights differ between the entries of an axis; want one matrix")
    ours, theirs = contracted[::-1] if swapped else contracted
    where, free = signal.where, [a for a in range(signal.where.ndim) if a not in ours]
    kernel = np.moveaxis(np.asarray(weights.value), theirs, range(len(theirs)))
    outputs = kernel.shape[len(theirs) :]
    rows = where.transpose(*free, *ours)
    kernel = kernel.reshape(int(np.prod(kernel.shape[: len(theirs)])), -1)
    features, batch = kernel.shape[1], _batch(signal)
    shape = (*rows.shape[: len(free)], *outputs)
    if int(np.prod(rows.shape[: len(free)])) == batch:
        node = flat(signal.node)
        order = _order(site, rows.reshape(batch, -1), node.shape)
        layer: arch.Layer = arch.Dense(features, use_bias=False)
        made = _weighted(node, layer, kernel[np.argsort(order)], (features,), weights, site)
        return _result(made, canonical((features,), batch).reshape(shape), len(free), swapped, site)
    roles = arrangement(signal)
    if roles is None or [roles[axis] for axis in ours] != [3]:
        refuse(site, "it multiplies an axis that is neither the channels nor all of an image")
    pixels = signal.node.shape[:2]
    layer = arch.Conv(features, (1, 1), padding="VALID", use_bias=False)
    made = _weighted(signal.node, layer, kernel[None, None], (*pixels, features), weights, site)
    image = canonical(made.shape, batch)
    entries = laid_out(image, (*(roles[axis] for axis in free), 3), shape)
    return _result(made, entries, len(free), swapped, site)


def _operands(site: Site, operands: list[Value]) -> tuple[Signal, Known, bool]:
    """Signal and weights of a product, and whether the weights come first."""
    left, right = operands
    if isinstance(left, Known):
        return settled(right), left, True  # type: ignore[arg-type]
    if not isinstance(right, Known):
        refuse(site, "it multiplies two activations, as attention does")
    return settled(left), right, False


def _result(node: graph.Node, where: Array, free: int, swapped: bool, site: Site) -> Signal:
    """A product's output, whose own axes come last if the weights came first."""
    if swapped:
        where = np.moveaxis(where, range(free), range(-free, 0))
    return Signal(node, where, site=site)


def _batch(signal: Signal) -> int:
    return -(-(int(signal.where.max()) + 1) // int(np.prod(signal.node.shape)))


def _order(site: Site, rows: Array, shape: tuple[int, ...]) -> Array:
    """Which of a layer's outputs each entry of `[B, ..., N]` is."""
    wanted = canonical(shape, len(rows))
    order = rows[(0,) * (rows.ndim - 1)]
    if rows.shape != wanted.shape or np.any(order < 0) or len(np.unique(order)) < order.size:
        refuse(site, "it works on a part, a padding or copies of a layer's output")
    if not np.array_equal(rows, wanted[..., order]):
        refuse(site, "its input is another shape of a layer's output; want images or vectors")
    return order


def _weighted(
    node: graph.Node,
    layer: arch.Layer,
    kernel: Array,
    shape: tuple[int, ...],
    weights: Known,
    site: Site,
) -> graph.Node:
    params = {"kernel": np.asarray(kernel, np.float64)}
    return graph.Node(layer, [node], shape, params, weights.names, site.line)


def convolution(site: Site, equation: JaxprEqn, operands: list[Value]) -> Signal:
    """A Conv, with the zeros that pad its input as part of its border."""
    signal, weights, swapped = _operands(site, operands)
    given, numbers = equation.params, equation.params["dimension_numbers"]
    if swapped or given["batch_group_count"] != 1 or set(given["lhs_dilation"]) != {1}:
        refuse(site, "it is transposed; want a convolution of images with fixed kernels")
    if len(given["window_strides"]) != 2:
        refuse(site, f"it has {len(given['window_strides'])} axes of space; want 2")
    batch, channel, *space = numbers.lhs_spec
    output, input_, *taps = numbers.rhs_spec
    kernel = np.asarray(weights.value).transpose(*taps, input_, output)
    framed = signal.where.transpose(batch, *space, channel)
    inner, border = _unpadded(site, framed)
    order = _order(site, inner, signal.node.shape)
    groups = given["feature_group_count"]
    if groups > 1 and np.any(np.diff(order) != 1):
        refuse(site, "it has groups of channels in another order")
    kernel = kernel[:, :, np.argsort(order)] if groups == 1 else kernel
    added = zip(given["padding"], border, strict=True)
    padding: Any = tuple((a + c, b + d) for (a, b), (c, d) in added)
    if np.min(padding) < 0:
        refuse(site, f"it cuts off pixels, padding {padding}")
    taps_of: Any = kernel.shape[:2]
    dilation, strides = tuple(given["rhs_dilation"]), tuple(given["window_strides"])
    reach = [(k - 1) * d + 1 for k, d in zip(taps_of, dilation, strict=True)]
    if not np.any(padding):
        padding = "VALID"
    elif padding == tuple(jax.lax.padtype_to_pads(inner.shape[1:3], reach, strides, "SAME")):
        padding = "SAME"
    features = kernel.shape[-1]
    layer = arch.Conv(features, taps_of, strides, padding, groups, False, dilation)
    batch_out, channel_out, *space_out = numbers.out_spec
    shape = _shape(equation)
    pixels = tuple(shape[axis] for axis in space_out)
    node = _weighted(signal.node, layer, kernel, (*pixels, features), weights, site)
    image = canonical(node.shape, shape[batch_out])
    return Signal(
        node, image.transpose(np.argsort((batch_out, *space_out, channel_out))), site=site
    )


def _unpadded(site: Site, framed: Array) -> tuple[Array, list[tuple[int, int]]]:
    """Images `[B, H, W, C]` without the zeros around them, and how many there were."""
    real = framed >= 0
    border, inner = [], framed
    for axis in (1, 2):
        found = np.flatnonzero(real.any(tuple(a for a in range(4) if a != axis)))
        border.append((int(found[0]), framed.shape[axis] - 1 - int(found[-1])))
        inner = np.take(inner, range(found[0], found[-1] + 1), axis)
    if np.any(inner < 0):
        refuse(site, "its input is padded in other places than around the image")
    return inner, border


def pooled(site: Site, equation: JaxprEqn, operands: list[Value]) -> Signal:
    """Sums over windows: an AvgPool, or a convolution where windows leave the image."""
    signal, given = settled(operands[0]), equation.params  # type: ignore[arg-type]
    roles = arrangement(signal)
    window, strides, padding = [1, 1, 1, 1], [1, 1, 1, 1], [(0, 0)] * 4
    for axis, size in enumerate(given["window_dimensions"]):
        role = roles[axis] if roles else None
        if role is not None:
            window[role], strides[role] = size, given["window_strides"][axis]
            padding[role] = tuple(given["padding"][axis])
        elif size != 1:
            refuse(site, "its window is not over the pixels of images")
    dilated = {*given["base_dilation"], *given["window_dilation"]} != {1}
    if roles is None or dilated or (window[0], window[3]) != (1, 1):
        refuse(site, "its window is not over the pixels of images")
    shape = _shape(equation)
    node = _sums(signal.node, (window[1], window[2]), (strides[1], strides[2]), padding[1:3], site)
    image = canonical(node.shape, _batch(signal))
    return Signal(node, laid_out(image, roles, shape), site=site)


def _sums(node: graph.Node, window: Any, strides: Any, padding: Any, site: Site) -> graph.Node:
    rows, columns, features = node.shape
    pixels = tuple(
        (size + sum(pad) - extent) // stride + 1
        for size, pad, extent, stride in zip((rows, columns), padding, window, strides, strict=True)
    )
    shape = (*pixels, features)
    if np.any(padding):
        kernel = np.ones((*window, 1, features))
        layer = arch.Conv(features, window, strides, tuple(padding), features, False)
        return _weighted(node, layer, kernel, shape, Known(None), site)
    mean = arch.AvgPool(window, None if strides == window else strides)
    made = graph.Node(mean, [node], shape, line=site.line)
    size = np.full(features, float(window[0] * window[1]))
    return graph.scaled(made, size, 0 * size, frozenset(), site.line)


def summed(site: Site, equation: JaxprEqn, operands: list[Value]) -> Signal:
    """Sums over all rows or columns of images: an AvgPool."""
    signal = settled(operands[0])  # type: ignore[arg-type]
    roles, axes = arrangement(signal), equation.params["axes"]
    over = [roles[axis] for axis in axes if roles[axis] is not None] if roles else [0]
    if roles is None or not set(over) <= {1, 2}:
        refuse(site, "it sums over channels or images; only pixels can be pooled")
    rows, columns, _ = signal.node.shape
    window = (rows if 1 in over else 1, columns if 2 in over else 1)
    node = _sums(signal.node, window, window, [(0, 0), (0, 0)], site)
    kept = tuple(role for axis, role in enumerate(roles) if axis not in axes)
    image = canonical(node.shape, _batch(signal))
    return Signal(node, laid_out(image, kept, _shape(equation)), site=site)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("add", "add_any", "sub", "mul", "div", "neg"), affine),
    **dict.fromkeys(("copy", "copy_p", "optimization_barrier", "name"), same),
    **dict.fromkeys(
        (
            "abs", "sign", "floor", "ceil", "round", "max", "min", "clamp", "select_n", "eq", "ne",
            "ge", "gt", "le", "lt", "and", "or", "not", "xor", "exp", "exp2", "expm1", "log",
            "log1p", "tanh", "logistic", "erf", "erfc", "erf_inv", "sqrt", "rsqrt", "cbrt", "pow",
            "integer_pow", "square", "sin", "cos", "tan", "atan", "sinh", "cosh", "asinh", "acosh",
            "atanh", "rem", "is_finite", "stop_gradient",
        ),
        bend,
    ),
    **dict.fromkeys(
        (
            "reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "rev", "slice",
            "split", "dynamic_slice", "gather", "pad",
        ),
        moved,
    ),
    "convert_element_type": converted,
    "concatenate": concatenated,
    "dot_general": product,
    "conv_general_dilated": convolution,
    "reduce_window_sum": pooled,
    "reduce_sum": summed,
}  # fmt: skip

ADVICE = {
    "reduce_window_max": "a maximum of spikes is no sum of them; use average pooling, and train"
    " again",
    "reduce_max": "a maximum of spikes is no sum of them; use a mean, and train again",
    "mul": "it multiplies two activations",
    "div": "it divides by an activation",
    "while": "a loop that depends on the images has no fixed layers; write the layers out",
    "scan": "a loop over activations has no fixed layers; write the layers out",
    "cond": "a choice that depends on the images has no fixed layers",
}
"""What to do about operations that users meet most."""
