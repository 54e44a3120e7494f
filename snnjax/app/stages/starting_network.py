"""Trained network from whose parameters another training starts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from snnjax.app.configurations import ImportedConfig, TrainConfig, recorded_training
from snnjax.app.run_files import digest
from snnjax.io import checkpoint

logger = logging.getLogger(__name__)

__all__ = ["check_validation_unseen", "describe_start", "load_start"]


def describe_start(start: Path | None) -> dict[str, str] | None:
    """Return the entry "start" of a record: name and SHA-256 of the file, or None without one.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no trained network.
    """
    if start is None:
        return None
    checkpoint.load_metadata(start, kind="ann")
    return {"file": start.name, "sha256": str(digest(start))}


def check_validation_unseen(config: TrainConfig, start: Path) -> None:
    """Refuse to choose the epoch by images on which the network in `start` was trained.

    Raises:
      ValueError: if validation images of `config` are among the training images of `start`.
    """
    before = recorded_training(checkpoint.load_metadata(start, kind="ann"))
    if config.keep == "last" or isinstance(before, ImportedConfig):
        return
    names = [x.data_sha256 or x.dataset for x in (before, config)]
    if names[0] != names[1]:
        return
    # The images held out for a smaller share are among those held out for a larger one.
    unseen = before.validation if before.max_images == config.max_images else 0.0
    if config.validation > unseen:
        raise ValueError(
            f"validation is {config.validation:g}, but {start} has learnt from all but"
            f" {unseen:g} of these images, so its accuracy on them would favour the first epochs;"
            " hold out no larger share, use the same max_images, or keep the last epoch"
        )


def load_start(start: Path, variables: dict[str, Any], config: TrainConfig) -> dict[str, Any]:
    """Return `variables`, with the arrays in the file `start` in place of the initial ones.

    What activations learn and the file lacks keeps its initial value, as where a network of ReLUs
    gets bounds.

    Raises:
      ValueError: naming the first other array that is missing, superfluous or of another shape,
        and the options of the network in `start` that `config` has otherwise.
    """
    tree, metadata = checkpoint.load(start, kind="ann")
    found, wanted = _leaves(tree), _leaves(variables)
    for name in sorted(found.keys() | wanted.keys()):
        has, means = (
            np.shape(leaves[name]) if name in leaves else "nothing" for leaves in (found, wanted)
        )
        if has != means and not (has == "nothing" and _is_of_activation(name)):
            raise ValueError(
                f"{start} is of another network: it has {has} at {name}, and the options mean"
                f" {means}{_other_options(metadata, config)}"
            )
    if new := sorted(wanted.keys() - found.keys()):
        logger.info("%d values that activations learn are new: %s has none", len(new), start)
    return traverse_util.unflatten_dict({**wanted, **found}, sep="/")


def _other_options(metadata: dict[str, Any], config: TrainConfig) -> str:
    """Part of a message: options of a file that differ, of those that decide the arrays."""
    before = recorded_training(metadata)
    if isinstance(before, ImportedConfig):
        return ""
    names = ["network", "bias_free", "learn_theta", "dataset", "classes"]
    if "rate_norm" in (before.activation, config.activation):  # others have the same arrays
        names.append("activation")
    other = [
        f"{name} {getattr(before, name)}"
        for name in names
        if getattr(before, name) != getattr(config, name)
    ]
    return f"; it was trained with other options: {', '.join(other)}" if other else ""


def _is_of_activation(name: str) -> bool:
    return name.split("/")[-2].endswith("_activation")


def _leaves(tree: Any) -> dict[str, Any]:
    """Arrays by path."""
    return traverse_util.flatten_dict(tree, sep="/")
