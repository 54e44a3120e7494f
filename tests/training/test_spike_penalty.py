"""Penalty for spikes while the ANN is trained: its value, and that all else stays the same."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import (
    branching_network,
    compact_network,
    random_images,
    random_variables,
    residual_network,
)

from snnjax.analysis.synapses import find_synapses, share_synapses
from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.runtime import sharding
from snnjax.snn.rates import firing_rates
from snnjax.training import spike_penalty
from snnjax.training.gradient_step import TrainingRun, init_train_state, train_step
from snnjax.training.spike_penalty import measure_synapses_in_use, penalise_spikes

SHAPE = (5, 5, 1)
POOLED = arch.Network(
    "pooled",
    (
        arch.Conv(2, (3, 3)),
        arch.Activation(0.25, 0.5, "channel"),
        arch.AvgPool((2, 2)),
        arch.Flatten(),
        arch.Dense(4),
        arch.Activation(0.5, 1.5),
        arch.Dense(3),
    ),
)


def shares_of(network, variables, shape):
    params = jax.jit(partial(convert, network))(variables)
    return share_synapses(find_synapses(network, params, shape)), params


def trained(network, variables, images, shares, penalty=2.0, **options):
    """What the penalised network returns in training."""
    apply = penalise_spikes(ANN(network.layers).apply, network, shares, penalty)
    return apply(variables, images, train=True, mutable=["batch_stats"], **options)


@pytest.fixture(scope="module")
def pooled():
    variables = random_variables(POOLED, SHAPE)
    return variables, shares_of(POOLED, variables, SHAPE)[0]


def by_hand(variables, images, levels):
    """Share of 140 synapses in use: 32 neurons in a window reach 4 others, and 4 reach 3."""
    params = jax.tree.map(np.float64, variables["params"])
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[..., 0, :, :]
    kernel = params["00_conv"]["kernel"][:, :, 0]
    z = np.einsum("bhwij,ijc->bhwc", windows, kernel) + params["00_conv"]["bias"]
    theta = np.exp(params["01_activation"]["log_theta"])

    def rates(z, alpha):
        clipped = np.clip(np.where(z > 0, z, alpha * z), -1, 1)
        return np.sign(clipped) * np.floor(np.abs(clipped) * levels + 0.5) / levels

    first = rates(z / theta, 0.25)
    pools = (first * theta)[:, :4, :4].reshape(-1, 2, 2, 2, 2, 2).mean((2, 4)).reshape(-1, 8)
    z = pools @ params["04_dense"]["kernel"] + params["04_dense"]["bias"]
    second = rates(z / 1.5, 0.5)
    used = 4 * np.abs(first[:, :4, :4]).sum((1, 2, 3)) + 3 * np.abs(second).sum(1)
    return used / (4 * 32 + 3 * 4)


def test_the_penalty_is_that_of_a_computation_by_hand(pooled):
    """The pooling leaves the last row and column out, whose neurons reach nothing."""
    variables, shares = pooled
    images = random_images(6, SHAPE)
    wanted = by_hand(variables, images, 8)
    assert wanted.min() > 0.05 and wanted.max() < 0.95
    answers, kept = trained(POOLED, variables, images, shares, levels=8)
    assert answers.penalty == pytest.approx(2 * wanted.mean(), rel=1e-5)
    assert kept == {}


def test_the_measured_share_is_the_mean_over_all_images(pooled, monkeypatch):
    variables, shares = pooled
    monkeypatch.setattr(spike_penalty, "BATCH_SIZE", 3)
    images = np.asarray(random_images(7, SHAPE) * 255, np.uint8)
    measure = partial(measure_synapses_in_use, ANN(POOLED.layers).apply, POOLED, variables, images)
    wanted = by_hand(variables, images / 255, 4).mean()
    assert measure(shares, levels=4) == pytest.approx(wanted, rel=1e-5)
    assert measure(shares) == pytest.approx(
        by_hand(variables, images / 255, 2**20).mean(), rel=1e-4
    )


@pytest.mark.parametrize("network", [residual_network("channel"), branching_network()])
def test_rates_are_those_of_the_converted_network_in_any_block(network):
    shape = (8, 8, 3)
    variables = random_variables(network, shape)
    shares, params = shares_of(network, variables, shape)
    assert sum(share.sum() for share in shares.values()) == pytest.approx(1)
    images = random_images(3, shape)
    rates, _ = jax.jit(partial(firing_rates, network, levels=4))(params, images)
    assert set(shares) == set(rates)
    wanted = sum(np.sum(np.abs(rates[path]) * share) for path, share in shares.items()) / 3
    measure = jax.jit(partial(measured, network=network, shares=shares))
    assert measure(variables, images) == pytest.approx(wanted, rel=1e-4)


def measured(variables, images, *, network, shares):
    apply = ANN(network.layers).apply
    _, collections = apply(variables, images, levels=4, mutable=["intermediates"])
    used = spike_penalty._synapses_in_use(
        network, variables["params"], collections, shares, len(images)
    )
    return jnp.mean(used)


def test_logits_and_statistics_stay_and_evaluation_has_no_penalty():
    network, shape = compact_network(), (8, 8, 3)
    variables, images = random_variables(network, shape), random_images(3, shape)
    shares, _ = shares_of(network, variables, shape)
    module = ANN(network.layers)
    options = {"levels": 4, "train": True, "mutable": ["batch_stats"]}
    logits, statistics = module.apply(variables, images, **options)
    answers, kept = trained(network, variables, images, shares, levels=4)
    np.testing.assert_array_equal(answers.values, logits[None])
    assert list(kept) == ["batch_stats"]
    jax.tree.map(np.testing.assert_array_equal, kept, dict(statistics))
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), kept, {
        "batch_stats": variables["batch_stats"]
    })  # fmt: skip
    assert all(jax.tree.leaves(changed))
    apply = penalise_spikes(module.apply, network, shares, 2.0)
    wanted = module.apply(variables, images, levels=4)
    np.testing.assert_array_equal(apply(variables, images, levels=4), wanted)


def test_steps_lower_the_share_and_update_the_statistics(start, labelled, small_config):
    """With batch norm, dropout and 16-bit products."""
    module, variables = start
    network = arch.Network("small", module.layers)
    images, labels = map(jnp.asarray, labelled(64))
    shape = images.shape[1:]
    shares, _ = shares_of(network, variables, shape)
    short = ANN(module.layers, dropout=0.2, dtype=jnp.bfloat16)
    used = {}
    for penalty in (0.0, 20.0):
        apply = penalise_spikes(short.apply, network, shares, penalty)
        run = TrainingRun(apply, small_config, 20, sharding.make_mesh())
        state = init_train_state(variables, small_config, 20)
        for i in range(20):
            state, loss = train_step(
                state, images, labels, jnp.arange(64), jax.random.key(i), run=run
            )
        assert np.isfinite(loss) and list(state.statistics) == ["batch_stats"]
        after = {"params": state.params, **state.statistics}
        used[penalty] = measure_synapses_in_use(
            module.apply, network, after, np.asarray(images), shares, levels=4
        )
    assert used[20.0] < 0.8 * used[0.0]
