"""Progress of a training run in a file, from which a run that was stopped continues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnjax.io import checkpoint
from snnjax.training.gradient_step import TrainState
from snnjax.training.training_config import TrainingConfig

__all__ = ["Progress", "check_resumable", "load_progress", "save_progress"]

Variables = dict[str, Any]


class Progress(NamedTuple):
    """Result of the epochs so far.

    state: of the next step.
    best: variables of the epoch with the best validation accuracy.
    history: "epoch", "loss" and "accuracy" of each epoch.
    origin: what decides the run beside its configuration, such as the file that it starts from;
      JSON values by name; None if nothing does.
    """

    state: TrainState
    best: Variables
    history: list[dict[str, float]]
    origin: Mapping[str, Any] | None = None


def check_resumable(
    path: Path, config: TrainingConfig, origin: Mapping[str, Any] | None = None
) -> None:
    """Refuse a file that was written with another configuration or origin.

    A field that the file's version did not have yet counts as its default, and a missing origin as
    this one.

    Args:
      path: the file.
      config: hyper-parameters of this run.
      origin: of this run; see `Progress`.

    Raises:
      ValueError: naming the fields that differ, or if the file is truncated or of another kind.
      FileNotFoundError: if there is no such file.
    """
    metadata = checkpoint.load_metadata(path, kind="training")
    defaults = {field.name: field.default for field in fields(config)}
    # As the file holds them: lists for tuples.
    own, defaults, origin = json.loads(json.dumps([asdict(config), defaults, dict(origin or {})]))
    wanted = own | origin
    saved = defaults | origin | metadata["config"] | metadata.get("origin", {})
    different = [f"{k} {saved.get(k)} not {v}" for k, v in wanted.items() if saved.get(k) != v]
    if different:
        raise ValueError(
            f"{path} is of another run ({', '.join(different)}); choose another folder or remove it"
        )


def save_progress(path: Path, config: TrainingConfig, progress: Progress) -> None:
    """Write the progress of a run to `path`, in place of that of the epoch before.

    Raises:
      OSError: if the file cannot be written.
    """
    state = progress.state
    moments = {f"{i:03d}": leaf for i, leaf in enumerate(jax.tree.leaves(state.moments))}
    tree = {"state": {**state._asdict(), "moments": moments}, "best": progress.best}
    origin = dict(progress.origin or {})
    metadata = {"config": asdict(config), "history": progress.history, "origin": origin}
    checkpoint.save(path, tree, kind="training", metadata=metadata)


def load_progress(path: Path, config: TrainingConfig, start: Progress) -> Progress:
    """Read what `save_progress` wrote for a run of the same configuration.

    Args:
      path: the file.
      config: hyper-parameters of this run.
      start: progress before the first epoch, for the shapes of the parameters, the structure of
        the optimiser's state, and the origin.

    Raises:
      ValueError: if the file belongs to another run, is truncated or is of another kind.
      FileNotFoundError: if there is no such file.
    """
    check_resumable(path, config, start.origin)
    tree, metadata = checkpoint.load(path, kind="training")
    saved, state = tree["state"], start.state
    if jax.tree.map(jnp.shape, saved["params"]) != jax.tree.map(jnp.shape, dict(state.params)):
        raise ValueError(
            f"{path} is of another run (its parameters have other shapes); choose another folder"
            " or remove it"
        )
    leaves = [saved["moments"][name] for name in sorted(saved["moments"])]
    moments = jax.tree.unflatten(jax.tree.structure(state.moments), leaves)
    # A file holds no empty collections, so these are missing in it.
    state = TrainState(saved["params"], saved.get("statistics", {}), moments)
    return start._replace(
        state=state, best={**start.best, **tree["best"]}, history=metadata["history"]
    )
