"""Training: what a run depends on, and that a killed one goes on as if nothing had been."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, random_images

from snnjax.io import checkpoint
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.training import fitting
from snnjax.training.fitting import count_correct, fit
from snnjax.training.training_config import TrainingConfig

SHAPE = (4, 4, 1)
CONFIG = TrainingConfig(epochs=4, batch_size=16, max_shift=1, levels=4, learning_rate=0.02)


def labelled(count, seed=0):
    """Images whose class is the third of the picture with the most light."""
    images = np.asarray(random_images(count, SHAPE, seed) * 100, np.uint8)
    labels = np.random.default_rng(seed).integers(0, 3, count).astype(np.int32)
    images[np.arange(count), :, labels] += 100
    return images, labels


@pytest.fixture(scope="module")
def start():
    network = dense_network()
    normed = (*network.layers[:2], arch.BatchNorm(), *network.layers[2:])
    module = ANN(normed, dropout=0.2)
    return module, module.init(jax.random.key(0), np.zeros((1, *SHAPE), np.float32))


def run(start, config=CONFIG, **more):
    module, variables = start
    return fit(
        module.apply, variables, labelled(200), labelled(60, 1), config, progress=False, **more
    )


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


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
def test_a_killed_run_ends_with_the_same_parameters(start, tmp_path, monkeypatch, change):
    config = dataclasses.replace(CONFIG, **change)
    whole = run(start, config)
    path, keep = tmp_path / "training.safetensors", fitting._keep

    def keep_then_die(path, config, state, best, history):
        keep(path, config, state, best, history)
        if len(history) == 2:
            raise Killed

    monkeypatch.setattr(fitting, "_keep", keep_then_die)
    with pytest.raises(Killed):
        run(start, config, resume=path)
    monkeypatch.setattr(fitting, "_keep", keep)
    assert len(checkpoint.load(path, kind="training").metadata["history"]) == 2
    continued = run(start, config, resume=path)
    assert continued.history == whole.history
    same(continued.variables, whole.variables)
    same(run(start, config, resume=path).variables, whole.variables)  # nothing left to do


def test_it_learns_and_keeps_the_best_epoch(start):
    module, _ = start
    fitted = run(start, dataclasses.replace(CONFIG, epochs=8))
    best = max(row["accuracy"] for row in fitted.history)
    assert best > 0.8
    right = count_correct(module.apply, fitted.variables, *labelled(60, 1), levels=4)
    assert right / 60 == best
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]


def test_it_keeps_the_last_epoch_where_told(start, tmp_path):
    module, _ = start
    config, path = dataclasses.replace(CONFIG, keep="last", average=0.9), tmp_path / "training"
    fitted = run(start, config, resume=path)
    tree, _ = checkpoint.load(path, kind="training")
    with pytest.raises(AssertionError):
        same(fitted.variables, tree["best"])  # here another epoch was better
    right = count_correct(module.apply, fitted.variables, *labelled(60, 1), levels=4)
    assert (
        right / 60
        == fitted.history[-1]["accuracy"]
        < max(row["accuracy"] for row in fitted.history)
    )


def test_the_seed_decides_and_nothing_else(start):
    _, variables = start
    before = jax.tree.map(np.array, variables)
    first = run(start)
    same(first.variables, run(start).variables)
    same(before, variables)
    other = run(start, dataclasses.replace(CONFIG, seed=1))
    kernels = [f.variables["params"]["01_dense"]["kernel"] for f in (first, other)]
    assert not np.array_equal(*kernels)


def test_mixed_levels_train_for_every_number_of_steps(start):
    module, _ = start
    mixed = dataclasses.replace(CONFIG, levels=2, mix_levels_to=6, epochs=8)
    variables = run(start, mixed).variables
    right = [count_correct(module.apply, variables, *labelled(60, 1), levels=n) for n in (2, 6)]
    assert min(right) > 36  # chance is 20
    coarse = run(start, dataclasses.replace(CONFIG, levels=2, epochs=8)).variables
    assert not np.array_equal(
        variables["params"]["01_dense"]["kernel"], coarse["params"]["01_dense"]["kernel"]
    )


def test_gradient_descent_has_momentum_and_decays_weights_only():
    config = dataclasses.replace(CONFIG, optimiser="sgd", learning_rate=0.1, weight_decay=0.5)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "log_theta": jnp.ones(())}
    rule = fitting.optimiser(config, 100)
    still, state = rule.update(jax.tree.map(jnp.zeros_like, params), rule.init(params), params)
    assert (still["kernel"] < 0).all()
    assert not still["bias"].any() and not still["log_theta"].any()
    pushed, state = rule.update(jax.tree.map(jnp.ones_like, params), state, params)
    coasting, _ = rule.update(jax.tree.map(jnp.zeros_like, params), state, params)
    assert (coasting["bias"] < 0).all() and (pushed["bias"] < coasting["bias"]).all()


def test_the_running_mean_is_of_all_steps_so_far(start):
    """With a share close to 1 it is the plain mean; one step has the mean of one."""
    module, variables = start
    images, labels = map(jnp.asarray, labelled(16))
    config = dataclasses.replace(CONFIG, average=0.9999)
    state, seen = fitting.begin(variables, config, 8), []
    for i in range(8):
        state, _ = fitting.train_step(
            state, images, labels, jnp.arange(16), jax.random.key(i),
            apply=module.apply, config=config, num_steps=8,
        )  # fmt: skip
        seen.append(jax.tree.map(np.array, {"params": state.params, **state.statistics}))
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, 0), *seen)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3),
        fitting.trained(state, config),
        mean,
    )
    last = fitting.trained(state, dataclasses.replace(config, average=0.0))
    same(last, seen[-1])


def test_smooth_epochs_train_the_smooth_network(start):
    smooth = dataclasses.replace(CONFIG, levels=0, epochs=2)
    late = dataclasses.replace(CONFIG, smooth_epochs=1, epochs=2)
    early = dataclasses.replace(CONFIG, epochs=2)
    losses = [
        [row["loss"] for row in run(start, config).history] for config in (smooth, late, early)
    ]
    assert losses[0][0] == losses[1][0] != losses[2][0]
    assert losses[0][1] != losses[1][1]


def test_16_bits_train_the_same_network_but_for_rounding(start):
    module, variables = start
    images, labels = map(jnp.asarray, labelled(64))
    losses = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        short = ANN(module.layers, dtype=dtype)
        state = fitting.begin(variables, CONFIG, 9)
        state, losses[dtype] = fitting.train_step(
            state, images, labels, jnp.arange(64), jax.random.key(0),
            apply=short.apply, config=CONFIG, num_steps=9,
        )  # fmt: skip
        assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
        same(short.apply(variables, images / 255.0), module.apply(variables, images / 255.0))
    assert losses[jnp.bfloat16] == pytest.approx(float(losses[jnp.float32]), rel=0.02)
    assert losses[jnp.bfloat16] != losses[jnp.float32]


def test_a_file_of_another_run_is_refused(start, tmp_path):
    path = tmp_path / "training.safetensors"
    run(start, dataclasses.replace(CONFIG, epochs=1), resume=path)
    with pytest.raises(ValueError, match=r"is of another run \(epochs 1 not 4\)"):
        run(start, resume=path)
    wider = ANN((arch.Flatten(), arch.Dense(3)))
    variables = wider.init(jax.random.key(0), np.zeros((1, *SHAPE), np.float32))
    with pytest.raises(ValueError, match="its parameters have other shapes"):
        run((wider, variables), dataclasses.replace(CONFIG, epochs=1), resume=path)


def test_a_loss_that_is_no_number_stops_the_run(start):
    module, variables = start
    variables = jax.tree.map(lambda leaf: leaf * np.nan, variables)
    with pytest.raises(ValueError, match="the loss of epoch 1 is nan; lower the learning rate"):
        run((module, variables))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0; want at least 1"),
        ({"batch_size": 0}, "batch_size is 0; want at least 1"),
        ({"levels": -1}, "levels is -1; want at least 0"),
        ({"mix_levels_to": 3}, "mix_levels_to is 3; want it above levels, which is 4"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"label_smoothing": 1.0}, r"label_smoothing is 1.0; want it in \[0, 1\)"),
        ({"average": 1.0}, r"average is 1.0; want it in \[0, 1\)"),
        ({"cutout": -1}, "cutout is -1; want at least 0"),
        ({"smooth_epochs": 4}, r"smooth_epochs is 4; want it in \[0, 4\)"),
        ({"smooth_epochs": 1, "levels": 0}, "smooth_epochs is 1, but levels is 0"),
        ({"colour": 0.2}, "colour is 0.2, but the images have 1 channels"),
        ({"batch_size": 500}, "batch_size is 500; want at most the 200 training images"),
    ],
)
def test_settings_out_of_range_are_named(start, change, message):
    with pytest.raises(ValueError, match=message):
        run(start, dataclasses.replace(CONFIG, **change))


def test_empty_splits_are_named(start):
    module, variables = start
    empty = (np.zeros((0, *SHAPE), np.uint8), np.zeros(0, np.int32))
    with pytest.raises(ValueError, match="200 training and 0 validation images"):
        fit(module.apply, variables, labelled(200), empty, CONFIG)
    with pytest.raises(ValueError, match="0 images in batches of 500"):
        count_correct(module.apply, variables, *empty)
