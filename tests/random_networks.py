"""Random networks over all kinds of layers, and their parameters.

A new kind of layer needs an entry in `DRAWN`: a function that draws one, or None where the layer
does not fit behind the signal so far.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN

CLASSES = 3


@dataclass
class Signal:
    """What the layers so far send on: its shape for one image, and the facts that limit the next.

    bounded: only activations with a finite theta; weighted: weights follow the last neurons;
    absorbs: a BatchNorm may follow; first: no layer yet; raw: a Normalise still needs its weights;
    depth: number of blocks around it.
    """

    shape: tuple
    bounded: bool
    weighted: bool = False
    absorbs: bool = False
    first: bool = True
    raw: bool = False
    depth: int = 0
    layers: list = field(default_factory=list)

    def after(self, layer):
        kind = type(layer).__name__
        weights = isinstance(layer, arch.Weights | arch.Block)
        return Signal(
            output_shape((layer,), self.shape),
            self.bounded,
            weights or (self.weighted and kind != "Activation"),
            kind in ("Conv", "Dense"),
            False,
            kind == "Normalise" or (self.raw and not weights),
            self.depth,
            [*self.layers, layer],
        )

    def inside(self):
        """The same signal at the start of a branch."""
        return Signal(self.shape, self.bounded, first=False, depth=self.depth + 1)


def output_shape(layers, shape):
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    key = jax.random.key(0)
    return jax.eval_shape(ANN(layers).init_with_output, key, x)[0].shape[1:]


def one_of(draw, *options):
    return options[draw.integers(len(options))]


def draw_conv(draw, signal, features=None, stride=None, padding=None):
    """Any geometry; with a stride and a padding, the one asked for."""
    if len(signal.shape) != 3:
        return None
    height, width, channels = signal.shape
    size = (int(draw.integers(1, 4)), int(draw.integers(1, 4)))
    gaps = (int(draw.integers(1, 3)), int(draw.integers(1, 3)))
    if padding is None:
        padding = one_of(draw, "SAME", "VALID", tuple(map(tuple, draw.integers(0, 3, (2, 2)))))
    if not isinstance(padding, str):
        padding = tuple((int(a), int(b)) for a, b in padding)
    reach = [(n - 1) * gap + 1 for n, gap in zip(size, gaps, strict=True)]
    pads = ((0, 0), (0, 0)) if isinstance(padding, str) else padding
    sides = [n + sum(pad) for n, pad in zip((height, width), pads, strict=True)]
    if padding != "SAME" and any(r > n for r, n in zip(reach, sides, strict=True)):
        padding = "SAME"
    groups = one_of(draw, *(n for n in (1, 1, 2, channels) if channels % n == 0))
    if features is None or features % groups:
        groups = groups if features is None else 1
        features = features or groups * int(draw.integers(1, 3))
    strides = (stride, stride) if stride else tuple(map(int, draw.integers(1, 3, 2)))
    return arch.Conv(
        features, size, strides, padding, groups, bool(draw.integers(4)), gaps
    )  # fmt: skip


def draw_dense(draw, signal, features=None):
    return arch.Dense(features or int(draw.integers(2, 7)), bool(draw.integers(4)))


def draw_scale(draw, signal):
    return arch.Scale(signal.shape[-1])


def draw_pool(draw, signal):
    """Windows of 1, 2, 4 or 8 pixels, whose means are exact."""
    if len(signal.shape) != 3:
        return None
    height, width, _ = signal.shape
    window = one_of(draw, (1, 2), (2, 1), (2, 2), (2, 2), (4, 2), (1, 1))
    if window[0] > height or window[1] > width:
        return None
    strides = one_of(draw, None, None, (1, 1), (2, 1), (2, 3))
    return arch.AvgPool(window, strides)


def draw_flatten(draw, signal):
    return arch.Flatten() if len(signal.shape) == 3 and not draw.integers(4) else None


def draw_norm(draw, signal):
    return arch.BatchNorm() if signal.absorbs else None


def draw_transpose(draw, signal):
    if not (signal.first and signal.depth == 0):
        return None
    return arch.Transpose(tuple(map(int, draw.permutation(3))))


def draw_normalise(draw, signal):
    if not (all(isinstance(layer, arch.Transpose) for layer in signal.layers) and not signal.depth):
        return None
    channels = signal.shape[-1]
    means, deviations = draw.integers(1, 8, channels) / 8, draw.choice((0.25, 0.5, 1.0), channels)
    return arch.Normalise(tuple(map(float, means)), tuple(map(float, deviations)))


def draw_activation(draw, signal):
    if not signal.weighted:
        return None
    alpha, theta = one_of(draw, 0.0, 0.25, 0.5, 1.0), one_of(draw, 0.5, 1.0, 2.0)
    if not signal.bounded and draw.integers(3) == 0:
        step = one_of(draw, 0.0, 0.5) if alpha == 0 else 0.0
        return arch.Activation(alpha, float("inf"), step=step)
    learn = one_of(draw, "nothing", "nothing", "layer", "channel", "rate")
    if learn == "channel" and flattened_currents(signal.layers):
        learn = "layer"  # conversion refuses one theta for each pixel
    return arch.Activation(alpha, theta, learn)


def flattened_currents(layers):
    """True if a Flatten lies behind the last neurons, or inside the block that ends there."""
    for layer in reversed(layers):
        if isinstance(layer, arch.Activation | arch.Dense):
            return False
        if "Flatten" in kinds((layer,)):
            return True
    return False


def draw_residual(draw, signal):
    """A body of the input's shape, or one that halves a map beside a shortcut that does too."""
    if signal.depth > 1:
        return None
    if len(signal.shape) != 3:
        body = draw_layers(draw, signal.inside(), int(draw.integers(0, 3)), vectors=True)
        if body.shape == signal.shape and body.layers and not draw.integers(2):
            return arch.Residual(tuple(body.layers))
        last, shortcut = draw_dense(draw, body, signal.shape[0]), ()
        return arch.Residual((*body.layers, last), shortcut)
    stride, features = int(draw.integers(1, 3)), int(draw.integers(1, 4))
    body = signal.inside()
    body = body.after(draw_conv(draw, body, features, stride, "SAME"))
    body = draw_layers(draw, body, int(draw.integers(0, 3)), vectors=False, keep=True)
    same = body.shape == signal.shape
    shortcut = () if same and draw.integers(4) else (
        arch.Conv(body.shape[-1], (1, 1), (stride, stride)),
        *((arch.BatchNorm(),) if draw.integers(2) else ()),
    )  # fmt: skip
    if body.shape[-1] == signal.shape[-1] and stride == 2 and draw.integers(2):
        shortcut = (arch.AvgPool((1, 1), (2, 2)),)
    return arch.Residual(tuple(body.layers), shortcut)


