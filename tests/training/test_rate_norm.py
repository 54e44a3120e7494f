"""Rate-norm layers: what each stage trains, and that their networks convert."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import ann_logits, limit, random_images

from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.snn.neurons import DOUBLE_THRESHOLD
from snnjax.snn.simulation import simulate
from snnjax.training import fitting, rate_norm
from snnjax.training.training_config import TrainingConfig

SHAPE = (4, 4, 1)
RATE = arch.Activation(0.0, 1.0, "rate")
NETWORK = arch.Network(
    "rates", (arch.Conv(6, (3, 3)), RATE, arch.Flatten(), arch.Dense(12), RATE, arch.Dense(3))
)
MODULE = ANN(NETWORK.layers)
PATHS = ("01_activation", "04_activation")


@pytest.fixture(scope="module")
def first_stage():
    start = jax.jit(MODULE.init)(jax.random.key(0), jnp.zeros((1, *SHAPE)))
    images = (random_images(64, SHAPE) * 255).astype(np.uint8)
    labels = np.random.default_rng(0).integers(0, 3, 64).astype(np.int32)
    config = TrainingConfig(epochs=3, batch_size=16, levels=0, max_shift=0)
    split = (images, labels)
    return (
        start,
        fitting.fit(MODULE.apply, start, split, split, config, progress=False).variables,
        images,
    )


def test_the_first_stage_keeps_shares_and_follows_the_largest_outputs(first_stage):
    start, found, _ = first_stage
    for path in PATHS:
        assert float(found["params"][path]["share"]) == 10.0
        assert float(found["batch_stats"][path]["largest"]) != 1.0
    assert np.abs(found["params"]["00_conv"]["kernel"] - start["params"]["00_conv"]["kernel"]).max()


def test_the_largest_output_is_a_running_mean_of_batch_maxima():
    layers = (arch.Flatten(), arch.Dense(1, use_bias=False), RATE)
    module = ANN(layers)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 1, 1, 1)))
    variables["params"]["01_dense"]["kernel"] = jnp.ones((1, 1))
    x = jnp.array([3.0, -5.0]).reshape(2, 1, 1, 1)
    rates, changed = module.apply(variables, x, train=True, mutable=["batch_stats"])
    largest = 0.9 * 1.0 + 0.1 * 3.0
    assert float(changed["batch_stats"]["02_activation"]["largest"]) == pytest.approx(largest)
    np.testing.assert_allclose(rates[:, 0], [1.0, 0.0], atol=1e-6)
    half = jnp.array([largest / 2]).reshape(1, 1, 1, 1)
    rates = module.apply({**variables, **changed}, half)
    share = float(jax.nn.sigmoid(10.0))
    np.testing.assert_allclose(rates, [[0.5 / share]], atol=1e-5)


def test_the_second_stage_changes_shares_only_and_makes_inference_faster(first_stage):
    _, found, images = first_stage
    settings = {"epochs": 20, "batch_size": 32, "weight": 1.0, "progress": False}
    faster = rate_norm.train_shares(MODULE.apply, found, images, **settings)
    for path in PATHS:
        share = float(faster["params"][path]["share"])
        assert share < rate_norm.INITIAL_LOGIT
    unchanged = {
        **faster,
        "params": {**faster["params"], **{p: found["params"][p] for p in PATHS}},
    }
    jax.tree.map(np.testing.assert_array_equal, unchanged, dict(found))

    def slowness(variables):
        x = images.astype(np.float32) / 255
        caught = MODULE.apply(variables, x, mutable=["intermediates"])[1]["intermediates"]
        rates = [caught[path]["rate"][0] for path in PATHS]
        return float(np.mean([r.sum() / jnp.square(r).sum() for r in rates]))

    assert slowness(faster) < slowness(found)
    again = rate_norm.train_shares(MODULE.apply, found, images, **settings)
    jax.tree.map(np.testing.assert_array_equal, again, faster)


def test_the_loss_by_hand():
    target, logits = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, 1.0]])
    rates = [jnp.array([[0.5, 0.5]]), jnp.array([[1.0, 0.0]])]
    loss = rate_norm.rate_inference_loss(target, logits, rates, 0.5)
    assert float(loss) == pytest.approx(1 - 1 / np.sqrt(2) + 0.5 * (1 / 0.5 + 1) / 2, abs=1e-4)


def test_rates_convert_with_weights_unchanged_and_come_as_one_over_t(first_stage):
    """Unit spikes, thresholds p * largest: W and b as they are, up to the unit of charge."""
    _, variables, _ = first_stage
    images = random_images(20, SHAPE, seed=3)
    params = convert(NETWORK, variables, initial=0.0)
    logits = ann_logits(NETWORK, variables, images)
    np.testing.assert_allclose(limit(NETWORK, params, images), logits, atol=1e-5)
    last = params["layers"]["05_dense"]["kernel"]
    np.testing.assert_array_equal(last, variables["params"]["05_dense"]["kernel"])
    errors = [
        np.abs(
            simulate(NETWORK, params, images, num_steps=t, neuron=DOUBLE_THRESHOLD).values[-1]
            - logits
        ).max()
        for t in (16, 256)
    ]
    assert errors[1] < errors[0] / 4


def test_b7_a_network_without_rate_norm_layers_is_refused(first_stage):
    _, variables, images = first_stage
    params = {"params": {"05_dense": variables["params"]["05_dense"]}}
    with pytest.raises(ValueError, match="no rate-norm layer"):
        rate_norm.train_shares(MODULE.apply, params, images, batch_size=8, progress=False)


@pytest.mark.parametrize(
    "change", [{"weight": -1.0}, {"epochs": 0}, {"batch_size": 0}, {"batch_size": 65}]
)
def test_bad_input_is_named(first_stage, change):
    _, variables, images = first_stage
    with pytest.raises(ValueError, match="want a weight of at least 0, an epoch or more"):
        rate_norm.train_shares(MODULE.apply, variables, images, progress=False, **change)
