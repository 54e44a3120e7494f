"""Other people's models: a JAX function read as layers of this package.

The function is traced to its jaxpr. What does not depend on the images is computed; what does
is followed as a signal, which knows which number of which layer each of its entries is. So the
order of axes, reshapes and transpositions are bookkeeping, and only products, pooling, sums,
joined channels and activations become layers. What is none of these is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from jax.typing import ArrayLike

from snnjax.conversion.tracing import graph
from snnjax.conversion.tracing.primitive_rules import Value, evaluate, translate
from snnjax.conversion.tracing.signals import (
    INPUT,
    Bent,
    Known,
    Signal,
    Site,
    canonical,
    flat,
    refuse,
    settled,
)
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN

__all__ = ["Traced", "trace"]

AGREES = 1e-3
"""Largest difference from the user's logits, as a share of the largest logit."""


class Traced(NamedTuple):
    """What `conversion.convert` takes, and where it comes from.

    network: the architecture; variables: its parameters; sources: for each layer by path the
      user's parameters that its numbers are made of.
    """

    network: arch.Network
    variables: dict[str, Any]
    sources: dict[str, tuple[str, ...]]


def trace(
    apply: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    example: ArrayLike,
    *,
    name: str = "traced",
) -> Traced:
    """Read a function of JAX as a network of this package, or say what in it is none.

    Layers are dense and convolution products (strides, borders, groups, dilation), added
    biases, average pooling, normalisation with fixed statistics, sums of branches, joined
    channels, and activations that are sthLeakyReLU, LeakyReLU, ReLU or clip, however they are
    written. Axes may be in any order, and functions nested in `jax.jit`. The traced network is
    run on the example, and must give the function's own logits.

    Choice: the numbers are the parameters' as they are now; trace again after training.

    Args:
      apply: `apply(params, images) -> logits [B, K]`, such as `module.apply` of Flax with what
        does not train turned off; vectorise a function of one image with `jax.vmap`.
      params: its parameters, any pytree.
      example: images as `apply` takes them, floats `[B, ...]`, at least one; the two orders
        `[B, H, W, C]` and `[B, C, H, W]` are both known, and the network takes the former.
      name: of the network.

    Raises:
      ValueError: naming the operation, the line that asks for it and what to do, where
        something has no spiking counterpart; or if the example is no finite floats, or
        `apply` fails on it or returns something else than `[B, K]`.
    """
    images = _checked(example)
    closed, batch = _jaxpr(apply, params, images)
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    known: list[Value] = [
        Known(leaf, frozenset({jax.tree_util.keystr(keys, simple=True, separator="/")}))
        for keys, leaf in leaves
    ]
    start, order = _start(images)
    where = canonical(start.shape, batch)
    where = where.transpose(order) if order else where.reshape(batch, *images.shape[1:])
    (output,) = _follow(closed.jaxpr, closed.consts, [*known, Signal(start, where)])
    found = _layers(start, output)
    traced = Traced(
        arch.Network(name, found.layers),
        {"params": jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), found.params)},
        {path: tuple(sorted(names)) for path, names in found.sources.items()},
    )
    logits = apply(params, jnp.asarray(images))
    _compare(traced, images.transpose(np.argsort(order)) if order else images, logits)
    return traced


def _checked(example: ArrayLike) -> np.ndarray:
    images = np.asarray(example)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"example is {images.dtype}; want floats in [0, 1], so divide by 255")
    if images.ndim not in (2, 4) or not images.size:
        raise ValueError(
            f"example has shape {images.shape}; want [B, H, W, C], [B, C, H, W] or [B, N] with"
            " nothing empty"
        )
    if not np.isfinite(images).all():
        raise ValueError("example holds NaN or Inf; want finite numbers")
    return images.astype(np.float32)


def _jaxpr(apply: Any, params: Any, images: np.ndarray) -> tuple[ClosedJaxpr, int]:
    """The function's jaxpr for two images or more, so that a mix of images shows."""
    batch = max(2, len(images))
    shape = jax.ShapeDtypeStruct((batch, *images.shape[1:]), jnp.float32)
    try:
        closed = jax.make_jaxpr(apply)(params, shape)
    except jax.errors.ConcretizationTypeError as error:
        raise ValueError(
            "apply cannot be traced: it decides by what the images are, or takes them out of JAX"
            f" ({str(error).splitlines()[0]})"
        ) from error
    except Exception as error:
        raise ValueError(
            f"apply fails on images of shape {shape.shape}: {str(error).splitlines()[0]}"
        ) from error
    outputs = [v.aval.shape for v in closed.jaxpr.outvars]  # type: ignore[attr-defined]
    if len(outputs) != 1 or len(outputs[0]) != 2 or outputs[0][0] != batch:
        raise ValueError(
            f"apply returns arrays of shapes {', '.join(map(str, outputs)) or 'nothing'} for"
            f" {batch} images; want logits [B, K] alone"
        )
    return closed, batch