def draw_concat(draw, signal):
    """Two or three branches of any channels, flattened or not."""
    if signal.depth > 1:
        return None
    branches, flat = [], len(signal.shape) == 3 and not draw.integers(4)
    for _ in range(int(draw.integers(2, 4))):
        count = int(draw.integers(0, 3))
        end = draw_layers(draw, signal.inside(), count, vectors=False, keep=True)
        branches.append((*end.layers, arch.Flatten()) if flat else tuple(end.layers))
    return arch.Concat(tuple(branches))


DRAWN = {
    "Activation": draw_activation, "AvgPool": draw_pool, "BatchNorm": draw_norm,
    "Concat": draw_concat, "Conv": draw_conv, "Dense": draw_dense, "Flatten": draw_flatten,
    "Normalise": draw_normalise, "Residual": draw_residual, "Scale": draw_scale,
    "Transpose": draw_transpose,
}  # fmt: skip


def draw_kind(draw, signal):
    """Name of the kind to try next; half of all weights are followed by neurons."""
    if signal.first and signal.depth == 0 and not draw.integers(4):
        return one_of(draw, "Transpose", "Normalise")
    if signal.layers and isinstance(signal.layers[-1], arch.Transpose) and draw.integers(2):
        return "Normalise"
    if signal.raw:
        return one_of(draw, "Conv", "Dense", "AvgPool", "Flatten")
    if signal.absorbs and not draw.integers(4):
        return "BatchNorm"
    if signal.weighted and draw.integers(2):
        return "Activation"
    return one_of(draw, *sorted(DRAWN), "Conv")


