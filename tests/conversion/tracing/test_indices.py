"""Indices of a layer's output, and what they tell of an array's axes."""

import numpy as np
import pytest

from snnjax.conversion.tracing import indices
from snnjax.conversion.tracing.jaxpr_walk import Operation

SHAPE = (4, 3, 2)
IMAGES = indices.indices_of(SHAPE, 5)
OPERATION = Operation("reshape")


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0)])
def test_roles_of_axes_are_found_in_any_order(order):
    moved = IMAGES.transpose(order)
    roles = indices.axis_roles(moved, SHAPE)
    assert roles == order
    np.testing.assert_array_equal(indices.in_user_order(IMAGES, roles, moved.shape), moved)
    np.testing.assert_array_equal(indices.in_layer_order(OPERATION, moved, moved, SHAPE), IMAGES)


def test_an_axis_of_size_1_has_no_role():
    assert indices.axis_roles(IMAGES[:, None], SHAPE) == (0, None, 1, 2, 3)


def test_a_part_a_reversal_and_a_reshape_are_no_transposition():
    assert indices.axis_roles(IMAGES[:, :3], SHAPE) is None
    assert indices.axis_roles(IMAGES[:, ::-1], SHAPE) is None
    assert indices.axis_roles(IMAGES.reshape(5, 3, 4, 2), SHAPE) is None


def test_channels_may_come_in_any_order_but_every_one_of_them_once():
    order = indices.channel_order(OPERATION, IMAGES[..., [1, 0]], SHAPE)
    np.testing.assert_array_equal(order, [1, 0])
    with pytest.raises(ValueError, match="part, a padding or copies"):
        indices.channel_order(OPERATION, IMAGES[..., [1, 1]], SHAPE)
    with pytest.raises(ValueError, match="another shape or order"):
        indices.channel_order(OPERATION, IMAGES[:, ::-1], SHAPE)


def test_padding_around_the_image_is_counted_and_taken_off():
    padded = np.pad(IMAGES, ((0, 0), (1, 0), (2, 3), (0, 0)), constant_values=indices.PADDING)
    inner, zeros = indices.without_padding(OPERATION, padded)
    np.testing.assert_array_equal(inner, IMAGES)
    assert zeros == ((1, 0), (2, 3))
    padded[:, 2] = indices.PADDING
    with pytest.raises(ValueError, match="padded inside the image"):
        indices.without_padding(OPERATION, padded)


def test_the_number_of_images_is_that_of_the_largest_index():
    assert indices.batch_size(IMAGES[:, :, 1], SHAPE) == 5
