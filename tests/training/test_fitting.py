"""Training over epochs: what a run depends on, and which epoch it keeps."""

import dataclasses

import jax
import numpy as np
import pytest

from snnjax.io import checkpoint
from snnjax.training.ann_accuracy import count_correct
from snnjax.training.fitting import fit


@pytest.fixture(scope="module")
def plain(start, run, small_config):
    return run(start, small_config)


def test_it_learns_and_keeps_the_best_epoch(start, run, labelled, small_config):
    module, _ = start
    fitted = run(start, dataclasses.replace(small_config, epochs=8))
    best = max(row["accuracy"] for row in fitted.history)
    assert best > 0.8
    correct = count_correct(module.apply, fitted.variables, *labelled(60, 1), levels=4)
    assert correct / 60 == best
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]


def test_it_keeps_the_last_epoch_on_request(
    start, run, labelled, small_config, assert_same, tmp_path
):
    module, _ = start
    config = dataclasses.replace(small_config, keep="last", average=0.9)
    path = tmp_path / "training"
    fitted = run(start, config, resume=path)
    tree, _ = checkpoint.load(path, kind="training")
    with pytest.raises(AssertionError):
        assert_same(fitted.variables, tree["best"])  # here another epoch was better
    correct = count_correct(module.apply, fitted.variables, *labelled(60, 1), levels=4)
    assert (
        correct / 60
        == fitted.history[-1]["accuracy"]
        < max(row["accuracy"] for row in fitted.history)
    )


def test_the_seed_decides_and_nothing_else(start, run, plain, small_config, assert_same):
    _, variables = start
    before = jax.tree.map(np.array, variables)
    assert_same(plain.variables, run(start, small_config).variables)
    assert_same(before, variables)
    other = run(start, dataclasses.replace(small_config, seed=1))
    kernels = [f.variables["params"]["01_dense"]["kernel"] for f in (plain, other)]
    assert not np.array_equal(*kernels)


def test_mixed_levels_train_for_every_number_of_steps(start, run, labelled, small_config):
    module, _ = start
    mixed = dataclasses.replace(small_config, levels=2, mix_levels_to=6, epochs=8)
    variables = run(start, mixed).variables
    correct = [count_correct(module.apply, variables, *labelled(60, 1), levels=n) for n in (2, 6)]
    assert min(correct) > 36  # chance is 20
    coarse = run(start, dataclasses.replace(small_config, levels=2, epochs=8)).variables
    assert not np.array_equal(
        variables["params"]["01_dense"]["kernel"], coarse["params"]["01_dense"]["kernel"]
    )


def test_smooth_epochs_train_the_smooth_network(start, run, plain, small_config):
    smooth = run(start, dataclasses.replace(small_config, levels=0))
    late = run(start, dataclasses.replace(small_config, smooth_epochs=1))
    losses = [[row["loss"] for row in fitted.history] for fitted in (smooth, late, plain)]
    assert losses[0][0] == losses[1][0] != losses[2][0]
    assert losses[0][1] != losses[1][1]


def test_a_loss_that_is_not_finite_stops_the_run(start, run, small_config):
    module, variables = start
    variables = jax.tree.map(lambda leaf: leaf * np.nan, variables)
    with pytest.raises(ValueError, match="the loss of epoch 1 is nan; lower the learning rate"):
        run((module, variables), small_config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 0.2}, "colour is 0.2, but the images have 1 channels"),
        ({"batch_size": 500}, "batch_size is 500; want at most the 200 training images"),
    ],
)
def test_settings_that_do_not_fit_the_images_are_named(start, run, small_config, change, message):
    with pytest.raises(ValueError, match=message):
        run(start, dataclasses.replace(small_config, **change))


def test_an_empty_split_is_named(start, labelled, small_config):
    module, variables = start
    empty = (np.zeros((0, 4, 4, 1), np.uint8), np.zeros(0, np.int32))
    with pytest.raises(ValueError, match="200 training and 0 validation images"):
        fit(module.apply, variables, labelled(200), empty, small_config)
