"""Training over epochs: order of the batches, choice of the epoch, resuming."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import trange

from snnjax.runtime import sharding
from snnjax.runtime.images import check_dataset_images
from snnjax.training import resuming
from snnjax.training.ann_accuracy import count_correct
from snnjax.training.gradient_step import (
    ApplyFn,
    TrainingRun,
    TrainState,
    Variables,
    init_train_state,
    train_step,
    trained_variables,
)
from snnjax.training.resuming import Progress
from snnjax.training.training_config import TrainingConfig

__all__ = ["Fitted", "check_splits", "fit"]

PAUSE = 10.0
"""Seconds between two writes of the progress: on a GPU an epoch can take less than its writing."""

Examples = tuple[np.ndarray, np.ndarray]


class Fitted(NamedTuple):
    """Variables of the kept epoch; "epoch", "loss" and "accuracy" of each epoch."""

    variables: Variables
    history: list[dict[str, float]]


def fit(
    apply: ApplyFn,
    variables: Variables,
    train: Examples,
    validation: Examples,
    config: TrainingConfig,
    *,
    resume: Path | None = None,
    origin: Mapping[str, Any] | None = None,
    progress: bool = True,
    mesh: Mesh | None = None,
) -> Fitted:
    """Train from `variables`; keep the best epoch on the validation split, or the last one.

    The result depends on the arguments only: the random numbers of an epoch come from the seed
    and the number of the epoch. On the same machine and versions, a run that was killed and
    resumed therefore ends with the same parameters as a run that was not.

    Args:
      apply: a Flax module's `apply`, taking `levels` and `train`.
      variables: initial variables, with the collection "params".
      train: images `[N, H, W, C]` or `[N, D]`, bytes (uint8) or floats in the range of the
        network, and int32 labels `[N]`.
      validation: the same, to choose the epoch.
      config: hyper-parameters.
      resume: file to write after the epochs, at most every PAUSE seconds by one process, and to
        continue from if it exists.
      origin: what decides the run beside `config`, such as the file that it starts from; JSON
        values by name, which `resume` must share.
      progress: show a progress bar.
      mesh: devices that share every batch; None for all visible ones.

    Raises:
      ValueError: if a split is empty, the batch is larger than the training split or cannot be
        shared evenly, a loss is not finite, or `resume` belongs to another run.
      OSError: if `resume` cannot be written.
    """
    check_splits(train, validation, config)
    train = (check_dataset_images(train[0], "training images"), train[1])
    validation = (check_dataset_images(validation[0], "validation images"), validation[1])
    mesh = mesh or sharding.make_mesh(batch_size=config.batch_size)
    sharding.check_divides(config.batch_size, mesh)
    steps_per_epoch = len(train[0]) // config.batch_size
    run = TrainingRun(apply, config, steps_per_epoch * config.epochs, mesh)
    first = init_train_state(dict(variables), config, run.num_steps)
    done = Progress(first, variables, [], origin)
    if resume is not None and resume.is_file():
        done = resuming.load_progress(resume, config, done)

    # The whole training split goes to the devices once, not batch by batch.
    state, examples = sharding.replicate(mesh, (done.state, tuple(train)))
    done = done._replace(state=state)
    first_step = len(done.history) * steps_per_epoch
    bar = trange(
        first_step, run.num_steps, initial=first_step, total=run.num_steps,
        desc="train", mininterval=1, unit="step", disable=not progress,
    )  # fmt: skip
    written = time.monotonic()
    with bar:
        while len(done.history) < config.epochs:
            done = _run_epoch(done, examples, validation, run, bar)
            # Several processes write in step, and their clocks differ.
            in_step = jax.process_count() > 1 or len(done.history) == config.epochs
            if resume is not None and (in_step or time.monotonic() - written >= PAUSE):
                resuming.save_progress(resume, config, done)
                written = time.monotonic()
    kept = done.best if config.keep == "best" else trained_variables(done.state, config)
    return Fitted(jax.tree.map(np.asarray, kept), done.history)


def check_splits(train: Examples, validation: Examples, config: TrainingConfig) -> None:
    """Check that there are images for a batch and to choose the epoch.

    Args:
      train, validation, config: as in `fit`.

    Raises:
      ValueError: if a split is empty, or the batch is larger than the training split.
    """
    if not len(train[0]) or not len(validation[0]):
        raise ValueError(
            f"{len(train[0])} training and {len(validation[0])} validation images; want some of"
            " both"
        )
    if config.batch_size > len(train[0]):
        raise ValueError(
            f"batch_size is {config.batch_size}; want at most the {len(train[0])} training images"
        )


def _run_epoch(
    done: Progress,
    examples: tuple[jax.Array, jax.Array],
    validation: Examples,
    run: TrainingRun,
    bar: Any,
) -> Progress:
    """Train one more epoch and score it on the validation split.

    Raises:
      ValueError: if the loss is not finite.
    """
    config, epoch = run.config, len(done.history)
    state, loss = _train_epoch(done.state, examples, epoch, run, bar)
    if not np.isfinite(loss):
        raise ValueError(
            f"the loss of epoch {epoch + 1} is {loss}; lower the learning rate,"
            f" which is {config.learning_rate}"
        )
    variables = trained_variables(state, config)
    correct = count_correct(
        run.apply, variables, *validation, levels=config.finest_levels, mesh=run.mesh
    )
    accuracy, best = correct / len(validation[0]), done.best
    if accuracy > max((row["accuracy"] for row in done.history), default=-1.0):
        best = jax.tree.map(np.asarray, variables)
    bar.set_postfix(loss=f"{loss:.3f}", validation=f"{accuracy:.4f}")
    row = {"epoch": epoch + 1, "loss": loss, "accuracy": accuracy}
    return done._replace(state=state, best=best, history=[*done.history, row])


def _train_epoch(
    state: TrainState,
    examples: tuple[jax.Array, jax.Array],
    epoch: int,
    run: TrainingRun,
    bar: Any,
) -> tuple[TrainState, float]:
    """Take a step on every whole batch, in random order; return the mean loss too."""
    config = run.config
    epoch_key = jax.random.fold_in(jax.random.key(config.seed), epoch)
    order_key, steps_key = jax.random.split(epoch_key)
    order = np.asarray(jax.random.permutation(order_key, len(examples[0])))
    losses = []
    for i in range(len(order) // config.batch_size):
        indices = order[i * config.batch_size : (i + 1) * config.batch_size]
        state, loss = train_step(
            state, *examples, sharding.shard(run.mesh, indices), jax.random.fold_in(steps_key, i),
            run=run, smooth=epoch < config.smooth_epochs,
        )  # fmt: skip
        losses.append(loss)
        bar.update()
    return state, float(jnp.stack(losses).mean())
