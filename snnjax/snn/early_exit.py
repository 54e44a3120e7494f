"""Early exit: each image stops at the timestep at which its margin reaches an exit threshold.

The margin is the largest value of the readout minus the second largest.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.snn.answers import check_labels, classify
from snnjax.snn.encoding import CONSTANT, Encoding
from snnjax.snn.engine import (
    Carry,
    Outputs,
    SpikingFunction,
    Task,
    float32_params,
    neuron_shapes,
)
from snnjax.snn.exit_loop import Answer, check_margin, margins, run_until
from snnjax.snn.fast.chunks import prepare_kernels_for
from snnjax.snn.fast.loop import make_loop
from snnjax.snn.function_simulation import (
    ParametrisedFunction,
    function_task,
    simulate_function_until,
)
from snnjax.snn.neurons import EXACT_CHARGE, NeuronModel
from snnjax.snn.noise import Noise
from snnjax.snn.readout import ACCUMULATE, Readout
from snnjax.snn.simulation import run_pre_steps
from snnjax.snn.simulation_arguments import check_arguments, count_pre_steps
from snnjax.snn.stimulus import Stimulus, make_stimulus
from snnjax.snn.whole_numbers import mark_inexact

__all__ = ["Answer", "Exit", "TradeOff", "choose_margin", "margins", "simulate_until", "trade_off"]

Params = dict[str, Any]


class TradeOff(NamedTuple):
    """Accuracy and mean timesteps at every exit threshold where one of them changes.

    thresholds: `[N]`, increasing; with the first, every image exits at its first answer.
    accuracy: `[N]` share of correct answers.
    steps: `[N]` mean timesteps.
    """

    thresholds: np.ndarray
    accuracy: np.ndarray
    steps: np.ndarray


class Exit(NamedTuple):
    """An exit threshold, and its effect on the images that it was chosen on.

    margin: the exit threshold.
    accuracy: share of correct answers with it.
    steps: mean timesteps with it.
    full: share of correct answers after all timesteps.
    """

    margin: float
    accuracy: float
    steps: float
    full: float


def simulate_until(
    network: SpikingFunction | ParametrisedFunction,
    params: Params | ArrayLike,
    images: ArrayLike | None = None,
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
    """Simulate like `simulation.simulate`, but stop each image when its margin is large enough.

    Call it as `simulate_until(network, params, images, ...)`, or as
    `simulate_until(spiking, images, ...)` with what `snnjax.spike` returned, if its outputs are one
    array of logits `[B, K]`; then `readout`, `pre_steps` and `shown_steps` have no meaning.

    The compiled loop ends when all images of the batch have stopped, or after `num_steps`.
    Stopped images are computed until then, with their answers kept, so smaller batches save more
    time.

    Source: dynamic timesteps of Li et al. 2023 (SEENN), with a margin instead of a softmax.
    Choice: the margin has the unit of the readout's values: logits for ACCUMULATE, spikes for
    COUNT.

    Args:
      network: the architecture; static.
      params: what `conversion.convert` returned.
      images: floats `[B, H, W, C]`.
      margin: exit threshold, at least 0, or `[B]`, one for each image; 0 stops at the first
        answer, inf never. Traced.
      num_steps: T, after which every image stops; static.
      neuron: as in `simulate`, like all arguments that follow.
      encoding: how images become input.
      readout: how the last layer's current becomes values.
      key: key for random encodings and for noise.
      first: index of the first image among all that share `key`.
      noise: noise on the images; None for clean ones.
      pre_steps: number of timesteps before the first answer; no image stops in them.
      shown_steps: number of timesteps with input; 0 for all.

    Raises:
      ValueError: if `margin` is negative, NaN or of another shape, a spiking function returns
        something else than logits, or as in `simulate`.
    """
    if images is None:
        spiking, images = cast(ParametrisedFunction, network), cast(ArrayLike, params)
        unused = {
            "readout": readout is not ACCUMULATE, "pre_steps": pre_steps != 0,
            "shown_steps": shown_steps != 0,
        }  # fmt: skip
        task = function_task(spiking, neuron, encoding, unused)
        stimulus = make_stimulus(network, images, key, first, noise)
        return simulate_function_until(
            spiking.arguments, stimulus, margin, task=task, num_steps=num_steps
        )
    network, params = cast(SpikingFunction, network), cast(Params, params)
    task, stimulus, num_steps, pre_steps = check_arguments(
        Task(network, neuron, encoding, readout, shown_steps), params,
        make_stimulus(network, images, key, first, noise), num_steps=num_steps,
        pre_steps=pre_steps,
    )  # fmt: skip
    margin = check_margin(margin, stimulus.images.shape[0])
    return _simulate_until(
        params, stimulus, margin, task=task, num_steps=num_steps, pre_steps=pre_steps
    )


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
    params = float32_params(params)
    neuron_shapes(task.network, params["layers"], stimulus.images.shape[1:])  # or raises
    params = prepare_kernels_for(task, params, stimulus.images.shape[0], num_steps)
    loop = make_loop(params, stimulus, task)
    loop = mark_inexact(loop, params, stimulus.images, task.encoding, num_steps)
    carry, _ = run_pre_steps(loop, task, pre_steps)

    def advance(carry: Carry, t: jax.Array) -> tuple[Carry, Outputs]:
        def one(shown: bool) -> tuple[Carry, Outputs]:
            after, outputs = loop.body(carry, t[None], shown)
            return after, jax.tree.map(lambda leaf: leaf[0], outputs)

        if not task.shown_steps:
            return one(True)
        return jax.lax.cond(t < task.shown_steps, partial(one, True), partial(one, False))

    done = count_pre_steps(task.network, task.neuron, pre_steps, num_steps)
    return run_until(advance, carry, margin, begin=done, num_steps=num_steps)


def trade_off(values: ArrayLike, labels: ArrayLike, *, before: int = 0) -> TradeOff:
    """Accuracy and mean timesteps at every exit threshold, from a simulation of all timesteps.

    An image runs beyond timestep t if the threshold is above its largest margin up to t. At that
    threshold its answer changes from the one at t to the one at t + 1. The curve sums these
    changes in the order of their thresholds.

    Args:
      values: `[T, B, K]` of `simulation.simulate`.
      labels: `[B]`.
      before: number of pre-steps among the T timesteps; no image stops in them.

    Raises:
      ValueError: if there is not one label for each image, a label is no class, a value is NaN,
        or there is no timestep or image.
    """
    values = np.asarray(values)[before:]
    if 0 in values.shape or np.shape(labels) != values.shape[1:2]:
        raise ValueError(
            f"values have shape {values.shape} after {before} pre-steps, and labels"
            f" {np.shape(labels)}; want [T, B, K] and [B] with no empty axis"
        )
    check_labels(labels, values.shape[1:2], values.shape[-1])
    right = (np.asarray(classify(values)) == np.asarray(labels)).astype(np.int64)
    reached = np.maximum.accumulate(np.asarray(margins(jnp.asarray(values))), axis=0)[:-1].ravel()
    order = np.argsort(reached, kind="stable")
    last = np.flatnonzero(np.diff(reached[order], append=np.inf))  # of each threshold
    above = np.nextafter(reached[order][last], np.float32(np.inf))
    above = np.maximum(above, np.finfo(np.float32).tiny)  # XLA rounds smaller ones to 0
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
    """Smallest exit threshold that keeps the accuracy of all timesteps up to a tolerance.

    Choice: all larger thresholds must keep it too, which rules out a single lucky threshold.

    Args:
      values: `[T, B, K]` of `simulation.simulate`, on images other than the test images.
      labels: `[B]`.
      tolerance: accuracy that may be lost, such as 0.001.
      before: number of pre-steps among the T timesteps.

    Raises:
      ValueError: if `tolerance` is outside [0, 1), or as in `trade_off`.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is {tolerance}; want a share in [0, 1), such as 0.001")
    curve = trade_off(values, labels, before=before)
    full = curve.accuracy[-1]
    bad = np.flatnonzero(curve.accuracy < full - tolerance - 1e-9)  # allows for rounding
    place = bad[-1] + 1 if len(bad) else 0
    return Exit(
        margin=float(curve.thresholds[place]),
        accuracy=float(curve.accuracy[place]),
        steps=float(curve.steps[place]),
        full=float(full),
    )
