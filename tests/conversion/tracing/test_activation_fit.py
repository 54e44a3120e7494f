"""The fit to the sthLeakyReLU family, by hand."""

import numpy as np
import pytest

from snnjax.conversion.tracing import activation_fit


def fit(function):
    """The fit of a function that is written for one pre-activation."""
    return activation_fit.fit(lambda z: np.stack([np.asarray(function(one), float) for one in z]))


def test_slopes_bounds_and_gain_are_found_for_each_channel():
    gain, theta = np.array([1.0, 4.0]), np.array([0.5, 2.0])
    found = fit(lambda z: gain * np.clip(z if z > 0 else 0.25 * z, -theta, theta))
    assert found.alpha == 0.25
    np.testing.assert_allclose(found.theta, theta)
    np.testing.assert_allclose(found.gain, gain)


def test_a_bound_that_all_channels_share_is_one_number():
    assert fit(lambda z: np.full(3, np.clip(z, 0, 2.0))).theta == 2.0
    assert fit(lambda z: np.full(3, max(z, 0.0))).theta == np.inf


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda z: [z + 1], "not 0 at 0 but 1"),
        (lambda z: [min(z, 0.0)], "flat just above 0"),
        (lambda z: [max(z, -0.5 * z)], "-0.5 times the slope below 0"),
        (lambda z: [min(z, 2 * z)], "2 times the slope below 0"),
        (lambda z: [max(z, 0.0), z], "slopes below 0 that differ between channels, 0 to 1"),
        (lambda z: [min(z, 1.0), z], "bounded in some channels only"),
        (lambda z: [np.clip(z, -0.5, 1)], "bounded by 1 above and -0.5 below"),
        (
            lambda z: [z if abs(z) < 1 or abs(z) > 3 else np.sign(z)],
            "is 1 at 2; want .* which would be 2 there",
        ),
    ],
)
def test_what_differs_is_said(function, message):
    with pytest.raises(ValueError, match=message):
        fit(function)
