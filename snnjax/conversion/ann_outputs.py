"""Outputs of an ANN on images, batch by batch, so that memory does not grow with their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import flax
import jax
import numpy as np
from jax.typing import ArrayLike
from tqdm import tqdm

from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN, sown_activations
from snnjax.networks.layers import DoesNotFit
from snnjax.networks.parameters import check_variables
from snnjax.runtime.checks import check_count
from snnjax.runtime.images import NETWORK_RANKS, check_images

__all__ = [
    "BATCH_SIZE",
    "activation_batches",
    "image_batches",
    "largest_values",
    "logit_batches",
    "percentiles",
]

Variables = Mapping[str, Any]
Arrays = dict[str, np.ndarray]

MISFITS = (flax.errors.ScopeParamShapeError, flax.errors.ScopeParamNotFoundError)
"""Errors of Flax about parameters that do not fit the images, or are missing."""

BATCH_SIZE = 100
"""Images at a time where the user gives no other number."""


def image_batches(
    images: ArrayLike,
    *,
    name: str,
    purpose: str,
    batch_size: int = BATCH_SIZE,
    progress: bool,
    ranks: Sequence[int] = NETWORK_RANKS,
) -> Iterator[Any]:
    """Yield float32 batches of nearly equal size, behind a progress bar if they take long.

    Args:
      images: floats `[N, H, W, C]` or `[N, D]`.
      name: text of the progress bar.
      purpose: of the images in error messages, such as " to measure on".
      batch_size: images at a time, at most.
      progress: show a progress bar after the first second.
      ranks: numbers of axes of the images that are good.

    Raises:
      ValueError: if there are no images, they are not finite floats, or `batch_size` is below 1.
    """
    checked = check_images(images, purpose=purpose, ranks=ranks)
    count = math.ceil(len(checked) / check_count("batch_size", batch_size))
    ends = [len(checked) * place // count for place in range(count + 1)]
    bar = tqdm(range(count), name, unit="batch", mininterval=1, delay=1, disable=not progress)
    for place in bar:
        yield checked[ends[place] : ends[place + 1]].astype(np.float32)


def activation_batches(
    network: arch.Network, variables: Variables, images: ArrayLike, **how: Any
) -> Iterator[Arrays]:
    """Yield the ANN's activations on each batch, by path; `how` as in `image_batches`.

    Raises:
      ValueError: if there is no Network or no collection "params", the images do not fit the
        parameters, or as `image_batches`.
    """
    for batch in image_batches(images, purpose=" to measure on", **how):
        found = _fitting(_activations, network, variables, batch)
        yield {path: np.asarray(leaf, np.float32) for path, leaf in found.items()}


def logit_batches(
    network: arch.Network, variables: Variables, images: ArrayLike, **how: Any
) -> Iterator[np.ndarray]:
    """Yield the ANN's logits on each batch; `how` as in `image_batches`.

    Raises:
      ValueError: if there is no Network or no collection "params", the images do not fit the
        parameters, or as `image_batches`.
    """
    for batch in image_batches(images, purpose=" to measure on", **how):
        yield np.asarray(_fitting(_logits, network, variables, batch))


def largest_values(
    batches: Iterable[Mapping[str, np.ndarray]], size: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any]:
    """Return the largest `size` of a value over all batches, by path."""
    largest: dict[str, Any] = {}
    for batch in batches:
        for path, values in batch.items():
            largest[path] = float(np.maximum(largest.get(path, -np.inf), np.max(size(values))))
    return largest


def percentiles(batches: Callable[[], Iterator[Arrays]], percentile: float) -> dict[str, float]:
    """Return a percentile of the magnitudes above zero by path; 0 where all values are zero.

    It is exact, and equals the percentile of all batches at once: the bits of positive floats are
    in the order of the floats, so one pass counts values by their upper 16 bits, and another the
    values near the percentile by their lower 16 bits.

    Args:
      batches: starts a pass over all batches of float32 arrays by path.
      percentile: in (0, 100]; between two values it is interpolated.

    Raises:
      Nothing.
    """
    upper: dict[str, np.ndarray] = {}
    for batch in batches():
        for path, values in batch.items():
            counts = np.bincount(_bits(values) >> 16, minlength=2**16)
            upper[path] = upper.get(path, 0) + counts
    ranks = {path: percentile / 100 * max(counts.sum() - 1, 0) for path, counts in upper.items()}
    wanted = {  # upper 16 bits of the two values beside the percentile
        path: [_bin_of(counts, rank) for rank in (math.floor(ranks[path]), math.ceil(ranks[path]))]
        for path, counts in upper.items()
    }
    lower = {path: {place: np.zeros(2**16, int) for place in wanted[path]} for path in upper}
    for batch in batches():
        for path, values in batch.items():
            bits = _bits(values)
            for place, counts in lower[path].items():
                inside = bits[bits >> 16 == place] & 0xFFFF
                counts += np.bincount(inside, minlength=2**16)
    return {
        path: _value_at(upper[path], lower[path], rank) if upper[path].any() else 0.0
        for path, rank in ranks.items()
    }


def _bits(values: np.ndarray) -> np.ndarray:
    """Bits of the magnitudes above zero, as whole numbers in the order of the magnitudes."""
    sizes = np.abs(values)
    return sizes[sizes > 0].view(np.uint32)


def _bin_of(counts: np.ndarray, rank: int) -> int:
    """Bin that holds the value of a rank, from 0."""
    return int(np.searchsorted(np.cumsum(counts), rank, side="right"))


def _value_at(upper: np.ndarray, lower: Mapping[int, np.ndarray], rank: float) -> float:
    """Value of a rank, interpolated between two whole ranks."""

    def value(whole: int) -> float:
        place = _bin_of(upper, whole)
        inside = _bin_of(lower[place], whole - int(upper[:place].sum()))
        return float(np.uint32(place << 16 | inside).view(np.float32))

    low, high = value(math.floor(rank)), value(math.ceil(rank))
    return float(low + (rank - math.floor(rank)) * (high - low))


def _fitting(run: Callable[..., Any], network: arch.Network, variables: Variables, x: Any) -> Any:
    """Run a network; a refusal by Flax becomes a ValueError with the shape of the images."""
    check_variables(network, variables)
    try:
        with jax.default_matmul_precision("highest"):
            return run(variables, x, layers=network.layers)
    except (DoesNotFit, *MISFITS) as error:
        raise ValueError(
            f"images of shape {x.shape[1:]} do not fit the parameters of network"
            f" {network.name!r}: {str(error).splitlines()[0]}"
        ) from error


@partial(jax.jit, static_argnames=("layers",))
def _activations(variables: Variables, images: jax.Array, *, layers: Any) -> dict[str, jax.Array]:
    caught: Any = ANN(layers).apply(variables, images, mutable=["intermediates"])[1]
    return sown_activations(caught)


@partial(jax.jit, static_argnames=("layers",))
def _logits(variables: Variables, images: jax.Array, *, layers: Any) -> Any:
    return ANN(layers).apply(variables, images)
