"""Augmentation: each change does what it says to some images, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import random_images

from snnjax.training.augmentation import augment, colour, cutout, flip, shift

KEY = jax.random.key(0)


def test_a_shift_moves_the_picture_and_fills_with_black():
    images = np.arange(1, 17, dtype=np.uint8).reshape(1, 4, 4, 1).repeat(200, 0)
    moved = np.asarray(shift(jax.random.key(0), images, max_shift=1))
    kinds = {image.tobytes() for image in moved}
    assert len(kinds) == 9
    assert images[0].tobytes() in kinds
    right = np.zeros((4, 4, 1), np.uint8)
    right[:, 1:] = images[0, :, :-1]
    assert right.tobytes() in kinds
    np.testing.assert_array_equal(shift(jax.random.key(0), images, max_shift=0), images)


def test_a_flip_mirrors_half_of_the_images():
    images = random_images(400, (3, 5, 2))
    flipped = np.asarray(flip(KEY, images))
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    kept = (flipped == images).all((1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 0.4 < mirrored.mean() < 0.6


def test_cutout_hides_a_square_that_may_lie_half_outside():
    images = np.full((500, 8, 8, 2), 0.25, np.float32)
    hidden = np.asarray(cutout(KEY, images, size=4))
    assert set(np.unique(hidden)) == {0.25, 0.5}
    grey = hidden == 0.5
    assert (grey[..., 0] == grey[..., 1]).all()
    rows, columns = grey[..., 0].any(2).sum(1), grey[..., 0].any(1).sum(1)
    assert set(rows) == set(columns) == {2, 3, 4}
    assert (grey[..., 0].sum((1, 2)) == rows * columns).all()
    assert grey.mean((0, 3)).min() > 0  # every pixel is hidden at times


def test_colours_change_by_up_to_their_strength_and_stay_colours():
    grey = np.full((200, 4, 4, 3), 0.5, np.float32)
    changed = np.asarray(colour(KEY, grey, strength=0.2))
    np.testing.assert_allclose(changed.std((1, 2, 3)), 0, atol=1e-3)  # no contrast, no saturation
    brightness = changed.mean((1, 2, 3)) - 0.5
    assert 0.15 < np.abs(brightness).max() < 0.2 * 1.2 + 1e-3
    assert np.std(brightness) > 0.05
    images = random_images(200, (4, 4, 3))
    changed = np.asarray(colour(KEY, images, strength=0.5))
    assert changed.min() >= 0 and changed.max() <= 1
    spread = changed.std((1, 2, 3)) / images.std((1, 2, 3))
    assert spread.min() < 0.8 and spread.max() > 1.05


def test_without_options_the_images_are_floats_and_no_more():
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
    np.testing.assert_allclose(augment(KEY, images), images / 255, rtol=1e-6)


@pytest.mark.parametrize(
    "option",
    [{"max_shift": 1}, {"flip_images": True}, {"colour_strength": 0.3}, {"cutout_size": 2}],
)
def test_every_option_changes_something_and_its_key_decides(option):
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), dtype=np.uint8))
    first, again = (augment(KEY, images, **option) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != augment(KEY, images)).any()
    assert (first != augment(jax.random.key(1), images, **option)).any()


def test_b1_augmented_images_are_float32_under_x64():
    every = {"max_shift": 1, "flip_images": True, "colour_strength": 0.2, "cutout_size": 2}
    with jax.enable_x64(True):
        assert augment(KEY, random_images(3, (6, 6, 3)), **every).dtype == np.float32
