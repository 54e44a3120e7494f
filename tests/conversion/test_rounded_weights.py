"""Rounded weights in training are those of the integer network, and gradients pass through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import ann_logits, branching_network, dense_network, limit, random_variables

from snnjax.conversion.conversion import convert
from snnjax.conversion.quantisation import quantise
from snnjax.conversion.rounded_weights import round_weights
from snnjax.networks import architecture as arch

SHAPE = (8, 8, 3)
BITS = {"01_conv": 3, "04_residual/body/00_conv": 2, "07_residual/body/00_conv": 5, "10_dense": 4}
SOURCES = {
    "01_conv": 1 / 255, "04_residual/body/00_conv": 1, "04_residual/body/03_conv": 1,
    "04_residual/shortcut/01_conv": 1 / 4, "07_residual/body/00_conv": 1,
}  # fmt: skip
"""Value that 1 of the whole input of each layer before neurons stands for."""


def folded_network(learn="nothing", padding="VALID"):
    """Normalisations, means, a sum with a projection, and one with an identity."""
    active = arch.Activation(0.25, 1.5, learn)
    body = (
        arch.Conv(6, (3, 3), (2, 2), use_bias=False), arch.BatchNorm(), active,
        arch.Conv(6, (3, 3)), arch.BatchNorm(),
    )  # fmt: skip
    projected = arch.Residual(body, (arch.AvgPool((2, 2)), arch.Conv(6, (1, 1))))
    return arch.Network("folded", (
        arch.Normalise((0.5, 0.4, 0.6), (0.2, 0.3, 0.25)),
        arch.Conv(4, (3, 3), padding=padding, use_bias=False), arch.BatchNorm(), active,
        projected, arch.AvgPool((3, 3)), active,
        arch.Residual((arch.Conv(6, (1, 1)), arch.BatchNorm())),
        arch.Flatten(), arch.Activation(0.25, 1.5), arch.Dense(5),
    ))  # fmt: skip


def pixels(count):
    whole = np.random.default_rng(1).integers(0, 256, (count, *SHAPE))
    return np.float32(whole) / np.float32(255)


def rounded_by(network, bits):
    return jax.jit(lambda variables: round_weights(network, variables, bits))


@pytest.mark.parametrize(
    ("learn", "padding"),
    [("nothing", "VALID"), pytest.param("channel", "SAME", marks=pytest.mark.slow)],
)
def test_the_integer_network_has_the_weights_and_biases_of_the_training(learn, padding):
    network, images = folded_network(learn, padding), pixels(8)
    rounding = rounded_by(network, BITS)
    variables = random_variables(network, SHAPE)
    rounded = rounding(variables)
    floats = convert(network, rounded)
    whole = quantise(network, floats, BITS)
    thresholds = {
        "01_conv": "03_activation", "04_residual/body/00_conv": "04_residual/body/02_activation",
        "07_residual/body/00_conv": "09_activation",
    }  # fmt: skip
    for path, source in SOURCES.items():
        own, exact = (arch.inside(p["layers"], path) for p in (whole, floats))
        neurons = thresholds.get(path, "06_activation")
        threshold = np.asarray(arch.inside(whole["layers"], neurons)["positive"])
        assert np.any(threshold % 9)  # as fine as the sum over a window of the mean
        windows = 9 if neurons == "06_activation" else 1
        for name, factor in ("kernel", source), ("bias", 1):
            in_thresholds = np.asarray(exact[name]) * factor / windows * threshold
            np.testing.assert_allclose(own[name], in_thresholds, atol=2e-3, err_msg=path)
        largest = np.abs(own["kernel"]).max()
        most = 2 ** (BITS.get(path, 8) - 1) - 1
        assert largest == most or (largest < most and path == "04_residual/shortcut/01_conv")
    assert np.abs(whole["layers"]["10_dense"]["kernel"]).max() == 7
    if learn == "channel":
        calibrated = quantise(network, floats, BITS, images)
        for path in (*SOURCES, "10_dense"):
            kernels = (arch.inside(p["layers"], path)["kernel"] for p in (whole, calibrated))
            np.testing.assert_array_equal(*kernels)
    else:
        logits = ann_logits(network, rounded, images)
        np.testing.assert_allclose(logits, limit(network, whole, images), atol=1e-4)
        assert np.abs(logits - ann_logits(network, variables, images)).max() > 0.05
        again = quantise(network, convert(network, rounding(rounded)), BITS)
        jax.tree.map(np.testing.assert_array_equal, again["layers"], whole["layers"])


def test_the_gradient_passes_straight_through():
    network = folded_network()
    variables = random_variables(network, SHAPE)
    draw = np.random.default_rng(0)
    wanted = jax.tree.map(lambda leaf: np.float32(draw.normal(size=leaf.shape)), variables)

    @jax.jit
    @jax.grad
    def gradient(variables):
        rounded = round_weights(network, variables, 2)
        return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.vdot(a, b), rounded, wanted)))

    jax.tree.map(np.testing.assert_array_equal, gradient(variables), wanted)


@pytest.mark.parametrize(
    "images",
    [None, pytest.param(pixels(16)[:, :4, :4, :1], marks=pytest.mark.slow)],
    ids=["nearest", "calibrated"],
)
def test_weights_on_a_grid_of_fewer_bits_keep_it(images):
    """As a network has them whose weights another program has rounded."""
    network = dense_network()
    variables = random_variables(network, (4, 4, 1))
    draw = np.random.default_rng(3)
    for name, step in ("03_dense", draw.uniform(0.1, 0.3, 8)), ("05_dense", 0.17):
        kernel = variables["params"][name]["kernel"]
        rounded = np.float32(step * draw.integers(-3, 4, kernel.shape))
        variables["params"][name] = {**variables["params"][name], "kernel": rounded}
    on_none = variables["params"]["03_dense"]["kernel"][:, 0]
    on_none *= draw.uniform(0.5, 1.0, 8)
    floats = convert(network, variables)
    # The coarse first layer sends on what would draw calibration to other units.
    whole = quantise(network, floats, {"01_dense": 2, "03_dense": 4, "05_dense": 4}, images)
    found, exact = (np.asarray(p["layers"]["03_dense"]["kernel"]) for p in (whole, floats))
    ratios = [values / np.abs(values).max(0) for values in (found, exact)]
    np.testing.assert_allclose(ratios[0][:, 1:], ratios[1][:, 1:], atol=1e-6)
    assert np.abs(ratios[0] - ratios[1])[:, 0].max() > 0.02
    assert np.abs(found[:, 1:]).max() == 6  # the finest unit of the same weights
    found, exact = (np.asarray(p["layers"]["05_dense"]["kernel"]) for p in (whole, floats))
    np.testing.assert_allclose(found / 6, exact / np.abs(exact).max(), atol=1e-6)


def test_a_layer_without_weights_keeps_its_bias():
    network = dense_network()
    variables = random_variables(network, (4, 4, 1))
    own = variables["params"]["03_dense"]
    variables["params"]["03_dense"] = {**own, "kernel": 0 * own["kernel"]}
    rounded = rounded_by(network, 8)(variables)["params"]["03_dense"]
    np.testing.assert_allclose(rounded["bias"], own["bias"], atol=2.0**-12)
    assert not np.any(rounded["kernel"])


def test_what_cannot_be_rounded_is_refused():
    network = dense_network()
    variables = random_variables(network, (4, 4, 1))
    for bits, said in (
        (1, "bits of 01_dense is 1"), (17, "at most 16"), ({"02_activation": 4}, "want one of"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            round_weights(network, variables, bits)
    with pytest.raises(ValueError, match="has neither a bound nor a scale"):
        unbounded = arch.with_activation(network, arch.Activation(0.1, np.inf))
        round_weights(unbounded, variables)
    with pytest.raises(ValueError, match="layer 02_concat is a Concat, whose weights"):
        round_weights(branching_network(), {"params": {}})
    with pytest.raises(ValueError, match="01_dense follows weights without"):
        pair = arch.Residual((arch.Dense(4), arch.Dense(4)))
        round_weights(arch.Network("pair", (pair, arch.Activation(), arch.Dense(2))),
                      {"params": {}})  # fmt: skip
    with pytest.raises(ValueError, match="network is a dict"):
        round_weights({}, variables)
