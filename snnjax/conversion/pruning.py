"""Pruning of silent channels: channels whose neurons never fire on the images that were shown.

Their spikes are all 0, so that the network without them has the same values on those images: to
the bit in an integer network, and up to the rounding of sums in another. On other images a channel
that was silent may fire, and the values then differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.runtime.checks import check_count
from snnjax.runtime.images import check_images
from snnjax.snn.engine import Observer, neuron_shapes
from snnjax.snn.simulation import simulate

__all__ = ["Pruned", "find_silent_channels", "fired_channels", "prune_channels"]

Params = dict[str, Any]


class Pruned(NamedTuple):
    """A network without some channels.

    network: the smaller architecture; params: its parameters.
    removed: number of removed channels by path of the neurons, 0 where they had to stay.
    """

    network: arch.Network
    params: Params
    removed: dict[str, int]


def find_silent_channels(
    network: arch.Network,
    params: Params,
    images: ArrayLike,
    *,
    num_steps: int,
    batch_size: int = 128,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Find the channels whose neurons send no spike in any image and timestep.

    Args:
      network: the architecture.
      params: what `conversion.convert` or `quantise` returned.
      images: floats `[N, H, W, C]` or `[N, D]`; on others a silent channel may fire.
      num_steps: T.
      batch_size: images at a time.
      options: of `simulate`, such as `neuron`; not `record`.

    Returns:
      Bools `[C]` by path of the neurons, True for a silent channel; a neuron of a Dense layer is a
      channel.

    Raises:
      ValueError: if there are no images, or as `simulate`.
    """
    check_count("batch_size", batch_size)
    shown = check_images(images)
    fired: dict[str, Any] = {}
    for first in range(0, len(shown), batch_size):
        recording = simulate(
            network, params, shown[first : first + batch_size], num_steps=num_steps, first=first,
            record=Observer(_watch), **options,
        ).recording  # fmt: skip
        for path, of in recording.items():
            fired[path] = np.asarray(of).any((0, 1)) | fired.get(path, False)
    return {path: ~of for path, of in fired.items()}


