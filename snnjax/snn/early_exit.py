"""Early exit: each image stops at the timestep at which its answer is clear enough.

The answer is clear by its margin, the largest value of the readout minus the second.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_value
from snnjax.snn.encoding import CONSTANT, Encoding
from snnjax.snn.engine import Carry, Outputs, SpikingFunction, Task, neuron_shapes
from snnjax.snn.fast.chunks import prepare_kernels_for
from snnjax.snn.fast.loop import make_loop
from snnjax.snn.neurons import EXACT_CHARGE, NeuronModel
from snnjax.snn.noise import Noise
from snnjax.snn.readout import ACCUMULATE, Readout
from snnjax.snn.simulation import check, count_pre_steps, run_pre_steps
from snnjax.snn.stimulus import Stimulus

__all__ = ["Answer", "Exit", "TradeOff", "choose_margin", "margins", "simulate_until", "trade_off"]

Params = dict[str, Any]


class Answer(NamedTuple):
    """Result of a simulation with early exit.

    values: `[B, K]` the readout at the exit; the largest is the answer.
    steps: `[B]` timesteps up to and with the exit, pre-steps included.
    spikes: `[B]` hidden spikes of either sign up to and with the exit.
    """

    values: jax.Array
    steps: jax.Array
    spikes: jax.Array


class TradeOff(NamedTuple):
    """Accuracy against time, at every threshold where either changes; the first one exits at once.

    thresholds: `[N]`, rising; accuracy: `[N]` share of right answers; steps: `[N]` mean timesteps.
    """

    thresholds: np.ndarray
    accuracy: np.ndarray
    steps: np.ndarray


class Exit(NamedTuple):
    """A threshold, and on the images it was chosen on: accuracy and mean timesteps with it, and
    the accuracy of all timesteps.
    """

    margin: float
    accuracy: float
    steps: float
    full: float


def margins(values: jax.Array) -> jax.Array:
    """The largest value minus the second, `[..., K]` to `[...]`."""
    best, second = jnp.moveaxis(jax.lax.top_k(values, 2)[0], -1, 0)
    return best - second


def simulate_until(
    network: SpikingFunction,
    params: Params,
    images: ArrayLike,
    *,
    margin: ArrayLike,
    num_steps: int,
    neuron: NeuronModel = EXACT_CHARGE,
    encoding: Encoding = CONSTANT,
    readout: Readout = ACCUMULATE,
    key: jax.Array | None = None,
    first: ArrayLike = 0,
    noise: Noise | None = None,
    pre_steps: int = 0,
    shown_steps: int = 0,
) -> Answer:
    """Simulate like `simulation.simulate`, and stop each image when its margin reaches a threshold.

    The compiled loop ends when all images of the batch have stopped, or after `num_steps`. An
    image that has stopped is computed until then and its answer kept, so time is saved by
    the batch, and the most of it with one image at a time.

    Source: dynamic timesteps of Li et al. 2023 (SEENN), by a margin in the place of a softmax.
    Choice: a margin of the readout's values as they are, so the threshold is in their unit: that
    of the logits for the membrane, spikes for counts.

    Args:
      network: the architecture; static.
      params: what `conversion.convert` returned.
      images: floats `[B, H, W, C]`.
      margin: the threshold, at least 0; 0 stops at the first answer, infinity never. Traced.
      num_steps: T, when every image stops; static.
      neuron: as `simulate`, like all that follow.
      encoding: how images become input.
      readout: how the last layer's current becomes values.
      key: for an encoding that draws, and for noise.
      first: index of the first image among all that share `key`.
      noise: what corrupts the images.
      pre_steps: timesteps before the first answer; no image stops in them.
      shown_steps: timesteps for which the input is shown; 0 for all.

    Raises:
      ValueError: if `margin` is negative or NaN, or as `simulate`.
    """
    check_value("margin", margin, lambda x: x >= 0, "a threshold of at least 0")
    task = Task(network, neuron, encoding, readout, shown_steps)
    check(task, params, images, num_steps=num_steps, pre_steps=pre_steps, key=key)
    task = task._replace(shown_steps=min(int(shown_steps), int(num_steps)))
    return _simulate_until(
        params, Stimulus(images, key, first, noise), margin,  # type: ignore[arg-type]
        task=task, num_steps=int(num_steps), pre_steps=int(pre_steps),
    )  # fmt: skip


@partial(jax.jit, static_argnames=("task", "num_steps", "pre_steps"))
def _simulate_until(
    params: Params,
    stimulus: Stimulus,
    margin: ArrayLike,
    *,
    task: Task,
    num_steps: int,
    pre_steps: int,
) -> Answer:
    batch = stimulus.images.shape[0]
    neuron_shapes(task.network, params["layers"], stimulus.images.shape[1:])  # refuses others
    params = prepare_kernels_for(task.network, params, batch, num_steps)
    loop = make_loop(params, stimulus, task)
    carry, _ = run_pre_steps(loop, task, pre_steps)

    def advance(carry: Carry, t: jax.Array) -> tuple[Carry, Outputs]:
        def one(shown: bool) -> tuple[Carry, Outputs]:
            after, outputs = loop.body(carry, t[None], shown)
            return after, jax.tree.map(lambda leaf: leaf[0], outputs)

        if not task.shown_steps:
            return one(True)
        return jax.lax.cond(t < task.shown_steps, partial(one, True), partial(one, False))

    def body(state: tuple[jax.Array, Carry, Answer]) -> tuple[jax.Array, Carry, Answer]:
        t, carry, answer = state
        carry, (values, spikes, _) = advance(carry, t)
        stops = (answer.steps == 0) & ((margins(values) >= margin) | (t + 1 == num_steps))
        now = Answer(values, jnp.full_like(answer.steps, t + 1), spikes)
        return t + 1, carry, jax.tree.map(partial(_chosen, stops), now, answer)

    _, (values, spikes, _) = jax.eval_shape(advance, carry, jnp.asarray(0))
    empty = Answer(
        jnp.zeros(values.shape, values.dtype), jnp.zeros(batch, jnp.int32),
        jnp.zeros(spikes.shape, spikes.dtype),
    )  # fmt: skip
    done = count_pre_steps(task.network, task.neuron, pre_steps, num_steps)
    start = (jnp.asarray(done), carry, empty)
    return jax.lax.while_loop(lambda state: jnp.any(state[2].steps == 0), body, start)[2]


def _chosen(which: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """By image, the new or the old."""
    return jnp.where(which.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def trade_off(values: ArrayLike, labels: ArrayLike, *, before: int = 0) -> TradeOff:
    """Accuracy and mean timesteps at every threshold, from a simulation of all timesteps.

    An image that goes on beyond timestep t does so above the largest margin it had up to then;
    there its answer changes from that of t to that of t + 1. The curve is the sum of these
    changes in the order of their thresholds.

    Args:
      values: `[T, B, K]` of `simulation.simulate`.
      labels: `[B]`.
      before: how many of the T timesteps are pre-steps, in which nothing stops.

    Raises:
      ValueError: if there is not one label for each image, or no timestep or image.
    """
    values = np.asarray(values)[before:]
    if 0 in values.shape or np.shape(labels) != values.shape[1:2]:
        raise ValueError(
            f"values have shape {values.shape} behind {before} pre-steps, and labels"
            f" {np.shape(labels)}; want [T, B, K] and [B] with nothing empty"
        )
    right = (values.argmax(-1) == np.asarray(labels)).astype(np.int64)
    reached = np.maximum.accumulate(np.asarray(margins(jnp.asarray(values))), axis=0)[:-1].ravel()
    order = np.argsort(reached, kind="stable")
    last = np.flatnonzero(np.diff(reached[order], append=np.inf))  # of those at one threshold
    above = np.nextafter(reached[order][last], np.float32(np.inf))
    above = np.maximum(above, np.finfo(np.float32).tiny)  # XLA takes smaller ones for 0
    gained = np.cumsum(np.diff(right, axis=0).ravel()[order])[last]
    count = len(labels)  # type: ignore[arg-type]
    return TradeOff(
        np.concatenate([np.zeros(1, np.float32), above]),
        (right[0].sum() + np.concatenate([[0], gained])) / count,
        before + 1 + np.concatenate([[0], last + 1]) / count,
    )


def choose_margin(
    values: ArrayLike, labels: ArrayLike, *, tolerance: float, before: int = 0
) -> Exit:
    """The smallest threshold above which accuracy stays within a tolerance of that of all steps.

    Choice: no threshold above it may lose more, so that a lucky one among bad ones is not taken.

    Args:
      values: `[T, B, K]` of `simulation.simulate`, on images that are not those to be scored.
      labels: `[B]`.
      tolerance: share of the images that may be lost, such as 0.001.
      before: how many of the T timesteps are pre-steps.

    Raises:
      ValueError: if `tolerance` is outside [0, 1), or as `trade_off`.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is {tolerance}; want a share in [0, 1), such as 0.001")
    curve = trade_off(values, labels, before=before)
    full = curve.accuracy[-1]
    bad = np.flatnonzero(curve.accuracy < full - tolerance - 1e-9)  # shares of one count, rounded
    place = bad[-1] + 1 if len(bad) else 0
    return Exit(
        margin=float(curve.thresholds[place]),
        accuracy=float(curve.accuracy[place]),
        steps=float(curve.steps[place]),
        full=float(full),
    )
