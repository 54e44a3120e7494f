"""Images with labels: the first of them, and a part that is held out from every class."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Split", "first", "hold_out", "random_order", "take"]


class Split(NamedTuple):
    """images: uint8 `[N, H, W, C]`; labels: int32 `[N]`, from 0."""

    images: np.ndarray
    labels: np.ndarray


def first(split: Split, count: int) -> Split:
    """Return the first `count` images of a split; a count of 0 means all."""
    return Split(*(part[: count or None] for part in split))


def hold_out(split: Split, count: int, *, seed: int) -> tuple[Split, Split]:
    """Divide a split into (kept, held out), with `count` images held out.

    Every class gives its share of `count` to within one image, rounded by largest remainder. The
    seed and the labels alone decide which images are held out; both parts keep the order of
    `split`.

    Raises:
      ValueError: if the count is not from 1 to N - 1, or the seed is not a whole number >= 0.
    """
    total = len(split.labels)
    if not isinstance(count, int | np.integer) or not 1 <= count < total:
        raise ValueError(
            f"cannot hold out {count=} of {total} images: want a whole number from 1 to {total - 1}"
        )
    order = random_order(total, seed)
    _, members, sizes = np.unique(split.labels, return_inverse=True, return_counts=True)
    quotas, remainders = np.divmod(int(count) * sizes, total)
    quotas[np.argsort(-remainders, kind="stable")[: count - quotas.sum()]] += 1
    held = np.zeros(total, bool)
    for label, quota in enumerate(quotas):
        held[order[members[order] == label][:quota]] = True
    return take(split, ~held), take(split, held)


def take(split: Split, which: np.ndarray) -> Split:
    """Return the images and labels that an index array or a mask selects."""
    return Split(split.images[which], split.labels[which])


def random_order(count: int, seed: int) -> np.ndarray:
    """Return a permutation of `count` numbers that is the same with every version of NumPy.

    It sorts raw PCG64 words, whose stream NumPy promises never to change.

    Raises:
      ValueError: if the seed is not a whole number >= 0.
    """
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"cannot draw with {seed=}: want a whole number >= 0")
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")
