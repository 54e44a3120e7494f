"""Fit of a function to the sthLeakyReLU family, from its values.

A function may be written in many ways: `maximum(x, 0.1 * x)`, `where(x > 0, x, 0.1 * x)` and
`relu(x) - 0.1 * relu(-x)` are the same. Their values tell that, whatever their operations are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["ActivationFit", "fit"]

NEAR, FAR = 2.0**-20, 2.0**20
"""Sizes of the pre-activations that tell the slopes at 0 and the bounds."""
JUMP = 1e-3
"""Smallest difference between values on both sides of 0 that is a jump and no slope."""
TOLERANCE = 1e-4
"""Largest relative difference between two values that are taken for equal."""


class ActivationFit(NamedTuple):
    """The function gain * sth_leaky_relu(z, theta, alpha).

    alpha: slope below zero over the one above; theta: bound, a number or `[C]`; gain: `[C]`.
    """

    alpha: float
    theta: float | np.ndarray
    gain: np.ndarray


def fit(function: Callable[[np.ndarray], np.ndarray]) -> ActivationFit:
    """Return the member of the sthLeakyReLU family that a function is.

    Args:
      function: from pre-activations `[Z]` to the outputs of all channels, `[Z, C]`.

    Raises:
      ValueError: if the function is none; the message is the end of a sentence that begins with
        "the function".
    """
    with np.errstate(all="ignore"):  # a function that is none may overflow
        return _fit(function)


def _fit(function: Callable[[np.ndarray], np.ndarray]) -> ActivationFit:
    points = np.array([0.0, NEAR, 2 * NEAR, -NEAR, FAR, -FAR])
    at_zero, near, twice, below, far, far_below = function(points)
    if np.any((near == twice) & (np.abs(near - below) > JUMP)):
        raise ValueError(
            f"jumps at 0 from {_range(below)} to {_range(near)}, so it is a step; want a"
            " slope there: train with a ReLU or a clip in its place, and leave quantisation to the"
            " spiking network"
        )
    if np.any(np.abs(at_zero) > NEAR):
        raise ValueError(f"is not 0 at 0 but {_range(at_zero)}; want an activation through 0")
    gain = near / NEAR
    if np.any(gain == 0):
        raise ValueError("is flat just above 0; want a slope there, as ReLU has one")
    alpha = _one_slope(below / -NEAR / gain)
    upper, lower = far / gain, -far_below / gain
    bounded = upper < FAR / 2
    if np.any(bounded) and not np.all(bounded):
        raise ValueError("is bounded in some channels only; want a bound in all or none")
    theta = upper if np.all(bounded) else np.full_like(upper, np.inf)
    if not np.allclose(lower, np.minimum(alpha * FAR, theta), rtol=TOLERANCE):
        raise ValueError(_unequal_bounds(upper, lower))
    points = np.array(_test_points(theta, alpha))
    for z, found in zip(points, function(points), strict=True):
        wanted = gain * np.clip(z if z > 0 else alpha * z, -theta, theta)  # eq. 13
        if not np.allclose(found, wanted, rtol=TOLERANCE):
            raise ValueError(
                f"is {_range(found)} at {z:.4g}; want a sthLeakyReLU, LeakyReLU, ReLU or"
                f" clip, which would be {_range(wanted)} there"
            )
    equal = np.allclose(theta, theta[0], rtol=1e-6)
    return ActivationFit(alpha, float(theta[0]) if equal else theta, gain)


def _unequal_bounds(upper: np.ndarray, lower: np.ndarray) -> str:
    """Return the reason to refuse a function by its bounds above and below, both magnitudes."""
    above, below = (
        _range(sign * bound) if np.all(bound < FAR / 2) else "nothing"
        for sign, bound in ((1, upper), (-1, lower))
    )
    return (
        f"is bounded by {above} above and {below} below; want no bound, the same on both"
        " sides, or 0 below"
    )


def _one_slope(slopes: np.ndarray) -> float:
    """Return the slope below 0 that all channels share, over the slope above."""
    if not np.allclose(slopes, slopes[0], rtol=TOLERANCE, atol=1e-6):
        raise ValueError(
            f"has slopes below 0 that differ between channels, {_range(slopes)}; want one"
        )
    alpha = float(f"{slopes[0]:.6g}") + 0.0  # no -0.0
    if not 0 <= alpha <= 1:
        raise ValueError(f"has {alpha:.4g} times the slope below 0 that it has above; want 0 to 1")
    return alpha


def _test_points(theta: np.ndarray, alpha: float) -> list[float]:
    """Return pre-activations of both signs and all sizes, most of them near the bounds."""
    sizes = [2.0**power for power in range(-19, 20)]
    if np.isfinite(theta).all():
        bounds = {float(theta.min()), float(theta.max())}
        bounds |= {bound / alpha for bound in bounds if alpha}
        sizes += [share * bound for bound in bounds for share in (0.3, 0.5, 0.7, 0.9, 1.1, 1.5)]
    return [sign * size for size in sizes for sign in (1.0, -1.0)]


def _range(values: np.ndarray) -> str:
    low, high = float(values.min()) + 0.0, float(values.max()) + 0.0  # no -0.0
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
