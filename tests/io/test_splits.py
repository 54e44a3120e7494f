"""A part of every class is held out, by the seed alone."""

import numpy as np
import pytest

from snnjax.io import splits
from snnjax.io.splits import Split


def labelled(counts):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Split(images, np.random.default_rng(0).permutation(labels))


@pytest.mark.parametrize("count", [1, 7, 50, 99])
@pytest.mark.parametrize("counts", [[25] * 4, [1, 2, 3, 94], [97, 1, 1, 1]])
def test_held_out_part_is_stratified_and_the_rest_is_kept(counts, count):
    split = labelled(counts)
    kept, held = splits.hold_out(split, count, seed=3)
    shares = np.bincount(held.labels, minlength=4) - np.array(counts) * count / 100
    assert len(held.labels) == count and np.abs(shares).max() < 1
    indices = np.concatenate([kept.images, held.images]).ravel()
    assert sorted(indices) == list(range(100))
    for part in (kept, held):
        where = part.images.ravel()
        assert (np.diff(where.astype(int)) > 0).all()
        np.testing.assert_array_equal(part.labels, split.labels[where])


def test_held_out_part_depends_on_the_seed_alone():
    split = labelled([25] * 4)
    first, again, other = (splits.hold_out(split, 20, seed=seed)[1] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.images != other.images).any()
    assert len(set(np.sort(first.images.ravel()) // 10)) > 5  # drawn from everywhere


@pytest.mark.parametrize("count", [0, -1, 100, 101, 2.5, None])
def test_impossible_count_is_refused(count):
    with pytest.raises(ValueError, match=f"^cannot hold out count={count} .* from 1 to 99$"):
        splits.hold_out(labelled([25] * 4), count, seed=0)


@pytest.mark.parametrize("seed", [-1, None, 0.5])
def test_impossible_seed_is_refused(seed):
    with pytest.raises(ValueError, match=f"seed={seed}: want a whole number >= 0"):
        splits.hold_out(labelled([25] * 4), 10, seed=seed)
