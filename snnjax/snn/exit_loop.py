"""The loop of early exit: timesteps until each image's margin has reached the exit threshold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_value
from snnjax.snn.engine import Carry, Outputs

__all__ = ["Answer", "check_margin", "margins", "run_until"]


class Answer(NamedTuple):
    """Result of a simulation with early exit.

    values: `[B, K]` values of the readout at the exit; `answers.classify` gives the answer.
    steps: `[B]` timesteps up to and including the exit, pre-steps too.
    spikes: `[B]` spike count of all hidden layers, both signs, up to and including the exit.
    """

    values: jax.Array
    steps: jax.Array
    spikes: jax.Array


def margins(values: jax.Array) -> jax.Array:
    """Largest value minus the second largest, `[..., K]` to `[...]`; 0 for a tie.

    Choice: a single value, whose sign is the answer, is at a distance of its size from the other.
    """
    if values.shape[-1] == 1:
        return jnp.abs(values[..., 0])
    best, second = jnp.moveaxis(jax.lax.top_k(values, 2)[0], -1, 0)
    return best - second


def check_margin(margin: Any, count: int) -> jax.Array:
    """Return an exit threshold in float32; traced numbers pass.

    Args:
      margin: a number, or `[B]` for each image.
      count: B.

    Raises:
      ValueError: if it has another shape, or is no number of at least 0.
    """
    wanted = f"an exit threshold of at least 0, or {count} of them, one for each image"
    try:
        array = margin if isinstance(margin, jax.Array) else np.asarray(margin)
    except ValueError as error:
        raise ValueError(f"margin is {margin!r}; want {wanted}") from error
    if array.shape not in {(), (count,)}:
        raise ValueError(f"margin has shape {array.shape}; want {wanted}")
    if jnp.iscomplexobj(array):
        raise ValueError(f"margin is {margin}; want {wanted}")
    check_value("margin", margin, lambda x: x >= 0, wanted)
    return jnp.asarray(margin, jnp.float32)


def run_until(
    step: Callable[[Carry, jax.Array], tuple[Carry, Outputs]],
    carry: Carry,
    margin: ArrayLike,
    *,
    begin: int = 0,
    num_steps: int,
) -> Answer:
    """Run timesteps until all images have stopped, or to the end.

    Args:
      step: `step(carry, t) -> (carry, outputs)` of one timestep, values `[B, K]`.
      carry: before the first timestep.
      margin: exit threshold, or `[B]`.
      begin: the first timestep.
      num_steps: T, after which every image stops.
    """

    def body(state: tuple[jax.Array, Carry, Answer]) -> tuple[jax.Array, Carry, Answer]:
        t, carry, answer = state
        carry, (values, spikes, _) = step(carry, t)
        stops = (answer.steps == 0) & ((margins(values) >= margin) | (t + 1 == num_steps))
        now = Answer(values, jnp.full_like(answer.steps, t + 1), spikes)
        return t + 1, carry, jax.tree.map(partial(_select_images, stops), now, answer)

    _, (values, spikes, _) = jax.eval_shape(step, carry, jnp.int32(0))
    empty = Answer(
        jnp.zeros(values.shape, values.dtype), jnp.zeros(spikes.shape, jnp.int32),
        jnp.zeros(spikes.shape, spikes.dtype),
    )  # fmt: skip
    start = (jnp.int32(begin), carry, empty)
    return jax.lax.while_loop(lambda state: jnp.any(state[2].steps == 0), body, start)[2]


def _select_images(which: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Take the images of `which` from `new`, and the others from `old`."""
    return jnp.where(which.reshape(-1, *[1] * (new.ndim - 1)), new, old)
