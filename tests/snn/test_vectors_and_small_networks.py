"""Images `[B, D]`, networks without a hidden layer, and networks with a single output."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import ann_logits, limit, random_images, random_variables

from snnjax import spike_rate
from snnjax.analysis import energy
from snnjax.analysis.conversion_error import measure_conversion_error
from snnjax.analysis.layer_tables import describe_layers
from snnjax.analysis.metrics import accuracy
from snnjax.analysis.synapses import find_synapses
from snnjax.analysis.synaptic_operations import count_operations, make_observer
from snnjax.conversion.calibration import calibrate
from snnjax.conversion.conversion import convert
from snnjax.conversion.threshold_balancing import BALANCING_RULES, measure_output_scale
from snnjax.networks import architecture as arch
from snnjax.snn.answers import classify, find_ties
from snnjax.snn.early_exit import choose_margin, margins, simulate_until
from snnjax.snn.encoding import CONSTANT, DETERMINISTIC, ENCODINGS, temporal
from snnjax.snn.noise import make_noise, salt_and_pepper
from snnjax.snn.readout import leaky_layer
from snnjax.snn.simulation import simulate
from snnjax.training.output_recording import RecordingSettings
from snnjax.training.plasticity_rules import make_plasticity
from snnjax.training.readout_learning import learn_on_images

KEY = jax.random.PRNGKey(0)
ACTIVE = arch.Activation(0.25, 1.5)
MLP = arch.Network("mlp", [arch.Dense(8), ACTIVE, arch.Dense(8), ACTIVE, arch.Dense(3)])
FLAT = arch.Network("flat", (arch.Flatten(), *MLP.layers))
VECTORS = random_images(4, (6,))


def moved(variables):
    """Parameters of MLP for FLAT, whose layers have one index more."""
    return {"params": {f"{int(n[:2]) + 1:02d}{n[2:]}": p for n, p in variables["params"].items()}}


@pytest.mark.parametrize("engine", ["fast", "plain"])
@pytest.mark.parametrize("encoding", [*ENCODINGS.values(), temporal(3)])
def test_vectors_give_what_the_same_images_give(engine, encoding):
    variables = random_variables(MLP, (6,))
    run = {"num_steps": 4, "engine": engine, "encoding": encoding, "key": KEY}
    found = simulate(MLP, convert(MLP, variables), VECTORS, **run)
    flat = convert(FLAT, moved(variables))
    maps = simulate(FLAT, flat, VECTORS.reshape(4, 1, 1, 6), **run)
    if not encoding.needs_key:
        np.testing.assert_allclose(found.values, maps.values, atol=1e-5)
    assert found.spikes.shape == (4, 4)


def test_vectors_go_through_every_stage():
    variables = random_variables(MLP, (6,))
    scale = measure_output_scale(MLP, variables, VECTORS)
    params = convert(MLP, variables, output_scale=scale)
    np.testing.assert_allclose(
        limit(MLP, params, VECTORS), ann_logits(MLP, variables, VECTORS), atol=1e-5
    )
    for rule in ("unit", "largest", "percentile", "model_norm", "data_norm"):
        assert len(BALANCING_RULES[rule](MLP, variables, VECTORS)) == 2
    assert set(calibrate(MLP, params, VECTORS, num_steps=2)) == set(params)
    assert len(measure_conversion_error(MLP, params, VECTORS, num_steps=2).layers) == 2
    assert simulate_until(MLP, params, VECTORS, margin=0.1, num_steps=3).steps.shape == (4,)
    rows = describe_layers(MLP, variables, (6,))
    assert [row.shape for row in rows] == [(), (8,), (), (8,), ()]
    noisy = simulate(MLP, params, VECTORS, num_steps=2, noise=make_noise(0.5), key=KEY)
    assert noisy.values.shape == (2, 4, 3)
    changed = salt_and_pepper(KEY, VECTORS, 0.5) != VECTORS
    assert 0 < changed.sum() < changed.size
    assert (changed.any(1) & ~changed.all(1)).any()  # each entry is a pixel of its own


@pytest.fixture(scope="module", params=[1, 3], ids=["one-logit", "three-logits"])
def linear(request):
    network = arch.Network("linear", (arch.Dense(request.param),))
    variables = random_variables(network, (6,))
    return network, variables, convert(network, variables, output_scale=1.0)


@pytest.mark.parametrize("engine", ["fast", "plain"])
def test_b8_a_network_without_a_hidden_layer_simulates(linear, engine):
    network, variables, params = linear
    logits = ann_logits(network, variables, VECTORS)
    result = simulate(network, params, VECTORS, num_steps=3, engine=engine)
    np.testing.assert_allclose(result.values[-1], logits, atol=1e-5)
    assert result.spikes.shape == (3, 4)
    assert spike_rate(result).shape == (3,)
    assert result.layer_spikes == result.neurons == {}


@pytest.mark.parametrize("linear", [1], indirect=True)
def test_b8_a_network_without_a_hidden_layer_goes_through_every_stage(linear):
    network, variables, params = linear
    logits = ann_logits(network, variables, VECTORS)
    for rule in ("unit", "largest", "percentile", "model_norm", "data_norm"):
        assert BALANCING_RULES[rule](network, variables, VECTORS) == {}
    assert BALANCING_RULES["least_error"](network, variables, VECTORS, num_steps=2) == {}
    assert calibrate(network, params, VECTORS, num_steps=2).keys() == params.keys()
    report = measure_conversion_error(network, params, VECTORS, num_steps=2)
    assert (report.layers, report.agreement) == ({}, 1.0)
    assert len(describe_layers(network, variables, (6,))) == 1
    answer = simulate_until(network, params, VECTORS, margin=0.0, num_steps=3)
    np.testing.assert_allclose(answer.values, logits, atol=1e-5)
    found = find_synapses(network, params, (6,))
    watched = simulate(
        network, params, VECTORS, num_steps=2, encoding=DETERMINISTIC,
        record=make_observer(found, DETERMINISTIC),
    )  # fmt: skip
    counts = count_operations(found, watched, DETERMINISTIC)
    compared = energy.compare(found, counts, energy.FLOAT32, num_steps=2)
    assert compared.ann > 0
    classes = logits.shape[-1]
    learnt, currents = learn_on_images(
        network, params, leaky_layer(jnp.eye(classes)), np.tile(VECTORS, (13, 1)),
        np.zeros(52, int), KEY, make_plasticity(), recording=RecordingSettings(2),
    )  # fmt: skip
    assert learnt["weights"].shape == (classes, classes)
    assert currents.shape == (2, 52, classes)


def test_b8_the_sign_of_a_single_logit_is_the_answer():
    values = jnp.array([[[0.5], [-0.25], [0.0]]])  # [T, B, K]
    np.testing.assert_array_equal(classify(values), [[1, 0, 0]])
    np.testing.assert_array_equal(find_ties(values), [[False, False, True]])
    np.testing.assert_array_equal(margins(values), [[0.5, 0.25, 0.0]])
    np.testing.assert_allclose(accuracy(values, np.array([1, 0, 1])), [2 / 3])
    grown = jnp.concatenate([values, 2 * values])
    assert choose_margin(grown, np.array([1, 0, 0]), tolerance=0.0).full == 1.0
    assert CONSTANT.largest == np.inf
