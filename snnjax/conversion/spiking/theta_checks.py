"""Checks of thetas and levels: spikes that float32 numbers can hold."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_single, check_value

__all__ = ["check_channels", "check_levels", "check_theta"]

FLOAT32 = np.finfo(np.float32)


def check_levels(levels: ArrayLike, input_steps: int) -> None:
    """Check that a number of levels can be sent within the input; a traced number passes.

    Raises:
      ValueError: if it is no whole number from 1 to `input_steps`.
    """
    check_single("levels", levels)
    check_value(
        "levels", levels,
        lambda x: (x >= 1) & (x <= input_steps) & (x == np.floor(x)),
        f"a whole number from 1 to input_steps, which is {input_steps}",
    )  # fmt: skip


def check_theta(
    name: str, theta: Any, channels: int | None, levels: ArrayLike, input_steps: int
) -> None:
    """Check a site's theta; traced numbers pass.

    Half a spike's share of the mean, and the sum of all spikes and a half, must be float32 numbers
    of full precision, since XLA rounds smaller ones to 0.

    Args:
      name: of the site.
      theta: a number, or `[C]` for the last axis.
      channels: C; None without such an axis.
      levels: checked; may be traced.
      input_steps: number of timesteps with input.

    Raises:
      ValueError: if theta is no number in that range, or has another shape.
    """
    other = "" if channels is None else f", or {(channels,)} for the last axis"
    try:
        shape = np.shape(theta)
    except ValueError as error:
        raise ValueError(f"theta of {name} is {theta!r}; want one number{other}") from error
    good: Collection[tuple[int | None, ...]] = ((), (channels,))
    if shape not in good:
        raise ValueError(f"theta of {name} has shape {shape}; want one number{other}")
    most = input_steps if isinstance(levels, jax.core.Tracer) else int(np.asarray(levels))
    low, high = 2 * most * float(FLOAT32.tiny), float(FLOAT32.max) / (2 * input_steps)
    check_value(
        f"theta of {name}", theta, lambda x: (x >= low) & (x <= high),
        f"a finite number above 0, from {low:.2g} to {high:.2g}, so that its spikes are float32"
        " numbers",
    )  # fmt: skip


def check_channels(name: str, shape: tuple[int, ...], theta: tuple[int, ...]) -> None:
    """Check that a theta by channel has the last axis of one image's values.

    Args:
      name: of the site.
      shape: of its values, the images first.
      theta: shape of theta.

    Raises:
      ValueError: if it has not.
    """
    if theta and theta != shape[1:][-1:]:
        raise ValueError(
            f"theta of {name} has shape {theta} and the site's values for one image have shape"
            f" {shape[1:]}; want images on which the last axis of the site is that of the example,"
            " or one number as theta"
        )
