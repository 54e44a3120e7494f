"""Training of a function's parameters by AdamW, in epochs from which a stopped run continues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from snnjax.io.datasets import Split
from snnjax.runtime.images import unit_images
from snnjax.training.augmentation import augment
from snnjax.training.gradient_step import TrainState
from snnjax.training.resuming import Progress, load_progress, save_progress

__all__ = ["Logits", "Training", "accuracy_of", "fit"]

Logits = Callable[[Any, jax.Array], jax.Array]
"""logits(params, images [B, H, W, C]) -> `[B, K]`."""

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Training:
    """Hyper-parameters of one training.

    name: of the training: "smooth", "quantised" or "control".
    dataset: of `snnjax.io.datasets`.
    epochs, batch_size, seed: as everywhere.
    learning_rate: at the top of the schedule, which rises for `warmup` of all steps and falls as a
      cosine to 0; weight_decay: of weights, not of biases and norms.
    max_shift, flip: augmentation.
    validation: images of the training set that choose the epoch.
    max_images: of the training set, validation included; 0 for all.
    levels: of the sites, in training with quantised values; 0 for smooth ones.
    """

    name: str
    dataset: str
    epochs: int
    learning_rate: float
    batch_size: int = 128
    seed: int = 0
    warmup: float = 0.1
    weight_decay: float = 0.02
    max_shift: int = 0
    flip: bool = False
    validation: int = 2000
    max_images: int = 0
    levels: int = 0


def fit(
    logits: Logits, params: Any, kept: Split, held: Split, training: Training, path: Path
) -> tuple[Any, list[dict[str, float]]]:
    """Return the parameters of the epoch with the best validation accuracy, and the history.

    Args:
      logits: the function to train.
      params: nested dicts of arrays to start from.
      kept: images to train on; held: images that choose the epoch.
      training: hyper-parameters.
      path: file with the progress, written after every epoch; a run that was stopped continues
        from it.

    Raises:
      ValueError: if the file is of another training, or the loss is not finite.
      OSError: if the file cannot be written.
    """
    steps = len(kept.labels) // training.batch_size
    optimiser = make_optimiser(training, training.epochs * steps)
    progress = Progress(TrainState(params, {}, optimiser.init(params)), params, [])
    if path.is_file():
        progress = load_progress(path, training, progress)
    step = jax.jit(partial(_step, logits, optimiser, training))
    for epoch in range(len(progress.history), training.epochs):
        state, losses = progress.state, []
        order = np.random.default_rng((training.seed, epoch)).permutation(len(kept.labels))
        for place in tqdm(range(steps), f"{training.name} {epoch + 1}", mininterval=30):
            chosen = order[place * training.batch_size :][: training.batch_size]
            state, loss = step(
                state, kept.images[chosen], kept.labels[chosen], epoch * steps + place
            )
            losses.append(loss)
        loss = float(np.mean(jax.device_get(losses)))
        if not np.isfinite(loss):
            raise ValueError(f"the loss is {loss} in epoch {epoch + 1}; want a lower learning_rate")
        accuracy = accuracy_of(logits, state.params, held)
        best = max((of["accuracy"] for of in progress.history), default=-1.0)
        chosen_params = state.params if accuracy >= best else progress.best
        entry = {"epoch": epoch + 1, "loss": loss, "accuracy": accuracy}
        progress = Progress(state, chosen_params, [*progress.history, entry])
        save_progress(path, training, progress)
        print(f"{training.name}: {entry}", flush=True)
    return progress.best, progress.history


def make_optimiser(training: Training, num_steps: int) -> optax.GradientTransformation:
    """AdamW with a rise and a cosine, and gradients of a norm of at most 1."""
    rate = optax.warmup_cosine_decay_schedule(
        0.0, training.learning_rate, max(1, int(training.warmup * num_steps)), max(2, num_steps)
    )

    def decays(params: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)

    decay = training.weight_decay
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=decay, mask=decays)
    )


def _step(
    logits: Logits,
    optimiser: optax.GradientTransformation,
    training: Training,
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
    number: jax.Array,
) -> tuple[TrainState, jax.Array]:
    """Return the state after one step, and the loss before it."""
    key = jax.random.fold_in(jax.random.key(training.seed), number)
    changed = augment(key, images, max_shift=training.max_shift, flip_images=training.flip)

    def loss(params: Any) -> jax.Array:
        found = logits(params, changed)
        return optax.softmax_cross_entropy_with_integer_labels(found, labels).mean()

    value, gradients = jax.value_and_grad(loss)(state.params)
    updates, moments = optimiser.update(gradients, state.moments, state.params)
    return TrainState(optax.apply_updates(state.params, updates), {}, moments), value


def accuracy_of(logits: Logits, params: Any, split: Split) -> float:
    """Share of the images of a split whose largest logit is that of their label."""
    right = 0
    for start in range(0, len(split.labels), EVALUATION_BATCH):
        images, labels = (part[start : start + EVALUATION_BATCH] for part in split)
        found = _logits(logits, params, unit_images(images))
        right += int((np.argmax(found, -1) == labels).sum())
    return right / len(split.labels)


@partial(jax.jit, static_argnums=0)
def _logits(logits: Logits, params: Any, images: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        return logits(params, images)
