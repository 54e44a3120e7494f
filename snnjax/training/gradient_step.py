"""One compiled step of gradient descent, with its loss, its optimiser and a running mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from snnjax.runtime import sharding
from snnjax.training.augmentation import augment
from snnjax.training.training_config import TrainingConfig

__all__ = [
    "Answers",
    "TrainState",
    "TrainingRun",
    "init_train_state",
    "make_optimiser",
    "train_step",
    "trained_variables",
]

Variables = dict[str, Any]
ApplyFn = Callable[..., Any]


class TrainState(NamedTuple):
    """Variables and moments between two steps.

    params: the trained collection, "params".
    statistics: all other collections, such as "batch_stats".
    moments: state of the optimiser, and of the running mean: () where there is none.
    """

    params: Variables
    statistics: Variables
    moments: tuple[Any, Any]


class Answers(NamedTuple):
    """Outputs of a model that answers several times, and what they cost.

    values: `[n, B, K]`; weights: of each answer in the loss, `[n]`; penalty: added to the loss.
    """

    values: jax.Array
    weights: jax.Array
    penalty: jax.Array


@dataclass(frozen=True)
class TrainingRun:
    """Everything that is the same for all steps of a run; hashable, so a static argument.

    apply: a Flax module's `apply`, taking `levels` and `train`; it returns logits or `Answers`.
    config: hyper-parameters.
    num_steps: number of steps of the whole run, the length of the learning-rate schedule.
    mesh: devices that share each batch and that each hold the whole state.
    """

    apply: ApplyFn
    config: TrainingConfig
    num_steps: int
    mesh: Mesh


def make_optimiser(config: TrainingConfig, num_steps: int) -> optax.GradientTransformation:
    """Return the optimiser with a one-cycle schedule of `num_steps` steps.

    Only parameters of two or more axes decay: not biases, normalisations and thetas.
    """
    schedule = optax.cosine_onecycle_schedule(max(num_steps, 2), config.learning_rate)

    def decays(params: Variables) -> Variables:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    if config.optimiser == "adamw":
        return optax.adamw(schedule, weight_decay=config.weight_decay, mask=decays)
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, mask=decays),
        optax.sgd(schedule, momentum=0.9, nesterov=True),
    )


def init_train_state(variables: Variables, config: TrainingConfig, num_steps: int) -> TrainState:
    """Return the state before the first step; its arrays are copies of those in `variables`.

    Raises:
      KeyError: if there is no collection "params".
    """
    statistics = jax.tree.map(jnp.array, dict(variables))
    params = statistics.pop("params")
    average: Any = ()
    if config.average:
        average = optax.ema(config.average).init({"params": params, **statistics})
    optimiser = make_optimiser(config, num_steps)
    return TrainState(params, statistics, (optimiser.init(params), average))


def trained_variables(state: TrainState, config: TrainingConfig) -> Variables:
    """Return the running mean of the variables, or where there is none the latest variables."""
    if not config.average:
        return {"params": state.params, **state.statistics}
    _, average = state.moments
    return optax.tree.bias_correction(average.ema, config.average, average.count)


@partial(jax.jit, static_argnames=("run", "smooth"), donate_argnames=("state",))
def train_step(
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
    batch: ArrayLike,
    key: jax.Array,
    *,
    run: TrainingRun,
    smooth: bool = False,
) -> tuple[TrainState, jax.Array]:
    """Take one step of gradient descent on a batch.

    Where `batch` is shared among devices, each computes the loss of its images and the gradients
    are summed. Random numbers do not depend on the number of devices.

    Args:
      state: parameters, statistics and moments; its memory is reused for the next state.
      images: bytes or floats `[N, H, W, C]` or `[N, D]`, the whole training split.
      labels: int32 `[N]`.
      batch: int `[B]`, indices of the images of this batch.
      key: for the augmentation, dropout and number of levels of this step.
      run: model, hyper-parameters, length of the schedule and devices; static.
      smooth: do not quantise the activations, whatever the configuration says; static.

    Returns:
      The next state and the mean loss of the batch.

    Raises:
      ScopeParamShapeError: from Flax, if the images do not fit the parameters.
      ValueError: if the configuration changes colours and the images do not have three channels.
    """
    config = run.config
    augment_key, dropout_key, levels_key = jax.random.split(key, 3)
    x = augment(
        augment_key, images[batch], max_shift=config.max_shift, flip_images=config.flip,
        colour_strength=config.colour, cutout_size=config.cutout,
    )  # fmt: skip
    levels = None if smooth else _draw_levels(levels_key, config)

    def loss_and_statistics(params: Variables) -> tuple[jax.Array, Variables]:
        outputs, statistics = run.apply(
            {"params": params, **state.statistics},
            x,
            levels=levels,
            train=True,
            rngs={"dropout": dropout_key},
            mutable=["batch_stats"],
        )
        return _loss(outputs, labels[batch], config.label_smoothing), statistics

    gradient = jax.value_and_grad(loss_and_statistics, has_aux=True)
    (loss, statistics), gradients = gradient(state.params)
    result = _descend(state, gradients, statistics, run), loss
    return jax.lax.with_sharding_constraint(result, sharding.replicated(run.mesh))


def _draw_levels(key: jax.Array, config: TrainingConfig) -> ArrayLike | None:
    """Return the number of quantisation levels of one step, or None for smooth activations."""
    if config.mix_levels_to:
        return jax.random.randint(key, (), config.levels, config.mix_levels_to + 1, jnp.int32)
    return config.levels or None


def _loss(outputs: jax.Array | Answers, labels: jax.Array, smoothing: float) -> jax.Array:
    """Return the loss of logits, or of several answers and what they cost."""
    if not isinstance(outputs, Answers):
        return _cross_entropy(outputs, labels, smoothing)
    losses = jax.vmap(partial(_cross_entropy, labels=labels, smoothing=smoothing))(outputs.values)
    return jnp.dot(outputs.weights, losses) + outputs.penalty


def _cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    """Return the mean cross-entropy of `[B, K]` logits with smoothed labels, in float32."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), targets).mean()


def _descend(
    state: TrainState, gradients: Variables, statistics: Variables, run: TrainingRun
) -> TrainState:
    """Return the state after the optimiser's update, with the new statistics."""
    moments, average = state.moments
    optimiser = make_optimiser(run.config, run.num_steps)
    updates, moments = optimiser.update(gradients, moments, state.params)
    params = optax.apply_updates(state.params, updates)
    if run.config.average:
        running_mean = optax.ema(run.config.average)
        _, average = running_mean.update({"params": params, **statistics}, average)
    return TrainState(params, statistics, (moments, average))
