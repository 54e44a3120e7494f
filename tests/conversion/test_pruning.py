"""Silent channels are found, and a network without them has the same values."""

import jax
import numpy as np
import pytest
from examples import dense_network, random_images

import snnjax
from snnjax.conversion.conversion import convert
from snnjax.conversion.pruning import find_silent_channels, prune_channels
from snnjax.conversion.quantisation import quantise
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN

SHAPE, STEPS = (6, 6, 2), 3
IMAGES = np.round(255 * random_images(5, SHAPE)).astype(np.float32) / 255
ACTIVE = arch.Activation(0.5, 1.0)
DEAD = [1, 4]
"""Channels whose weights and biases are 0."""


RTOL = {"rtol": 1e-5, "atol": 1e-5}
"""Rounding of sums of floats."""


def make(layers, dead):
    """A converted network in which some channels have no weights."""
    network = arch.Network("some", layers)
    variables = jax.jit(ANN(layers).init)(jax.random.key(0), IMAGES)
    variables = jax.tree.map(lambda leaf: np.array(3 * leaf), variables)
    for path in dead:
        own = arch.inside(variables["params"], path)
        own["kernel"][..., DEAD], own["bias"][..., DEAD] = 0, 0
    return network, convert(network, variables)


def values(network, params):
    return np.asarray(snnjax.simulate(network, params, IMAGES, num_steps=STEPS).values)


@pytest.fixture(scope="module")
def chain():
    """Channels that are pooled and flattened, and neurons of a Dense layer."""
    layers = (
        arch.Conv(6, (3, 3)), ACTIVE, arch.AvgPool((2, 2)), arch.Flatten(), arch.Dense(8), ACTIVE,
        arch.Dense(3),
    )  # fmt: skip
    return make(layers, ["00_conv", "04_dense"])


def test_silent_neurons_of_a_dense_layer_are_found_and_removed():
    layers = dense_network().layers
    kernels = {"01_dense": (72, 8), "03_dense": (8, 8), "05_dense": (8, 3)}
    draw = np.random.default_rng(0)
    found = {
        name: {"kernel": draw.normal(0, 1 / 3, shape), "bias": draw.normal(0, 1 / 3, shape[1:])}
        for name, shape in kernels.items()
    }
    for path in ("01_dense", "03_dense"):
        found[path]["kernel"][:, DEAD], found[path]["bias"][DEAD] = 0, 0
    network = arch.Network("dense", layers)
    params = convert(network, {"params": found})
    silent = find_silent_channels(network, params, IMAGES, num_steps=STEPS, batch_size=3)
    assert all(set(DEAD) <= set(np.flatnonzero(mask)) for mask in silent.values())
    assert not all(mask.all() for mask in silent.values())
    pruned = prune_channels(network, params, silent, SHAPE)
    assert pruned.removed == {path: mask.sum() for path, mask in silent.items()}
    np.testing.assert_allclose(
        values(pruned.network, pruned.params), values(network, params), **RTOL
    )


@pytest.mark.slow
@pytest.mark.parametrize("bits", [None, 4])
def test_a_network_without_its_silent_channels_has_the_same_values(chain, bits):
    network, params = chain
    if bits:
        params = quantise(network, params, bits)
    silent = find_silent_channels(network, params, IMAGES, num_steps=STEPS, batch_size=5)
    assert np.flatnonzero(silent["01_activation"]).tolist() == DEAD
    assert set(DEAD) <= set(np.flatnonzero(silent["05_activation"]))
    pruned = prune_channels(network, params, silent, SHAPE)
    assert pruned.removed == {path: mask.sum() for path, mask in silent.items()}
    conv, _, _, _, dense, *_ = pruned.network.layers
    assert (conv.features, dense.features) == (4, 8 - silent["05_activation"].sum())
    assert pruned.params["layers"]["04_dense"]["kernel"].shape == (9 * 4, dense.features)
    assert params["layers"]["00_conv"]["kernel"].shape[-1] == 6  # the arguments are kept
    same = np.testing.assert_array_equal if bits else np.testing.assert_allclose
    same(values(pruned.network, pruned.params), values(network, params), **({} if bits else RTOL))


@pytest.mark.slow
def test_channels_that_a_sum_shares_and_those_of_groups_stay():
    body, pool = (arch.Conv(6, (3, 3)), ACTIVE, arch.Conv(6, (1, 1))), arch.AvgPool((2, 2))
    layers = (
        arch.Conv(6, (1, 1)), ACTIVE, arch.Residual(body), ACTIVE, arch.Conv(6, (1, 1), groups=2),
        ACTIVE, arch.Concat(((arch.Conv(6, (1, 1)), ACTIVE, pool), (pool,))), arch.Flatten(),
        arch.Dense(3),
    )  # fmt: skip
    inside = "02_residual/body/00_conv"
    network, params = make(layers, ["00_conv", inside, "04_conv", "06_concat/00/00_conv"])
    silent = find_silent_channels(network, params, IMAGES, num_steps=STEPS, batch_size=5)
    neurons = "02_residual/body/01_activation"
    assert np.flatnonzero(silent[neurons]).tolist() == DEAD
    assert silent["01_activation"].sum() >= 2 and silent["05_activation"].sum() >= 2
    pruned = prune_channels(network, params, silent, SHAPE)
    assert pruned.removed == {
        "01_activation": 0, neurons: 2, "03_activation": 0, "05_activation": 0,
        "06_concat/00/01_activation": 0,
    }  # fmt: skip
    assert arch.inside(pruned.params["layers"], inside)["kernel"].shape == (3, 3, 6, 4)
    np.testing.assert_allclose(
        values(pruned.network, pruned.params), values(network, params), **RTOL
    )


@pytest.mark.slow
def test_one_channel_stays_and_other_masks_are_refused(chain):
    network, params = chain
    every = {"01_activation": np.ones(6, bool)}
    pruned = prune_channels(network, params, every, SHAPE)
    assert pruned.removed == {"01_activation": 5}
    assert pruned.network.layers[0].features == 1
    for silent, message in (
        ({"00_conv": np.ones(6, bool)}, "silent has '00_conv'; want paths of neurons: 01_acti"),
        ({"01_activation": np.ones(5, bool)}, r"\(5,\); want bools of shape \(6,\)"),
        ({"01_activation": np.ones(6)}, "is float64"),
    ):
        with pytest.raises(ValueError, match=message):
            prune_channels(network, params, silent, SHAPE)