def _start(images: np.ndarray) -> tuple[graph.Node, tuple[int, ...]]:
    """The input, and the order of the user's axes in `[B, H, W, C]`, () where it is that.

    Choice: the smaller of second and last axis are the channels, and the last if they are equal.
    """
    if images.ndim == 2:
        return graph.Node(None, [], (1, 1, images.shape[1])), ()
    if images.shape[1] < images.shape[3]:
        channels, rows, columns = images.shape[1:]
        return graph.Node(None, [], (rows, columns, channels)), (0, 3, 1, 2)
    return graph.Node(None, [], images.shape[1:]), ()


def _follow(
    jaxpr: Jaxpr, constants: Any, arguments: list[Value], inside: Site | None = None
) -> list[Value]:
    """The outputs of a jaxpr, equation by equation; `inside` is the library's function it is of."""
    values: dict[Any, Value] = dict(zip(jaxpr.constvars, map(Known, constants), strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(variable: Any) -> Value:
        return Known(variable.val) if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        operands = [read(variable) for variable in equation.invars]
        inner, constants = _called(equation)
        if inner is not None:
            deeper = inside or (_site(equation, called=True) if _of_library(inner) else None)
            outputs = _follow(inner, constants, operands[-len(inner.invars) :], deeper)
        elif all(isinstance(x, Known) for x in operands):
            names = frozenset().union(*(x.names for x in operands if isinstance(x, Known)))
            given = [x.value for x in operands if isinstance(x, Known)]
            outputs = [Known(value, names) for value in evaluate(equation, given)]
        else:
            site = _site(equation)
            if inside is not None:
                site = inside._replace(operation=site.operation)
            outputs = translate(site, equation, operands)
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


CALLS = {"jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "custom_lin"} | {
    "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "remat2",
}  # fmt: skip


def _called(equation: JaxprEqn) -> tuple[Jaxpr | None, Any]:
    """The function that an equation calls once as it is, if it does."""
    if equation.primitive.name in CALLS:
        for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
            inner = equation.params.get(name)
            if isinstance(inner, ClosedJaxpr):
                return inner.jaxpr, inner.consts
            if isinstance(inner, Jaxpr):
                return inner, ()
    return None, ()


LIBRARIES = tuple(str(Path(module.__file__).parent) for module in (jax, flax) if module.__file__)
PUBLIC = ("/nn/", "/numpy/", "/linen/", "/lax/")
PLUMBING = ("<", str(Path(__file__).parents[2]), str(Path(functools.__file__).parent))


def _of_library(jaxpr: Jaxpr) -> bool:
    """Whether a function is JAX's or Flax's, traced perhaps for somebody else, and kept."""
    made = str(getattr(getattr(jaxpr, "debug_info", None), "func_src_info", None))
    return any(library in made for library in LIBRARIES) or " at " not in made


def _site(equation: JaxprEqn, *, called: bool = False) -> Site:
    """An operation, the library's function that the user called for it, and the user's line."""
    within: tuple[str, ...] = ()
    name = equation.params.get("name") if called else None
    traceback = getattr(equation.source_info, "traceback", None)
    for frame in traceback.frames if traceback else ():
        if frame.file_name.startswith(LIBRARIES):
            if any(part in frame.file_name for part in PUBLIC) and frame.function_name[0] != "_":
                within = (frame.function_name,)
        elif not frame.file_name.startswith(PLUMBING) and "site-packages" not in frame.file_name:
            line = f"{frame.file_name}:{frame.line_num}"
            return Site(equation.primitive.name, (name,) if name else within, line)
    return Site(equation.primitive.name, (name,) if name else within)


def _layers(start: graph.Node, output: Value) -> graph.Layered:
    """The layers between input and logits, the logits in the user's order."""
    if isinstance(output, Known):
        raise ValueError("apply returns what does not depend on the images; want logits")
    if isinstance(output, Bent):
        refuse(output.sites[-1], "it is behind the last weights; return the logits before it")
    signal = settled(output)
    node = flat(signal.node)
    if not np.array_equal(signal.where, canonical(node.shape, len(signal.where))):
        refuse(INPUT, "apply returns the last layer's output in another order, or a part of it")
    features = node.shape[-1]
    end = graph.scaled(node, np.ones(features), np.zeros(features), frozenset(), "")
    return graph.layered(start, graph.simplify(end))


def _compare(traced: Traced, images: np.ndarray, wanted: jax.Array) -> None:
    """Whether the network gives the function's own logits."""
    if images.ndim == 2:
        images = images[:, None, None]
    with jax.default_matmul_precision("highest"):
        logits = ANN(traced.network.layers).apply(traced.variables, images)
    difference = float(jnp.max(jnp.abs(logits - wanted)))  # type: ignore[operator]
    if not difference <= AGREES * max(float(jnp.max(jnp.abs(wanted))), 1e-6):
        raise ValueError(
            f"the traced network's logits differ from the function's by up to {difference:.3g};"
            " is it a function of the images and parameters alone, without dropout?"
        )
