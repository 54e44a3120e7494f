"""Networks from which a training starts."""

import logging
from dataclasses import asdict, replace
from functools import partial

import jax
import numpy as np
import pytest
from flax import traverse_util

from snnjax.app.configurations import ImportedConfig, TrainConfig
from snnjax.app.stages.starting_network import load_start
from snnjax.io import checkpoint
from snnjax.networks import architecture as arch
from snnjax.networks import serialisation
from snnjax.networks.ann import ANN

LEARNT = TrainConfig(bias_free=True, learn_theta="layer")

by_path = partial(traverse_util.flatten_dict, sep="/")


def variables_of(seed, **activation):
    """Of a small network whose activation learns what `activation` says."""
    active = arch.Activation(0.0, 2.0, **activation)
    inner = arch.Residual((arch.Dense(4), active, arch.Dense(4)))
    module = ANN((arch.Flatten(), arch.Dense(4), arch.BatchNorm(), active, inner, arch.Dense(3)))
    return jax.tree.map(np.asarray, dict(module.init(jax.random.key(seed), np.zeros((1, 2, 2, 1)))))


def saved(path, variables, config=LEARNT):
    checkpoint.save(path, variables, kind="ann", metadata={"config": asdict(config)})
    return path


@pytest.mark.parametrize("learn", ["rate", "layer", "channel"])
def test_what_activations_learn_keeps_its_initial_value(tmp_path, caplog, learn):
    without, wanted = variables_of(0), variables_of(1, learn=learn)
    with caplog.at_level(logging.INFO, "snnjax"):
        found = load_start(saved(tmp_path / "smooth.safetensors", without), wanted, TrainConfig())
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    old, initial, flat = map(by_path, (without, wanted, found))
    new = flat.keys() - old.keys()
    assert len(new) == (4 if learn == "rate" else 2)
    for name, value in flat.items():
        np.testing.assert_array_equal(value, (initial | old)[name], err_msg=name)
    assert f"{len(new)} values that activations learn are new" in caplog.text


def test_other_arrays_must_be_there(tmp_path):
    learnt, without = variables_of(0, learn="layer"), variables_of(1)
    path = saved(tmp_path / "learnt.safetensors", learnt)
    with pytest.raises(ValueError, match=r"it has \(\) at params/.*_activation/log_theta, and"):
        load_start(path, without, LEARNT)
    del without["params"]["01_dense"]["bias"]
    path = saved(tmp_path / "without.safetensors", without)
    message = (
        r"it has nothing at params/01_dense/bias, and the options mean \(4,\); it was trained with"
        r" other options: bias_free True, learn_theta layer$"
    )
    with pytest.raises(ValueError, match=message):
        load_start(path, variables_of(2), TrainConfig())


BLUEPRINT = serialisation.write(arch.Network("traced", (arch.Flatten(), arch.Dense(3))))


@pytest.mark.parametrize(
    ("trained", "wanted", "said"),
    [
        (LEARNT, LEARNT, ""),
        (ImportedConfig(blueprint=BLUEPRINT), LEARNT, ""),
        (replace(LEARNT, activation="th_relu"), LEARNT, ""),
        (
            TrainConfig(activation="rate_norm", dataset="mnist", classes=5), TrainConfig(),
            "; it was trained with other options: dataset mnist, classes 5, activation rate_norm",
        ),
    ],
    ids=["equal", "imported", "th_relu", "rates"],
)  # fmt: skip
def test_a_refusal_names_options_that_decide_arrays(tmp_path, trained, wanted, said):
    variables = variables_of(0)
    del variables["params"]["01_dense"]
    path = saved(tmp_path / "other.safetensors", variables, trained)
    with pytest.raises(ValueError, match=rf"and the options mean \(4,\){said}$"):
        load_start(path, variables_of(0), wanted)
