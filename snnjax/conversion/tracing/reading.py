"""Models of other libraries: a function of JAX read as a network of this package.

The function's jaxpr is walked. What does not depend on the images is computed. What does is a
signal that knows which number of which layer each of its entries is, so orders of axes, reshapes
and transpositions need no layers. Products, pooling, sums of branches, joined channels and
activations become layers; everything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr
from jax.typing import ArrayLike

# Each module of rules registers them when it is imported.
from snnjax.conversion.tracing import (  # noqa: F401
    convolution_rules,
    elementwise_rules,
    layout_rules,
    pooling_rules,
    product_rules,
)
from snnjax.conversion.tracing.graph import Node, flattened, scaled
from snnjax.conversion.tracing.image_layout import (
    IN_ORDER,
    LayoutTold,
    input_signal,
    layout_axes,
    layout_name,
)
from snnjax.conversion.tracing.jaxpr_walk import Known, refuse, walk
from snnjax.conversion.tracing.layer_outputs import layer_output
from snnjax.conversion.tracing.nesting import Nested, nested
from snnjax.conversion.tracing.numpy_operations import coarsest_epsilon
from snnjax.conversion.tracing.rule_table import translate
from snnjax.conversion.tracing.scale_folding import simplify
from snnjax.conversion.tracing.selections import in_own_order
from snnjax.conversion.tracing.signals import Elementwise, Value
from snnjax.conversion.tracing.user_names import find_user_names
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN

__all__ = ["Traced", "trace"]

LARGEST_DIFFERENCE = 1e-3
"""Largest difference from the user's logits, as a share of the largest logit."""
FEWEST_IMAGES = 2
"""Number of images that a function is read for, however many the example holds."""
ROUNDINGS = 16
"""Largest difference of logits that are computed in 16 bits, in rounding errors of these."""


class Traced(NamedTuple):
    """A network as `conversion.convert` takes it, and the origin of its numbers.

    network: the architecture; variables: its parameters; sources: for each layer by path, the
      user's parameters that its numbers are computed from.
    """

    network: arch.Network
    variables: dict[str, Any]
    sources: dict[str, tuple[str, ...]]


def trace(
    apply: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    example: ArrayLike,
    *,
    layout: str | None = None,
    name: str = "traced",
) -> Traced:
    """Read a function of JAX as a network of this package, or name the operation that prevents it.

    Layers are dense and convolution products (strides, padding, groups, dilation), added
    biases, average pooling, normalisation with fixed statistics, sums of branches, joined
    channels, and activations that are sthLeakyReLU, LeakyReLU, ReLU or clip, however they are
    written. Axes may be in any order, and functions nested in `jax.jit`. The traced network is
    run on the example, and must give the function's own logits.

    Choice: the numbers are the parameters' as they are now; trace again after training.

    Args:
      apply: `apply(params, images) -> logits [B, K]`, such as `module.apply` of Flax in
        inference mode; vectorise a function of one image with `jax.vmap`.
      params: its parameters, any pytree.
      example: images as `apply` takes them, floats `[B, ...]`, at least one; two are looked
        at. The network takes images in the same order of axes.
      layout: order of the example's axes, such as "NHWC" or "NCHW"; None for what the function's
        first convolution, pooling or scale by channel says. Without one the axes stay as
        they are.
      name: of the network.

    Raises:
      ValueError: naming the operation, the user's line and the cure, if an operation has no
        spiking counterpart; or if the example is not made of finite floats, `layout` is unknown
        or contradicts an operation, or `apply` fails on the example or returns something else
        than `[B, K]`.
    """
    images = _checked(example)
    given = layout_axes(layout, images.ndim)
    closed, batch = _jaxpr(apply, params, images)
    images = images[:batch]
    known: list[Value] = [
        Known(leaf, frozenset({jax.tree_util.keystr(keys, simple=True, separator="/")}))
        for keys, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
    ]
    start, output = _walk(closed, known, images.shape[1:], batch, given)
    layers, numbers, sources, modules = _layers(start, output)
    shape = images.shape[1:] if images.ndim == 4 else None
    traced = Traced(
        arch.Network(name, layers, shape, find_user_names(sources, modules)),
        {"params": jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), numbers)},
        {path: tuple(sorted(paths)) for path, paths in sources.items()},
    )
    _check_logits(traced, images, _run(apply, params, images), closed, known)
    return traced


def _checked(example: ArrayLike) -> np.ndarray:
    """Return the example as an array, after a check of its type, shape and values."""
    images = np.asarray(example)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        cure = "divide bytes by 255"
        if images.dtype != np.uint8 or images.ndim < 3:
            cure += "; for tokens and labels, trace the function of what a table gives for them"
        raise ValueError(f"example is {images.dtype}; want floats, as images in [0, 1]: {cure}")
    if images.ndim not in (2, 4) or not images.size:
        raise ValueError(
            f"example has shape {images.shape}; want [B, H, W, C], [B, C, H, W] or [B, N] with"
            " nothing empty"
        )
    if not np.isfinite(images).all():
        raise ValueError("example holds NaN or Inf; want finite numbers")
    return images.astype(jax.dtypes.canonicalize_dtype(images.dtype))


def _jaxpr(apply: Any, params: Any, images: np.ndarray) -> tuple[ClosedJaxpr, int]:
    """Return the function's jaxpr, and its number of images.

    Choice: two images, since with one an operation that mixes images looks like others, and more
    tell nothing; or all of the example, if the function is written for their number.
    """
    try:
        return _jaxpr_for(apply, params, images, FEWEST_IMAGES), FEWEST_IMAGES
    except ValueError:
        if len(images) <= FEWEST_IMAGES:
            raise
    return _jaxpr_for(apply, params, images, len(images)), len(images)


