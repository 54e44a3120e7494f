"""Integer networks as plain arrays of whole numbers, for hardware: files that NumPy alone reads.

docs/files.md lists every key. The only fraction in a file is `logit`, behind the readout.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.io.checkpoint import write_whole
from snnjax.networks import architecture as arch
from snnjax.snn.engine import neuron_shapes
from snnjax.snn.neurons import NEURONS
from snnjax.snn.whole_numbers import is_integer

__all__ = ["FORMAT", "NEVER", "WHOLE_NEURONS", "to_arrays", "write"]

Params = dict[str, Any]
Shape = tuple[int, ...]

FORMAT = "snnjax integers 1"
"""What the file is; another number where a reader of this one would be wrong."""

NEVER = 2**31 - 1
"""A threshold that no potential reaches, for v_n = inf."""

WHOLE_NEURONS = tuple(name for name, neuron in NEURONS.items() if neuron.whole)
"""Names of the neurons whose potentials are whole numbers, or halves."""


def write(
    path: Path,
    network: arch.Network,
    params: Params,
    image_shape: Shape,
    *,
    neuron: str = "exact-charge",
) -> None:
    """Write an integer network as a .npz file without pickles; see `to_arrays`.

    Raises:
      ValueError: as `to_arrays`; then nothing is written.
      OSError: if the file cannot be written.
    """
    arrays: dict[str, Any] = to_arrays(network, params, image_shape, neuron=neuron)
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_whole(path, content.getvalue())


def to_arrays(
    network: arch.Network, params: Params, image_shape: Shape, *, neuron: str = "exact-charge"
) -> dict[str, np.ndarray]:
    """Return an integer network as arrays of whole numbers by name, as docs/files.md lists them.

    Choice: thresholds stay as they are, and `initial` is in halves of a threshold, so that
    potentials are whole in halves; a file for doubled weights would need one more bit for each.

    Args:
      network: the architecture.
      params: parameters from `quantise`.
      image_shape: `(H, W, C)`, or in the order that the network takes.
      neuron: a name in WHOLE_NEURONS.

    Raises:
      ValueError: if the network is no integer network, the images do not fit it, the neuron makes
        fractions, a number is beyond 32 bits, or a layer has no whole numbers.
    """
    if not is_integer(params):
        raise ValueError(
            f"network {network.name!r} has float weights, and this file holds whole numbers;"
            " quantise first: snnjax quantise, or snnjax.quantise in Python"
        )
    if neuron not in WHOLE_NEURONS:
        raise ValueError(
            f"neuron is {neuron!r}; want one that keeps whole numbers: {', '.join(WHOLE_NEURONS)}"
        )
    neuron_shapes(network, params["layers"], image_shape)  # raises where they do not fit
    file = _File({}, [], [])
    _add_layers(file, network.layers, params["layers"], _Signal("input", image_shape), "")
    facts = {
        "format": np.asarray(FORMAT),
        "layers": np.asarray(file.layers),
        "kinds": np.asarray(file.kinds),
        "neuron": np.asarray(neuron),
        "image_shape": np.asarray(image_shape, np.int32),
        "pixel": _whole("pixel", params["integer"]["pixel"]),
        "largest": _whole("largest", params["integer"]["magnitude"]),
        "logit": np.asarray(params["integer"]["logit"], np.float32),
    }
    if "output_scale" in params:
        facts["output_threshold"] = _whole("output_threshold", params["output_scale"])
    return facts | file.arrays


class _Signal(NamedTuple):
    """Output of a layer: its name in the file, and its shape for one image."""

    name: str
    shape: Shape


class _File(NamedTuple):
    """arrays: by name; layers, kinds: of the layers so far, in the order of computation."""

    arrays: dict[str, np.ndarray]
    layers: list[str]
    kinds: list[str]

    def add(
        self, name: str, kind: str, inputs: list[_Signal], shape: Shape, numbers: Params
    ) -> _Signal:
        """Add a layer with its numbers, and return its output."""
        self.layers.append(name)
        self.kinds.append(kind)
        self.arrays[f"{name}/inputs"] = np.asarray([signal.name for signal in inputs])
        self.arrays[f"{name}/shape"] = np.asarray(shape, np.int32)
        for key, values in numbers.items():
            path = f"{name}/{key}"
            self.arrays[path] = _whole(path, values, narrow=key == "weights")
        return _Signal(name, shape)


def _whole(name: str, values: Any, *, narrow: bool = False) -> np.ndarray:
    """Values in int32, with NEVER for inf; in int8 or int16 if these hold all and `narrow` is True.

    Raises:
      ValueError: naming the values, if some are fractions or beyond 32 bits.
    """
    exact = np.asarray(values, np.float64)
    exact = np.where(np.isinf(exact), NEVER, exact)
    bad = (exact != np.round(exact)) | (np.abs(exact) > NEVER)
    if np.any(bad):
        raise ValueError(
            f"{name} holds {exact[bad][0]:.17g}; want whole numbers of at most 32 bits, as"
            " quantise makes them"
        )
    kinds = (np.int8, np.int16, np.int32) if narrow else (np.int32,)
    most = np.abs(exact).max(initial=0)
    return exact.astype(next(kind for kind in kinds if most <= np.iinfo(kind).max))


def _add_layers(
    file: _File, layers: tuple[arch.Layer, ...], params: Params, signal: _Signal, prefix: str
) -> _Signal:
    """Add layers behind a signal, and return their output."""
    for name, layer in arch.named(layers):
        path, own = prefix + name, params.get(name, {})
        match layer:
            case arch.Activation():
                numbers = _neurons(own, signal.shape)
                signal = file.add(path, "neurons", [signal], signal.shape, numbers)
            case arch.Synapse():
                kind, numbers = _synapse(path, layer, own, signal.shape)
                x = jax.ShapeDtypeStruct((1, *signal.shape), jnp.float32)
                shape = jax.eval_shape(layer.linear, own, x).shape[1:]
                signal = file.add(path, kind, [signal], shape, numbers)
            case arch.Block():
                signal = _add_block(file, layer, own, signal, path)
            case arch.Folded():
                pass  # conversion folded it into the weights
            case _:
                raise arch.unknown_layer(path, layer)
    return signal


def _add_block(file: _File, block: arch.Block, own: Params, signal: _Signal, path: str) -> _Signal:
    """Add the branches of a block, what their ends are multiplied by, and their sum or join."""
    ends = []
    for branch, stack in block.branches.items():
        into = f"{path}/{branch}"
        end = _add_layers(file, stack, own.get(branch, {}), signal, f"{into}/")
        ends.append(_scaled(file, into, own.get(f"{branch}_weight"), end))
    kind = "add" if isinstance(block, arch.Residual) else "concat"
    shapes = (jax.ShapeDtypeStruct((1, *end.shape), jnp.float32) for end in ends)
    shape = jax.eval_shape(lambda *outputs: block.join(outputs), *shapes).shape[1:]
    joined = file.add(path, kind, ends, shape, {})
    return _scaled(file, f"{path}/weight", own.get("weight"), joined)


def _scaled(file: _File, path: str, factors: Any, signal: _Signal) -> _Signal:
    """Add a multiplication by whole factors of the channels, unless all are 1."""
    if factors is None or np.all(np.asarray(factors) == 1):
        return signal
    numbers = {"weights": np.resize(factors, signal.shape[-1])}
    return file.add(path, "scale", [signal], signal.shape, numbers)


def _neurons(own: Params, shape: Shape) -> Params:
    """Numbers of a layer of neurons, one for each channel or one for each neuron.

    Raises:
      ValueError: if the neurons start below 0, for which the file's formulas do not hold.
    """
    initial = 2 * np.asarray(own["initial"])
    if np.any(initial < 0):
        raise ValueError(
            f"initial is {np.min(initial) / 2:g}, and the file has potentials from 0 on; want"
            " convert(..., initial=0) or above"
        )
    names = {"positive": own["positive"], "negative": own["negative"], "initial": initial,
             "shift": own["shift"]}  # fmt: skip
    found = {
        name: np.broadcast_to(values, np.broadcast_shapes(np.shape(values), shape[-1:]))
        for name, values in names.items()
    }
    return {**found, "largest": own["magnitude"]}


def _synapse(path: str, layer: arch.Synapse, own: Params, shape: Shape) -> tuple[str, Params]:
    """Kind of a linear map, and its numbers for an input of this shape.

    Raises:
      ValueError: if the kind has none.
    """
    more: Params = {name: own[name] for name in ("bias", "border") if name in own}
    match layer:
        case arch.Conv():
            geometry = {"strides": layer.strides, "dilation": layer.dilation,
                        "pads": layer.spec.window.pads(shape), "groups": layer.groups}  # fmt: skip
            return "conv", {"weights": own["kernel"], **more, **geometry}
        case arch.Dense():
            return "dense", {"weights": own["kernel"], **more}
        case arch.Scale():
            return "scale", {"weights": own["scale"], **more}
        case arch.AvgPool():
            return "sum_pool", {"window": layer.window, "strides": layer.strides or layer.window}
        case arch.Flatten():
            return "flatten", {}
        case arch.Transpose():
            return "transpose", {"axes": layer.axes}
    raise ValueError(f"layer {path} is a {type(layer).__name__}, which has no whole numbers yet")