def fired_channels(spikes: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Return the channels with a spike in a timestep, bools `[B, C]` by path.

    Args:
      spikes: of a timestep, `[B, ..., C]` by path of the neurons.
    """
    return {path: jnp.any(s != 0, axis=tuple(range(1, s.ndim - 1))) for path, s in spikes.items()}


def _watch(frame: jax.Array, spikes: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Observer of the channels that fire."""
    del frame
    return fired_channels(spikes)


def prune_channels(
    network: arch.Network,
    params: Params,
    silent: Mapping[str, ArrayLike],
    image_shape: tuple[int, ...],
) -> Pruned:
    """Remove channels from the weights before and behind their neurons.

    Channels stay where other layers share them: neurons whose spikes enter or leave a block, such
    as the sum of a residual block, and grouped convolutions. Inside a branch they are removed. One
    channel of each layer stays.

    Args:
      network: the architecture.
      params: what `conversion.convert` or `quantise` returned.
      silent: bools `[C]` by path of neurons, from `find_silent_channels`.
      image_shape: `(H, W, C)` or `(D,)`.

    Raises:
      ValueError: if a path has no neurons, or there is not one bool for each channel.
    """
    shapes = neuron_shapes(network, params["layers"], image_shape)
    masks = {path: np.asarray(of) for path, of in silent.items()}
    for path, mask in masks.items():
        if path not in shapes:
            raise ValueError(f"silent has {path!r}; want paths of neurons: {', '.join(shapes)}")
        if mask.dtype != bool or mask.shape != shapes[path][-1:]:
            raise ValueError(
                f"silent[{path!r}] is {mask.dtype} {mask.shape}; want bools of shape"
                f" {shapes[path][-1:]}, one for each channel"
            )
    removed, features = dict.fromkeys(masks, 0), dict[str, int]()
    smaller = jax.tree.map(lambda leaf: leaf, params)  # new dicts, which are changed below
    for place in _places(network.layers, ""):
        mask = masks.get(place.neurons, np.zeros(0, bool))
        keep = ~mask
        keep[:1] |= not keep.any()
        inputs = _pass_on(place, keep, shapes[place.neurons]) if mask.any() else None
        if inputs is None:
            continue
        removed[place.neurons] = int((~keep).sum())
        features[place.sender] = int(keep.sum())
        _keep(arch.inside(smaller["layers"], place.sender), ("kernel", "bias"), keep)
        numbers = arch.inside(smaller["layers"], place.neurons)
        _keep(numbers, tuple(numbers), keep)
        _keep_inputs(arch.inside(smaller["layers"], place.receiver), inputs)
    layers = _with_features(network.layers, "", features)
    return Pruned(replace(network, layers=layers), smaller, removed)


class _Place(NamedTuple):
    """Paths of neurons between weights of their own, and the layers behind the neurons.

    sender: weights before the neurons; receiver: weights behind `between`.
    """

    sender: str
    neurons: str
    receiver: str
    between: tuple[arch.FixedSynapse, ...]


def _places(layers: arch.Layers, prefix: str) -> Iterator[_Place]:
    """Yield the neurons whose channels no other layer shares, also those inside branches."""
    named = arch.named(layers)
    for place, (name, layer) in enumerate(named):
        if isinstance(layer, arch.Block):
            for branch, inner in layer.branches.items():
                yield from _places(inner, f"{prefix}{name}/{branch}/")
        if not isinstance(layer, arch.Activation):
            continue
        before = [(n, of) for n, of in named[:place] if not isinstance(of, arch.Folded)]
        behind = [(n, of) for n, of in named[place + 1 :] if not isinstance(of, arch.Folded)]
        between = []
        for _, passed in behind:
            if not isinstance(passed, arch.FixedSynapse):
                break
            between.append(passed)
        if before and len(behind) > len(between):
            (sender, weights), (receiver, others) = before[-1], behind[len(between)]
            if _is_plain(weights) and _is_plain(others):
                yield _Place(prefix + sender, prefix + name, prefix + receiver, tuple(between))


def _is_plain(layer: arch.Layer) -> bool:
    """True for weights in which every channel of the input has a row and of the output a column."""
    return isinstance(layer, arch.Dense) or (isinstance(layer, arch.Conv) and layer.groups == 1)


def _pass_on(place: _Place, keep: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Channels that the receiver keeps, bools; None if a channel of its input mixes several.

    Args:
      place: the neurons.
      keep: channels of the neurons that stay, bools `[C]`.
      shape: of the neurons for one image.
    """
    x = jnp.broadcast_to(jnp.asarray(keep, jnp.float32), (1, *shape))
    for passed in place.between:
        x = passed.linear({}, x)
    rows = np.asarray(x).reshape(-1, x.shape[-1]) > 0.5
    return rows[0] if (rows == rows[0]).all() else None


def _keep(arrays: Params, names: Sequence[str], keep: np.ndarray) -> None:
    """Keep some entries of the last axis of arrays with an entry for each channel."""
    for name in names:
        values = np.asarray(arrays.get(name, 0.0))
        if values.shape[-1:] == keep.shape:
            arrays[name] = values[..., keep]


def _keep_inputs(arrays: Params, keep: np.ndarray) -> None:
    """Keep some inputs of weights: rows of the kernel, and values of a border."""
    arrays["kernel"] = np.asarray(arrays["kernel"])[..., keep, :]
    _keep(arrays, ("border",), keep)


def _with_features(layers: arch.Layers, prefix: str, features: Mapping[str, int]) -> arch.Layers:
    """Layers in which those weights have other numbers of features."""
    new = []
    for name, layer in arch.named(layers):
        path = prefix + name
        if isinstance(layer, arch.Block):
            branches = iter(layer.branches)
            layer = layer.with_branches(
                lambda inner, path=path, branches=branches: _with_features(  # type: ignore[misc]
                    inner, f"{path}/{next(branches)}/", features
                )
            )
        elif path in features:
            layer = replace(layer, features=features[path])  # type: ignore[call-arg]
        new.append(layer)
    return tuple(new)
