"""Indices of a layer's output, and what they tell of an array's axes."""

import numpy as np
import pytest

from snnjax.conversion.tracing import indices

SHAPE = (4, 3, 2)
IMAGES = indices.indices_of(SHAPE, 5)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0)])
def test_roles_of_axes_are_found_in_any_order(order):
    moved = IMAGES.transpose(order)
    roles = indices.axis_roles(moved, SHAPE)
    assert roles == order
    np.testing.assert_array_equal(indices.in_user_order(IMAGES, roles, moved.shape), moved)
    np.testing.assert_array_equal(indices.in_layer_order(moved, moved, SHAPE), IMAGES)
    assert indices.is_everything(moved, SHAPE) and indices.is_everything(moved.copy(), SHAPE)


def test_an_axis_of_size_1_has_no_role():
    assert indices.axis_roles(IMAGES[:, None], SHAPE) == (0, None, 1, 2, 3)


def test_a_part_a_reversal_and_a_reshape_are_no_transposition():
    assert indices.axis_roles(IMAGES[:, :3], SHAPE) is None
    assert indices.axis_roles(IMAGES[:, ::-1], SHAPE) is None
    assert indices.axis_roles(IMAGES.reshape(5, 3, 4, 2), SHAPE) is None


def test_channels_may_come_in_any_order_but_every_one_of_them_once():
    order = indices.channel_order(IMAGES[..., [1, 0]], SHAPE)
    np.testing.assert_array_equal(order, [1, 0])
    for other in (IMAGES[..., [1, 1]], IMAGES[..., :1], IMAGES[:, ::-1], IMAGES[:, :3]):
        assert indices.channel_order(other, SHAPE) is None
    np.testing.assert_array_equal(indices.channel_order(IMAGES, SHAPE), [0, 1])


def test_padding_around_the_image_is_counted_and_taken_off():
    padded = np.pad(IMAGES, ((0, 0), (1, 0), (2, 3), (0, 0)), constant_values=indices.PADDING)
    inner, zeros = indices.without_padding(padded)
    np.testing.assert_array_equal(inner, IMAGES)
    assert zeros == ((1, 0), (2, 3))
    padded[:, 2] = indices.PADDING
    assert np.any(indices.without_padding(padded)[0] == indices.PADDING)  # inside the image


def test_a_part_of_an_output_is_not_everything():
    for other in (IMAGES[:, :3], IMAGES[..., [1, 1]], np.where(IMAGES == 3, -1, IMAGES)):
        assert not indices.is_everything(other, SHAPE)
    assert indices.is_everything(IMAGES[:, ::-1, [2, 0, 1]], SHAPE)


def test_places_of_channels_and_numbers_that_differ_between_them_only():
    for moved in (IMAGES.transpose(0, 3, 1, 2), IMAGES[:, ::-1].transpose(0, 3, 1, 2)):
        places = indices.channel_places(moved, SHAPE)
        np.testing.assert_array_equal(moved[places], [0, 1])
        by_channel, by_pixel = np.arange(2.0)[:, None, None], np.arange(3.0)
        assert indices.same_for_all_pixels(by_channel, moved, SHAPE)
        assert indices.same_for_all_pixels(by_channel + 0 * moved, moved, SHAPE)
        assert not indices.same_for_all_pixels(by_pixel, moved, SHAPE)


def test_axes_of_a_part_are_told_by_what_changes_along_them():
    padded = np.pad(IMAGES[:, 1:, ::-1], ((0, 0), (1, 0), (0, 0), (0, 0)), constant_values=-1)
    assert indices.varied_roles(padded.transpose(0, 3, 1, 2), SHAPE) == (0, 3, 1, 2)
    assert indices.varied_roles(IMAGES.reshape(5, 12, 2), SHAPE) is None


def test_the_number_of_images_is_that_of_the_largest_index():
    assert indices.batch_size(IMAGES[:, :, 1], SHAPE) == 5
