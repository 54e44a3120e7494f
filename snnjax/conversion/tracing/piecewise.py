"""Which member of the sthLeakyReLU family a function is, found by trying it.

A function may be written in many ways: `maximum(x, 0.1 * x)`, `where(x > 0, x, 0.1 * x)` and
`relu(x) - 0.1 * relu(-x)` are one. What it does to numbers tells what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from snnjax.networks.activations import sth_leaky_relu

__all__ = ["Bend", "fit"]

NEAR, FAR = 2.0**-20, 2.0**20
TOLERANCE = 1e-4


class Bend(NamedTuple):
    """gain * sth_leaky_relu(z, theta, alpha).

    alpha: slope below zero over the one above; theta: bound, a number or `[C]`; gain: `[C]`.
    """

    alpha: float
    theta: float | np.ndarray
    gain: np.ndarray


def fit(function: Callable[[float], np.ndarray]) -> Bend:
    """The sthLeakyReLU that a function is.

    Args:
      function: from a pre-activation to the outputs of all channels, `[C]`.

    Raises:
      ValueError: saying in what the function differs from every sthLeakyReLU.
    """
    if np.any(np.abs(function(0.0)) > NEAR):
        raise ValueError("is not 0 at 0")
    gain = function(NEAR) / NEAR
    if np.any(gain == 0):
        raise ValueError("is flat just above 0")
    alpha = _same(function(-NEAR) / -NEAR / gain, "has slopes below 0")
    if not 0 <= alpha <= 1:
        raise ValueError(f"has {alpha:.4g} times the slope below 0 that it has above; want 0 to 1")
    upper, lower = function(FAR) / gain, -function(-FAR) / gain
    bounded = upper < FAR / 2
    if np.any(bounded) and not np.all(bounded):
        raise ValueError("is bounded in some channels only")
    theta = upper if np.all(bounded) else np.full_like(upper, np.inf)
    if not np.allclose(lower, np.minimum(alpha * FAR, theta), rtol=TOLERANCE):
        raise ValueError(
            f"is bounded by {_shown(upper)} above and {_shown(-lower)} below; want the same bound"
            " on both sides, or 0 below"
        )
    for z in _between(theta, alpha):
        wanted = gain * np.asarray(sth_leaky_relu(np.float32(z), theta=theta, alpha=alpha))
        if not np.allclose(function(z), wanted, rtol=TOLERANCE):
            raise ValueError(
                f"is no sthLeakyReLU, LeakyReLU, ReLU or clip: see its value at {z:.4g}"
            )
    alike = np.allclose(theta, theta[0], rtol=1e-6)
    return Bend(alpha, float(theta[0]) if alike else theta, gain)


def _between(theta: np.ndarray, alpha: float) -> list[float]:
    """Numbers of both signs and all sizes, more of them where an output meets its bound."""
    sizes = [2.0**power for power in range(-19, 20)]
    if np.isfinite(theta).all():
        bounds = {float(theta.min()), float(theta.max())}
        bounds |= {bound / alpha for bound in bounds if alpha}
        sizes += [share * bound for bound in bounds for share in (0.3, 0.5, 0.7, 0.9, 1.1, 1.5)]
    return [sign * size for size in sizes for sign in (1.0, -1.0)]


def _same(values: np.ndarray, what: str) -> float:
    if not np.allclose(values, values[0], rtol=TOLERANCE, atol=1e-6):
        raise ValueError(f"{what} that differ between channels, {_shown(values)}; want one")
    return float(f"{values[0]:.6g}") + 0.0


def _shown(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
