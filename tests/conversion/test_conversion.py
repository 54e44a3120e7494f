"""Conversion changes the units and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import (
    ann_logits,
    branching_network,
    dense_network,
    limit,
    random_images,
    random_variables,
    residual_network,
)

from snnjax.conversion.conversion import convert
from snnjax.conversion.folding import fold
from snnjax.conversion.threshold_balancing import measure_output_scale, measure_scales
from snnjax.io import checkpoint
from snnjax.networks import architecture as arch
from snnjax.networks import known_networks
from snnjax.networks.ann import ANN
from snnjax.snn import encoding, simulation
from snnjax.snn.engine import with_leaks
from snnjax.snn.neurons import DOUBLE_THRESHOLD, EXACT_CHARGE
from snnjax.snn.stimulus import image_keys

SHAPE = (8, 8, 3)


@pytest.mark.parametrize(
    ("kind", "learn", "levels", "gain", "threshold"),
    [  # each pair of values of two parameters is in one case at least
        (residual_network, "nothing", None, 1.0, 1.0),
        pytest.param(residual_network, "layer", 5, 1.0, 1.0, marks=pytest.mark.slow),
        pytest.param(residual_network, "channel", None, 0.5, 3.0, marks=pytest.mark.slow),
        pytest.param(branching_network, "nothing", 5, 0.5, 3.0, marks=pytest.mark.slow),
        pytest.param(branching_network, "layer", None, 0.5, 3.0, marks=pytest.mark.slow),
        (branching_network, "channel", 5, 1.0, 1.0),
    ],
)
def test_the_limit_of_the_spiking_network_is_the_ann(kind, learn, levels, gain, threshold):
    """Eqs. 11 and 16 with batch norm, residuals, groups, pooling, gain and threshold."""
    network = kind(learn)
    variables, images = random_variables(network, SHAPE), random_images(3, SHAPE)
    params = convert(network, variables, gain=gain, threshold=threshold)
    logits = ann_logits(network, variables, images, levels=levels)
    found = limit(network, params, images, levels=levels)
    np.testing.assert_allclose(found, logits, atol=2e-5 * float(jnp.abs(logits).max()) + 1e-6)


@pytest.mark.parametrize("kind", [residual_network, branching_network])
def test_a_network_with_branches_is_the_same_out_of_a_file(tmp_path, kind):
    network = kind()
    variables, images = random_variables(network, SHAPE), random_images(2, SHAPE)
    checkpoint.save(tmp_path / "ann", variables, kind="ann", metadata={})
    params = convert(network, checkpoint.load(tmp_path / "ann", kind="ann").tree)
    checkpoint.save(tmp_path / "snn", params, kind="snn", metadata={})
    kept = checkpoint.load(tmp_path / "snn", kind="snn").tree
    kept["layers"] = with_leaks(kept["layers"])
    np.testing.assert_array_equal(limit(network, kept, images), limit(network, params, images))


@pytest.mark.parametrize("kind", [residual_network, branching_network])
@pytest.mark.parametrize("model", [EXACT_CHARGE, DOUBLE_THRESHOLD])
def test_the_error_of_a_network_with_branches_falls_with_time(model, kind):
    network = kind()
    variables, images = random_variables(network, SHAPE), random_images(4, SHAPE)
    logits = ann_logits(network, variables, images)
    params = convert(network, variables)
    values = simulation.simulate(network, params, images, num_steps=512, neuron=model).values
    error = jnp.abs(values - logits).mean((1, 2))
    assert error[511] < error[7] / 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16_quarter", "resnet20"])
def test_the_error_of_a_deep_network_falls_as_one_over_time(name):
    """Random weights, batch statistics of the images, a bound that few outputs reach."""
    network = arch.with_activation(known_networks.find(name), arch.Activation(0.1, 3.0))
    module, images = ANN(network.layers), random_images(1, (32, 32, 3))
    variables = jax.jit(module.init)(jax.random.key(0), images)
    settle = jax.jit(lambda v: module.apply(v, images, train=True, mutable=["batch_stats"])[1])
    for _ in range(40):  # the running statistics keep 0.9 of themselves each time
        variables = {**variables, **settle(variables)}
    logits = ann_logits(network, variables, images)
    params = convert(network, variables)
    values = simulation.simulate(network, params, images, num_steps=512).values
    error = jnp.abs(values - logits).mean((1, 2)) / jnp.abs(logits).mean()
    assert error[511] < 0.06
    assert error[511] < error[63] / 4  # an eighth, but for what stays to be rounded


def test_folding_random_batch_norm_changes_nothing():
    layers = (arch.Conv(4, (3, 3), use_bias=False), arch.BatchNorm(epsilon=0.1), arch.Flatten())
    layers += (arch.Dense(5), arch.BatchNorm())
    network = arch.Network("normed", layers)
    variables, images = random_variables(network, SHAPE), random_images(3, SHAPE)
    folded = fold(layers, variables["params"], variables["batch_stats"])
    assert set(folded) == {"00_conv", "03_dense"}
    bare = tuple(
        layer if not isinstance(layer, arch.BatchNorm) else arch.AvgPool((1, 1))
        for layer in layers[:2]
    )
    bare = (arch.Conv(4, (3, 3)), *bare[1:], arch.Flatten(), arch.Dense(5))
    np.testing.assert_allclose(
        ANN(bare).apply({"params": folded}, images),
        ANN(layers).apply(variables, images),
        atol=1e-5,
    )


NORMALISE = arch.Normalise((0.5, 0.4, 0.6), (0.2, 0.3, 0.25))
FIRST = {
    "same": (arch.Conv(6, (3, 3)), arch.BatchNorm()),
    "strided": (arch.Conv(6, (5, 3), (2, 3)),),
    "valid": (arch.Conv(6, (3, 3), padding="VALID", use_bias=False),),
    "groups": (arch.Conv(6, (3, 3), groups=3),),
    "pooled": (arch.AvgPool((2, 2)), arch.Conv(6, (3, 3))),
    "dense": (arch.Flatten(), arch.Dense(9)),
}


@pytest.mark.parametrize("gain", [1.0, 0.5])
@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_normalised_images_are_raw_ones_with_other_weights_and_a_grey_border(first, gain):
    """METHODS: the border pixels agree only where raw images are padded with the mean."""
    network = arch.Network("first", (NORMALISE, *first))
    variables, images = random_variables(network, SHAPE), random_images(3, SHAPE)
    params = convert(network, variables, gain=gain)
    wanted = ann_logits(network, variables, images)
    np.testing.assert_allclose(limit(network, params, images), wanted, atol=1e-5)
    steady = simulation.simulate(network, params, images, num_steps=3).values[-1]
    np.testing.assert_allclose(steady, wanted, atol=1e-5)
    for layer in params["layers"].values():
        if "border" in layer:
            layer["border"] = jnp.zeros(3)
            black = limit(network, params, images)
            inside = np.s_[:, 2:-2, 2:-2] if len(first) > 1 else np.s_[:, 2:3, 1:2]
            if "pool" not in "".join(params["layers"]):
                np.testing.assert_allclose(black[inside], wanted[inside], atol=1e-5)
            assert jnp.abs(black - wanted).max() > 0.1


def test_what_normalise_cannot_be_folded_into_is_named():
    def built(*layers):
        network = arch.Network("first", (NORMALISE, *layers))
        return network, random_variables(network, SHAPE)

    with pytest.raises(ValueError, match="00_normalise is followed by 01_residual; want a Dense"):
        convert(*built(arch.Residual((arch.Conv(3, (3, 3)),))))
    network, variables = built(arch.Conv(2, (3, 3)))
    grey = arch.Network("grey", (arch.Normalise((0.5,) * 2, (1.0,) * 2), *network.layers[1:]))
    with pytest.raises(ValueError, match="00_normalise has 2 channels, but 01_conv has"):
        convert(grey, variables)
    six = arch.Network("six", (NORMALISE, arch.Conv(2, (3, 3))))
    variables = {"params": {"01_conv": {"kernel": np.ones((3, 3, 6, 2)), "bias": np.zeros(2)}}}
    with pytest.raises(ValueError, match="00_normalise has 3 channels, but 01_conv has 6 inputs"):
        convert(six, variables)


def test_gain_halves_the_input_rates_and_leaves_the_logits_alone():
    network = dense_network()
    variables, images = random_variables(network, (4, 4, 1)), random_images(64, (4, 4, 1))
    whole, half = (convert(network, variables, gain=gain) for gain in (1.0, 0.5))
    keys = image_keys(jax.random.key(0), 0, 64)
    rates = [
        jnp.mean(encoding.RATE.encode(keys, images, params["gain"], 0)) for params in (whole, half)
    ]
    assert rates[1] / rates[0] == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(
        limit(network, whole, images), limit(network, half, images), atol=1e-5
    )
    steady = [
        simulation.simulate(network, params, images, num_steps=5).values for params in (whole, half)
    ]
    np.testing.assert_array_equal(*steady)


def test_a_relu_network_needs_measured_scales_and_then_converts():
    network = dense_network(alpha=0.0, theta=np.inf)
    variables, images = random_variables(network, (4, 4, 1)), random_images(50, (4, 4, 1))
    with pytest.raises(ValueError, match=r"02_activation has neither a bound nor .*measure_scales"):
        convert(network, variables)
    scales = measure_scales(network, variables, images)
    params = convert(network, variables, scales=scales)
    logits = ann_logits(network, variables, images)
    np.testing.assert_allclose(limit(network, params, images), logits, atol=1e-5)
    result = simulation.simulate(network, params, images, num_steps=400, record=True)
    np.testing.assert_allclose(result.values[-1], logits, atol=0.05)
    for spikes in result.recording.values():  # a spike may be taken back, never more
        assert (np.cumsum(spikes, 0) >= 0).all()


def test_scales_are_percentiles_of_what_is_not_zero():
    network = arch.Network("one", (arch.Flatten(), arch.Dense(1), arch.Activation(0.5, 100.0)))
    variables = {"params": {"01_dense": {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}}}
    images = np.array([0, 0, 0, 1, 2, 3, -8], np.float32).reshape(-1, 1, 1, 1)
    path = "02_activation"
    assert measure_scales(network, variables, images) == {path: 4.0}  # |0.5 * -8|
    assert measure_scales(network, variables, images, percentile=50) == {path: 2.5}


def test_the_output_scale_is_the_largest_logit():
    network = dense_network()
    variables, images = random_variables(network, (4, 4, 1)), random_images(20, (4, 4, 1))
    logits = ann_logits(network, variables, images)
    scale = measure_output_scale(network, variables, images)
    assert scale == pytest.approx(float(jnp.abs(logits).max()))


def test_alpha_and_v0_come_out_as_thresholds():
    params = convert(
        dense_network(alpha=0.25),
        random_variables(dense_network(), (4, 4, 1)),
        threshold=2.0,
        initial=0.25,
        leak=0.9,
        shift=0.125,
    )
    found = params["layers"]["02_activation"]
    assert {name: float(value) for name, value in found.items()} == {
        "positive": 2.0,
        "negative": 8.0,
        "leak": pytest.approx(0.9),
        "initial": 0.25,
        "shift": 0.25,
        "bound": 1.0,
    }


def broken(change):
    network = dense_network()
    variables = random_variables(network, (4, 4, 1))
    variables["params"] = change(variables["params"])
    return network, variables


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gain": 0.0}, "gain is 0.0; want it finite and above 0"),
        ({"threshold": -1.0}, "threshold is -1.0; want it finite and above 0"),
        pytest.param(
            {"gain": 1e-45}, "gain is 1e-45; want it finite and above 0, also", id="f-small"
        ),
        pytest.param({"threshold": 1e39}, "threshold is 1e\\+39; want it finite", id="f-large"),
        ({"alpha": 2.0}, r"alpha is 2.0; want it in \(0, 1\]"),
        ({"leak": 1.5}, r"leak is 1.5; want it in \(0, 1\]"),
        ({"output_scale": float("nan")}, "output_scale is nan; want it finite"),
        ({"scales": {"01_conv": 1.0}}, "scales names '01_conv'; want one of 02_activation"),
        ({"scales": {"02_activation": -1.0}}, "scale of 02_activation is -1.0"),
    ],
)
def test_values_out_of_range_are_named(settings, message):
    network = dense_network()
    with pytest.raises(ValueError, match=message):
        convert(network, random_variables(network, (4, 4, 1)), **settings)


def test_parameters_that_do_not_belong_are_named():
    network, variables = broken(lambda p: {k: v for k, v in p.items() if k != "03_dense"})
    with pytest.raises(
        ValueError, match=r"params holds 01_dense \(bias, kernel\), 05_dense.*wants"
    ):
        convert(network, variables)
    network, variables = broken(lambda p: p)
    variables["params"]["03_dense"]["bias"] = jnp.full(8, np.nan)
    with pytest.raises(ValueError, match="params/03_dense/bias holds NaN or Inf"):
        convert(network, variables)
    with pytest.raises(ValueError, match="want the collection 'params'"):
        convert(network, variables["params"])
    network = residual_network()
    variables = random_variables(network, SHAPE)
    with pytest.raises(ValueError, match=r"01_norm has no statistics; .* 'batch_stats'"):
        convert(network, {"params": variables["params"]})
    del variables["params"]["03_residual"]["body"]["00_conv"]
    with pytest.raises(ValueError, match="body of 03_residual wants 00_conv"):
        convert(network, variables)


CHANNEL = arch.Activation(0.5, 1.0, "channel")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        pytest.param(
            (arch.Flatten(), arch.Dense(4), arch.Activation(), arch.Activation(), arch.Dense(2)),
            "03_activation has no weights between",
            id="neurons-behind-neurons",
        ),
        pytest.param(
            (arch.Flatten(), arch.Dense(4), arch.Activation()),
            "ends without weights; want a Dense last",
            id="ends-in-neurons",
        ),
        pytest.param(
            (arch.Conv(4, (3, 3)), arch.AvgPool((2, 2)), arch.BatchNorm(), arch.Flatten()),
            "02_norm does not follow a Dense or Conv",
            id="batch-norm-behind-a-pool",
        ),
        pytest.param(
            (arch.Conv(2, (1, 1)), arch.Flatten(), CHANNEL, arch.Dense(2)),
            "00_conv cannot take up the 32 thetas",
            id="a-theta-for-each-pixel",
        ),
        pytest.param(
            (arch.Concat(((), (arch.Conv(2, (1, 1)),))), arch.Flatten(), CHANNEL, arch.Dense(2)),
            "00_concat cannot take up the 48 thetas",
            id="a-theta-for-each-pixel-of-joined-branches",
        ),
    ],
)
def test_networks_without_a_rule_are_refused(layers, message):
    network = arch.Network("odd", layers)
    with pytest.raises(ValueError, match=message):
        convert(network, random_variables(network, (4, 4, 1)))


def test_bad_measurements_are_refused():
    network = dense_network()
    variables, images = random_variables(network, (4, 4, 1)), random_images(2, (4, 4, 1))
    for percentile in (0, 101, float("nan")):
        with pytest.raises(ValueError, match="want it in \\(0, 100\\]"):
            measure_scales(network, variables, images, percentile=percentile)
    with pytest.raises(ValueError, match="no images to measure on"):
        measure_scales(network, variables, images[:0])
    with pytest.raises(ValueError, match="no images to measure on"):
        measure_output_scale(network, variables, images[:0])
    silent = jax.tree.map(jnp.zeros_like, variables)
    with pytest.raises(ValueError, match="02_activation is zero on every image"):
        measure_scales(network, silent, images)


def test_b6_scales_are_a_dict_by_path():
    network = arch.Network("one", (arch.Dense(2), arch.Activation(), arch.Dense(2)))
    variables = jax.jit(ANN(network.layers).init)(jax.random.key(0), jnp.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"scales is 1\.5; want a dict from the path"):
        convert(network, variables, scales=1.5)
