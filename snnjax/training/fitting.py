"""Training of any apply function: augmentation, loss, one compiled step, epochs, resuming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike
from tqdm import trange

from snnjax.io import checkpoint
from snnjax.runtime import sharding
from snnjax.training.augmentation import augment
from snnjax.training.training_config import TrainingConfig

__all__ = [
    "Fitted",
    "check_resumable",
    "count_correct",
    "fit",
    "train_step",
]

Variables = dict[str, Any]
ApplyFn = Callable[..., Any]


class TrainState(NamedTuple):
    """What the next step needs.

    statistics: the collections that are not trained; moments: of the optimiser and, where
    there is one, of the running mean.
    """

    params: Variables
    statistics: Variables
    moments: Any


class Fitted(NamedTuple):
    """The variables of the epoch that was kept, and one dict an epoch."""

    variables: Variables
    history: list[dict[str, float]]


def optimiser(config: TrainingConfig, num_steps: int) -> optax.GradientTransformation:
    """The optimiser on a one-cycle schedule; thetas, normalisations and biases do not decay."""
    schedule = optax.cosine_onecycle_schedule(max(num_steps, 2), config.learning_rate)

    def decays(params: Variables) -> Variables:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    if config.optimiser == "adamw":
        return optax.adamw(schedule, weight_decay=config.weight_decay, mask=decays)
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, mask=decays),
        optax.sgd(schedule, momentum=0.9, nesterov=True),
    )


def begin(variables: Variables, config: TrainingConfig, num_steps: int) -> TrainState:
    """The state before the first step, which shares no memory with `variables`.

    Raises:
      KeyError: if there is no collection "params".
    """
    statistics = jax.tree.map(jnp.array, dict(variables))
    params = statistics.pop("params")
    average: Any = ()
    if config.average:
        average = optax.ema(config.average).init({"params": params, **statistics})
    return TrainState(params, statistics, (optimiser(config, num_steps).init(params), average))


def trained(state: TrainState, config: TrainingConfig) -> Variables:
    """The variables that a state stands for: the running mean, where there is one."""
    if not config.average:
        return {"params": state.params, **state.statistics}
    _, average = state.moments
    return optax.tree.bias_correction(average.ema, config.average, average.count)


@partial(
    jax.jit,
    static_argnames=("apply", "config", "num_steps", "smooth", "mesh"),
    donate_argnames=("state",),
)
def train_step(
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
    batch: ArrayLike,
    key: jax.Array,
    *,
    apply: ApplyFn,
    config: TrainingConfig,
    num_steps: int,
    smooth: bool = False,
    mesh: Mesh | None = None,
) -> tuple[TrainState, jax.Array]:
    """One step of gradient descent on a batch.

    Where `batch` is shared among devices, each takes its images and the gradients are summed.
    The draws of a batch do not depend on that.

    Args:
      state: parameters, statistics and moments.
      images: uint8 `[N, H, W, C]`, all of the training split.
      labels: int32 `[N]`.
      batch: int `[B]`, which images to take.
      key: for augmentation and dropout of this step.
      apply: a Flax module's `apply`, taking `levels` and `train`.
      config: hyperparameters; static.
      num_steps: length of the whole schedule.
      smooth: leave the activations smooth, whatever the levels; static.
      mesh: devices that all get the whole of the next state; static.

    Returns:
      The next state and the mean loss of the batch.

    Raises:
      ScopeParamShapeError: from Flax, if the images do not fit the parameters.
      ValueError: if a change of colour is asked of images without three channels.
    """
    augment_key, dropout_key, levels_key = jax.random.split(key, 3)
    x = augment(
        augment_key, images[batch], max_shift=config.max_shift, flip_images=config.flip,
        colour_strength=config.colour, cutout_size=config.cutout,
    )  # fmt: skip

    levels: Any = config.levels or None
    if config.mix_levels_to:
        levels = jax.random.randint(levels_key, (), config.levels, config.mix_levels_to + 1)
    if smooth:
        levels = None

    def loss_of(params: Variables) -> tuple[jax.Array, Variables]:
        logits, statistics = apply(
            {"params": params, **state.statistics},
            x,
            levels=levels,
            train=True,
            rngs={"dropout": dropout_key},
            mutable=["batch_stats"],
        )
        targets = optax.smooth_labels(
            jax.nn.one_hot(labels[batch], logits.shape[-1]), config.label_smoothing
        )
        loss = optax.softmax_cross_entropy(logits.astype(jnp.float32), targets)
        return loss.mean(), statistics

    (loss, statistics), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    moments, average = state.moments
    updates, moments = optimiser(config, num_steps).update(grads, moments, state.params)
    params = optax.apply_updates(state.params, updates)
    if config.average:
        _, average = optax.ema(config.average).update({"params": params, **statistics}, average)
    after = TrainState(params, statistics, (moments, average)), loss
    if mesh is None:
        return after
    return jax.lax.with_sharding_constraint(after, sharding.replicated(mesh))


@partial(jax.jit, static_argnames=("apply",))
def correct_in_batch(
    variables: Variables, images: jax.Array, labels: jax.Array, *, apply: ApplyFn, levels: Any
) -> jax.Array:
    """How many of a batch of uint8 images get the right label."""
    with jax.default_matmul_precision("highest"):
        logits = apply(variables, images.astype(jnp.float32) / 255, levels=levels)
    return jnp.sum(jnp.argmax(logits, -1) == labels)


def count_correct(
    apply: ApplyFn,
    variables: Variables,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    levels: int = 0,
    batch_size: int = 500,
    mesh: Mesh | None = None,
) -> int:
    """How many of all the uint8 images `[N, H, W, C]` get the right label.

    Each device of `mesh` gets `batch_size` of them at a time, or the cores of a CPU share them;
    None is one device.

    Raises:
      ValueError: if there are no images, or the batch size is below 1.
    """
    if len(images) == 0 or batch_size < 1:
        raise ValueError(f"{len(images)} images in batches of {batch_size}; want at least 1 each")
    size = sharding.global_batch_size(mesh, batch_size) if mesh else batch_size
    right = 0
    for i in range(0, len(images), size):
        batch: list[Any] = [images[i : i + size], labels[i : i + size]]
        if mesh:
            batch = sharding.shard_padded(mesh, *batch)
        right += int(correct_in_batch(variables, *batch, apply=apply, levels=levels or None))
    return right


def fit(
    apply: ApplyFn,
    variables: Variables,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    config: TrainingConfig,
    *,
    resume: Path | None = None,
    progress: bool = True,
    mesh: Mesh | None = None,
) -> Fitted:
    """Train from `variables`, and keep the best epoch on the validation split or the last one.

    The run is a function of its arguments: epoch e of seed s draws from its own key, so a
    run that was killed and continued from its file ends with the same parameters as one
    that was not, on the same machine and versions.

    Args:
      apply: a Flax module's `apply`, taking `levels` and `train`.
      variables: what to start from, with the collection "params".
      train: uint8 images `[N, H, W, C]` and int32 labels `[N]`.
      validation: the same, for choosing the epoch.
      config: hyperparameters.
      resume: file to write after every epoch and to continue from if it is there.
      progress: show a bar.
      mesh: devices to share every batch among; None for all that are visible.

    Raises:
      ValueError: if a split is empty, the batch is larger than the training split or cannot be
        shared evenly, a loss is not finite, or `resume` belongs to another run.
      OSError: if `resume` cannot be written.
    """
    images, labels = train
    if not len(images) or not len(validation[0]):
        raise ValueError(
            f"{len(images)} training and {len(validation[0])} validation images; want some of both"
        )
    if config.batch_size > len(images):
        raise ValueError(
            f"batch_size is {config.batch_size}; want at most the {len(images)} training images"
        )
    mesh = mesh or sharding.make_mesh(batch_size=config.batch_size)
    sharding.check_divides(config.batch_size, mesh)
    steps = len(images) // config.batch_size
    num_steps = steps * config.epochs
    # The step gives its state's memory to its result, so the caller's arrays are copied.
    state, best = begin(dict(variables), config, num_steps), variables
    history: list[dict[str, float]] = []
    if resume is not None and resume.is_file():
        state, best, history = _resumed(resume, config, state, best)

    # Once, not batch by batch.
    state, on_device = sharding.replicate(mesh, (state, (images, labels)))
    bar = trange(
        len(history) * steps, num_steps, initial=len(history) * steps, total=num_steps,
        desc="train", mininterval=1, unit="step", disable=not progress,
    )  # fmt: skip
    with bar:
        for epoch in range(len(history), config.epochs):
            key = jax.random.fold_in(jax.random.key(config.seed), epoch)
            state, mean_loss = _train_epoch(
                state, on_device, key, bar, apply=apply, config=config, num_steps=num_steps,
                smooth=epoch < config.smooth_epochs, mesh=mesh,
            )  # fmt: skip
            if not np.isfinite(mean_loss):
                raise ValueError(
                    f"the loss of epoch {epoch + 1} is {mean_loss}; lower the learning rate,"
                    f" which is {config.learning_rate}"
                )
            current = trained(state, config)
            right = count_correct(
                apply, current, *validation, levels=config.finest_levels, mesh=mesh
            )
            accuracy = right / len(validation[0])
            if accuracy > max((row["accuracy"] for row in history), default=-1.0):
                best = jax.tree.map(np.asarray, current)
            history.append({"epoch": epoch + 1, "loss": mean_loss, "accuracy": accuracy})
            bar.set_postfix(loss=f"{mean_loss:.3f}", validation=f"{accuracy:.4f}")
            if resume is not None:
                _keep(resume, config, state, best, history)
    kept = best if config.keep == "best" else trained(state, config)
    return Fitted(jax.tree.map(np.asarray, kept), history)


def _train_epoch(
    state: TrainState,
    data: tuple[jax.Array, jax.Array],
    key: jax.Array,
    bar: Any,
    *,
    config: TrainingConfig,
    mesh: Mesh,
    **how: Any,
) -> tuple[TrainState, float]:
    """Every whole batch once, in an order of its own; returns the mean loss too."""
    order_key, steps_key = jax.random.split(key)
    order = np.asarray(jax.random.permutation(order_key, len(data[0])))
    losses = []
    for i in range(len(order) // config.batch_size):
        batch = sharding.shard(mesh, order[i * config.batch_size : (i + 1) * config.batch_size])
        state, loss = train_step(
            state, *data, batch, jax.random.fold_in(steps_key, i), config=config, mesh=mesh, **how
        )
        losses.append(loss)
        bar.update()
    return state, float(jnp.stack(losses).mean())


def check_resumable(path: Path, config: TrainingConfig) -> None:
    """Refuse a file that another configuration wrote.

    Raises:
      ValueError: naming what differs.
    """
    kept = checkpoint.load_metadata(path, kind="training")["config"]
    wanted = asdict(config)
    different = [f"{k} {kept.get(k)} not {v}" for k, v in wanted.items() if kept.get(k) != v]
    if different:
        raise ValueError(
            f"{path} is of another run ({', '.join(different)}); choose another folder or remove it"
        )


def _keep(
    path: Path,
    config: TrainingConfig,
    state: TrainState,
    best: Variables,
    history: list[dict[str, float]],
) -> None:
    moments = {f"{i:03d}": leaf for i, leaf in enumerate(jax.tree.leaves(state.moments))}
    tree = {"state": {**state._asdict(), "moments": moments}, "best": best}
    checkpoint.save(
        path, tree, kind="training", metadata={"config": asdict(config), "history": history}
    )


def _resumed(
    path: Path, config: TrainingConfig, state: TrainState, best: Variables
) -> tuple[TrainState, Variables, list[dict[str, float]]]:
    check_resumable(path, config)
    tree, metadata = checkpoint.load(path, kind="training")
    kept_shapes = jax.tree.map(jnp.shape, tree["state"]["params"])
    if kept_shapes != jax.tree.map(jnp.shape, dict(state.params)):
        raise ValueError(
            f"{path} is of another run (its parameters have other shapes); choose another folder"
            " or remove it"
        )
    leaves = [tree["state"]["moments"][name] for name in sorted(tree["state"]["moments"])]
    moments = jax.tree.unflatten(jax.tree.structure(state.moments), leaves)
    kept_state = TrainState(tree["state"]["params"], tree["state"].get("statistics", {}), moments)
    return kept_state, {**best, **tree["best"]}, metadata["history"]
