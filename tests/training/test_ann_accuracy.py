"""Correct answers of an ANN are counted over all images, however they are divided."""

import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.training.ann_accuracy import count_correct


def brightest_column(variables, images, levels):
    """Stands for a network; with levels it answers class 0 only."""
    del variables
    columns = images[..., 0].sum(1)
    return columns if levels is None else columns.at[:, 0].set(jnp.inf)


def test_every_image_counts_once_whatever_the_batch(labelled):
    images, labels = labelled(60)
    assert count_correct(brightest_column, {}, images, labels) == 60
    for size in (1, 7, 60):
        wrong = np.where(np.arange(60) < 5, (labels + 1) % 3, labels)
        assert count_correct(brightest_column, {}, images, wrong, batch_size=size) == 55
    zeros = int((labels == 0).sum())
    assert count_correct(brightest_column, {}, images, labels, levels=4) == zeros


def test_no_images_are_refused():
    with pytest.raises(ValueError, match=r"images have shape \(0, 4, 4, 1\); want \[B"):
        count_correct(brightest_column, {}, np.zeros((0, 4, 4, 1)), np.zeros(0))