def _jaxpr_for(apply: Any, params: Any, images: np.ndarray, batch: int) -> ClosedJaxpr:
    """Return the function's jaxpr for a number of images.

    Raises:
      ValueError: if the function fails on them, or returns no logits.
    """
    shape = jax.ShapeDtypeStruct((batch, *images.shape[1:]), images.dtype)
    try:
        closed = jax.make_jaxpr(apply)(params, shape)
    except jax.errors.ConcretizationTypeError as error:
        raise ValueError(
            "apply cannot be traced: it decides by what the images are, or takes them out of JAX"
            f" ({str(error).splitlines()[0]}); want operations of jax.numpy on them alone"
        ) from error
    except Exception as error:
        raise ValueError(
            f"apply fails on images of shape {shape.shape}: {(str(error).splitlines() or [''])[0]}"
            + "; turn dropout off, such as by deterministic=True" * ("PRNG" in str(error))
        ) from error
    outputs = [v.aval.shape for v in closed.jaxpr.outvars]  # type: ignore[attr-defined]
    if len(outputs) != 1 or len(outputs[0]) != 2 or outputs[0][0] != batch:
        raise ValueError(
            f"apply returns arrays of shapes {', '.join(map(str, outputs)) or 'nothing'} for"
            f" {batch} images; want logits [B, K] alone"
        )
    return closed


def _walk(
    closed: ClosedJaxpr, known: list[Value], shape: tuple[int, ...], batch: int, given: Any
) -> tuple[Node, Value]:
    """Return the graph's input, and the function's output.

    Args:
      closed: jaxpr of the function.
      known: its parameters.
      shape: of one image.
      batch: number of images.
      given: axes of the layout that the caller gave, or None.

    Raises:
      ValueError: if an operation contradicts the layout, given or told by an earlier one.
    """
    told: LayoutTold | None = None
    while True:
        axes = told.axes if told else given or IN_ORDER
        start, signal = input_signal(shape, batch, axes)
        try:
            (output,) = walk(closed, [*known, signal], translate)
        except LayoutTold as found:
            if given is not None or told is not None:
                _contradict(found, told, layout_name(axes))
            told = found
        else:
            return start, output


def _contradict(found: LayoutTold, told: LayoutTold | None, layout: str) -> NoReturn:
    """Refuse an operation that needs another layout."""
    if told is None:
        reason = f"layout is {layout!r}, but it takes {found} images; pass layout={str(found)!r}"
    else:
        reason = (
            f"it takes {found} images, and {told.operation.primitive} at {told.operation.line}"
            f" takes {layout}; want one order in all"
        )
    refuse(found.operation, reason)


def _layers(start: Node, output: Value) -> Nested:
    """Return the layers between the input and the logits."""
    if isinstance(output, Known):
        raise ValueError("apply returns what does not depend on the images; want logits")
    if isinstance(output, Elementwise):
        reason = "it is behind the last weights; return the logits before it"
        refuse(output.operations[-1], reason, by_name=False)
    signal = layer_output(output)
    node = in_own_order(signal)
    if node is None:
        refuse(
            signal.operation,
            "apply returns the last layer's output in another order, or a part of it, which no"
            " weights give; want logits [B, K] for all images in their order",
        )
    node = flattened(node)
    # The network ends with a synapse: a neutral one, folded away where there are weights.
    return nested(start, simplify(scaled(node)))


def _check_logits(
    traced: Traced,
    images: np.ndarray,
    wanted: jax.Array,
    closed: ClosedJaxpr,
    known: list[Value],
) -> None:
    """Refuse a network that does not give the function's own logits.

    Logits computed in 16 bits are rounded. The network has to give them up to their rounding, and
    what the function gives in float32 as exactly as with any other function.
    """
    epsilon = coarsest_epsilon(closed.jaxpr)
    _compare(traced, images, wanted, max(LARGEST_DIFFERENCE, ROUNDINGS * epsilon))
    if epsilon > jnp.finfo(jnp.float32).eps:
        batch = closed.jaxpr.invars[-1].aval.shape[0]  # type: ignore[attr-defined]
        shown = np.resize(images, (batch, *images.shape[1:]))
        (exact,) = walk(closed, [*known, Known(shown)], translate)
        _compare(traced, shown, exact.value, LARGEST_DIFFERENCE)


def _compare(traced: Traced, images: np.ndarray, wanted: jax.Array, tolerance: float) -> None:
    """Refuse a network whose logits differ from those wanted."""
    images = images.astype(np.float32)
    if images.ndim == 2:
        images = images[:, None, None]
    with jax.default_matmul_precision("highest"):
        logits = _run(ANN(traced.network.layers).apply, traced.variables, images)
    difference = float(jnp.max(jnp.abs(logits - wanted)))  # type: ignore[operator]
    if not difference <= tolerance * max(float(jnp.max(jnp.abs(wanted))), 1e-6):
        raise ValueError(
            f"the traced network's logits differ from the function's by up to {difference:.3g};"
            " want a function of the images and parameters alone"
        )


def _run(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the outputs of a function that is run once.

    A CPU compiles it without optimisation, which would take longer than a run of two images. JAX
    traces it anew, so that a function that draws other numbers each time is noticed.
    """
    on_cpu = jax.default_backend() == "cpu"
    options: dict[str, Any] = {"xla_backend_optimization_level": 0} if on_cpu else {}
    return (
        jax.jit(lambda *operands: function(*operands))
        .lower(*arguments)
        .compile(compiler_options=options)(*arguments)
    )
