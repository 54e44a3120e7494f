"""A run that was killed continues as if it had not been, and only from its own file."""

import dataclasses

import jax
import numpy as np
import pytest

from snnjax.io import checkpoint
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.training import fitting, resuming
from snnjax.training.gradient_step import init_train_state
from snnjax.training.training_config import TrainingConfig


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "change",
    [
        {},
        {
            "optimiser": "sgd",
            "average": 0.9,
            "smooth_epochs": 1,
            "flip": True,
            "cutout": 1,
            "keep": "last",
        },
    ],
    ids=["plain", "all"],
)
def test_a_killed_run_ends_with_the_same_parameters(
    start, run, small_config, assert_same, tmp_path, monkeypatch, change
):
    config = dataclasses.replace(small_config, **change)
    whole = run(start, config)
    path, save = tmp_path / "training.safetensors", resuming.save_progress

    def save_then_die(path, config, progress):
        save(path, config, progress)
        if len(progress.history) == 2:
            raise Killed

    monkeypatch.setattr(fitting, "PAUSE", 0.0)
    monkeypatch.setattr(resuming, "save_progress", save_then_die)
    with pytest.raises(Killed):
        run(start, config, resume=path)
    monkeypatch.setattr(resuming, "save_progress", save)
    assert len(checkpoint.load(path, kind="training").metadata["history"]) == 2
    continued = run(start, config, resume=path)
    assert continued.history == whole.history
    assert_same(continued.variables, whole.variables)
    assert_same(run(start, config, resume=path).variables, whole.variables)  # nothing left to do


def test_a_file_of_another_run_is_refused(start, run, small_config, tmp_path):
    path, config = tmp_path / "training.safetensors", dataclasses.replace(small_config, epochs=1)
    variables = start[1]
    state = init_train_state(variables, config, 12)
    resuming.save_progress(path, config, resuming.Progress(state, variables, []))
    with pytest.raises(ValueError, match=r"is of another run \(epochs 1 not 4\)"):
        run(start, small_config, resume=path)
    progress = resuming.Progress(state, variables, [], {"start": {"sha256": "a"}})
    resuming.save_progress(path, config, progress)
    resuming.check_resumable(path, config, {"start": {"sha256": "a"}})
    with pytest.raises(ValueError, match=r"is of another run \(start \{'sha256': 'a'\} not None\)"):
        resuming.check_resumable(path, config, {"start": None})
    wider = ANN((arch.Flatten(), arch.Dense(3)))
    variables = jax.jit(wider.init)(jax.random.key(0), np.zeros((1, 4, 4, 1), np.float32))
    with pytest.raises(ValueError, match="its parameters have other shapes"):
        run((wider, variables), config, resume=path)


@dataclasses.dataclass(frozen=True)
class WithShape(TrainingConfig):
    """A configuration with a tuple, as that of the command line, which JSON holds as a list."""

    image_shape: tuple[int, ...] = (4, 4, 1)


def test_a_tuple_in_the_configuration_is_the_same_in_the_file(start, small_config, tmp_path):
    path, variables = tmp_path / "training.safetensors", start[1]
    config = WithShape(**dataclasses.asdict(small_config))
    state = init_train_state(variables, config, 12)
    resuming.save_progress(path, config, resuming.Progress(state, variables, []))
    resuming.check_resumable(path, config)
    with pytest.raises(ValueError, match=r"\(image_shape \[4, 4, 1\] not \[5\]\)"):
        resuming.check_resumable(path, dataclasses.replace(config, image_shape=(5,)))
    resuming.save_progress(path, small_config, resuming.Progress(state, variables, []))
    resuming.check_resumable(path, config)  # of a version that had no shape yet
    resuming.check_resumable(path, config, {"start": None})  # nor any origin