def draw_layers(draw, signal, count, *, vectors, keep=False):
    """Append `count` layers to a signal.

    Args:
      vectors: whether maps may be flattened.
      keep: whether pixels stay as many.
    """
    tries = 0
    while count and tries < 100:
        tries += 1
        name = draw_kind(draw, signal)
        if name == "Flatten" and not vectors:
            continue
        if keep and len(signal.shape) == 3 and name in ("AvgPool", "Flatten"):
            continue
        how = (None, 1, "SAME") if keep and name == "Conv" else ()
        layer = DRAWN[name](draw, signal, *how)
        if layer is None:
            continue
        after = signal.after(layer)
        if keep and after.shape[:-1] != signal.shape[:-1]:
            continue
        if np.prod(after.shape) > 300:
            continue
        signal, count = after, count - 1
    return signal


def draw_network(seed):
    """A network and the shape of its images; half of all networks have bounded activations only."""
    draw = np.random.default_rng(seed)
    shape = (*map(int, draw.integers(2, 7, 2)), int(draw.integers(1, 4)))
    start = Signal(shape, bounded=bool(draw.integers(2)))
    end = draw_layers(draw, start, int(draw.integers(3, 9)), vectors=True)
    while len(end.shape) == 3:
        end = end.after(arch.Flatten())
    end = end.after(arch.Dense(CLASSES))
    return arch.Network(f"random-{seed}", tuple(end.layers)), shape


def draw_variables(network, shape, seed):
    """Parameters and statistics, none of them neutral; scales and variances above 0."""
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    shapes = jax.eval_shape(ANN(network.layers).init, jax.random.key(0), x)
    draw = np.random.default_rng([seed, 1])

    def numbers(path, leaf):
        name, values = path[-1].key, draw.normal(0, 1, leaf.shape)
        if name in ("scale", "var", "largest"):
            return np.exp(0.3 * values).astype(np.float32)
        if name == "kernel":
            inputs = np.prod(leaf.shape[:-1])
            return (values * 1.5 / np.sqrt(inputs)).astype(np.float32)
        return (0.3 * values).astype(np.float32)

    return jax.tree_util.tree_map_with_path(numbers, shapes)


def draw_images(shape, seed, count=3):
    """Images in eighths."""
    return (np.random.default_rng([seed, 2]).integers(0, 9, (count, *shape)) / 8).astype(np.float32)


def draw_scales(network, seed):
    """A scale for every activation without a bound or a step."""
    draw = np.random.default_rng([seed, 3])
    return {
        path: float(draw.choice((1.0, 2.0, 4.0)))
        for path, layer in arch.activations(network).items()
        if np.isinf(layer.theta) and not layer.step
    }


def dyadic(params, step=1 / 4):
    """The layers' weights and neurons in quarters, so that every sum of a few spikes is exact."""

    def rounded(path, leaf):
        leaf, name = np.asarray(leaf), path[-1].key
        if name == "bound" or not np.isfinite(leaf).all():
            return leaf.astype(np.float32)
        return (np.round(leaf / step) * step).astype(np.float32)

    layers = jax.tree_util.tree_map_with_path(rounded, params["layers"])
    return {**jax.tree.map(np.asarray, params), "layers": layers}


def kinds(layers):
    """Names of all kinds in a stack, also inside blocks."""
    return {type(layer).__name__ for _, layer in arch.walk(layers)}
