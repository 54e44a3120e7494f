"""Tests of the simulation: against a slow loop, under jit and vmap, memory, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import (
    ann_logits,
    dense_network,
    dyadic,
    random_images,
    random_variables,
    rates,
    residual_network,
)

from snnjax.analysis import metrics
from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.networks import known_networks
from snnjax.networks.ann import ANN
from snnjax.snn import noise, simulation
from snnjax.snn.encoding import CONSTANT, DETERMINISTIC, RATE
from snnjax.snn.engine import Observer, Task, neuron_shapes
from snnjax.snn.neurons import DOUBLE_THRESHOLD, EXACT_CHARGE, NEURONS
from snnjax.snn.readout import ACCUMULATE, COUNT
from snnjax.snn.simulation import simulate
from snnjax.snn.stimulus import Stimulus

SHAPE = (4, 4, 1)
ALPHA = 0.25


@pytest.fixture(scope="module")
def dense():
    network = dense_network(ALPHA)
    return network, random_variables(network, SHAPE)


def slow_simulation(params, images, num_steps):
    """Spikes of the dense network by eqs. 2-4 and 12, neuron by neuron, in float64."""
    layers = [
        {k: np.asarray(v, np.float64) for k, v in params["layers"][name].items()}
        for name in ("01_dense", "03_dense", "05_dense")
    ]
    outputs = []
    for image in np.asarray(images, np.float64).reshape(len(images), -1):
        membranes = [np.full(8, 0.5), np.full(8, 0.5)]
        total, values = np.zeros(3), []
        for t in range(num_steps):
            x = image
            for layer, v in zip(layers[:2], membranes, strict=True):
                current, x = x @ layer["kernel"] + layer["bias"], np.zeros(8)
                for i in range(8):
                    m = v[i] + current[i]
                    if m >= 1.0:
                        x[i], m = 1.0, m - 1.0
                    elif m <= -1.0 / ALPHA:
                        x[i], m = -1.0, m + 1.0 / ALPHA
                    v[i] = m
            total = total + x @ layers[2]["kernel"] + layers[2]["bias"]
            values.append(total / (t + 1))
        outputs.append(values)
    return np.swapaxes(outputs, 0, 1)


def test_spikes_equal_a_float64_loop_on_dyadic_weights(dense):
    network, variables = dense
    params = convert(network, dyadic(variables))
    images = dyadic(random_images(5, SHAPE))
    fast = simulate(network, params, images, num_steps=16, neuron=DOUBLE_THRESHOLD)
    assert float(jnp.abs(fast.spikes[-1]).min()) > 10
    np.testing.assert_array_equal(
        fast.values, slow_simulation(params, images, 16).astype(np.float32)
    )


@pytest.mark.parametrize("levels", [2, 4, 8])
def test_one_hidden_layer_is_the_quantised_ann_at_as_many_steps_as_levels(levels):
    active = arch.Activation(ALPHA, 2.0)
    network = arch.Network("one", (arch.Flatten(), arch.Dense(32), active, arch.Dense(3)))
    variables = dyadic(random_variables(network, SHAPE), 1 / 64)
    images = dyadic(random_images(20, SHAPE))
    values = simulate(network, convert(network, variables), images, num_steps=levels).values[-1]
    logits = ann_logits(network, variables, images, levels=levels)
    np.testing.assert_allclose(values, logits, atol=1e-5)
    smooth = ann_logits(network, variables, images)
    assert float(jnp.abs(smooth - logits).max()) > 1e-2


@pytest.mark.parametrize("model", NEURONS.values(), ids=NEURONS)
@pytest.mark.parametrize(
    "encoding",
    [CONSTANT, *(pytest.param(e, marks=pytest.mark.slow) for e in (RATE, DETERMINISTIC))],
    ids=["c", "r", "d"],
)
def test_eager_equals_jit(dense, model, encoding):
    network, variables = dense
    params, images = convert(network, dyadic(variables)), dyadic(random_images(3, SHAPE))
    run = {"num_steps": 3, "neuron": model, "encoding": encoding, "key": jax.random.key(7)}
    compiled = simulate(network, params, images, **run)
    with jax.disable_jit():
        eager = simulate(network, params, images, **run)
    np.testing.assert_array_equal(compiled.spikes, eager.spikes)
    np.testing.assert_allclose(compiled.values, eager.values, rtol=1e-6)


@pytest.mark.slow
def test_vmap_over_all_parameters_equals_a_loop(dense):
    network, variables = dense
    images, key = random_images(6, SHAPE), jax.random.key(0)

    def values(theta, leak, gain, initial, density):
        params = convert(
            network, variables, gain=gain, initial=initial, leak=leak,
            scales={"02_activation": theta},
        )  # fmt: skip
        noisy = noise.salt_and_pepper(key, images, density)
        return simulate(
            network, params, noisy, num_steps=4, neuron=DOUBLE_THRESHOLD, encoding=RATE, key=key
        ).values

    sweep = jnp.array(
        [[0.5, 1.0, 0.9, 0.0, 0.0], [1.0, 0.9, 1.0, 0.5, 0.1], [2.0, 0.8, 0.5, 0.25, 0.3]]
    )
    swept = jax.jit(jax.vmap(values))(*sweep.T)
    for row, found in zip(sweep, swept, strict=True):
        np.testing.assert_allclose(found, values(*row), atol=1e-4)
    assert float(jnp.abs(swept[0] - swept[1]).max()) > 0.1
    by_two = jax.lax.map(lambda row: values(*row), sweep, batch_size=2)  # and a rest of one
    np.testing.assert_allclose(by_two, swept, atol=1e-4)


def test_two_batches_and_two_thresholds_share_one_compilation(dense):
    network, variables = dense
    before = simulation._simulate._cache_size()
    for seed, gain in ((0, 1.0), (1, 0.5)):
        params = convert(network, variables, gain=gain)
        simulate(network, params, random_images(7, SHAPE, seed), num_steps=5)
    assert simulation._simulate._cache_size() == before + 1


def memory_of(network, params, images, num_steps, chunk_steps):
    """XLA's memory analysis of a compiled simulation."""
    task = Task(network, EXACT_CHARGE, CONSTANT, ACCUMULATE)
    lowered = simulation._simulate.lower(
        params, Stimulus(images), None, task=task, num_steps=num_steps, pre_steps=0,
        chunk_steps=chunk_steps, engine="fast",
    )  # fmt: skip
    return lowered.compile().memory_analysis()


def test_memory_does_not_grow_with_time():
    network = known_networks.NET2
    variables = jax.jit(ANN(network.layers).init)(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    params, images = convert(network, variables), jnp.zeros((32, 28, 28, 1))

    def bytes_of(num_steps):
        memory = memory_of(network, params, images, num_steps, chunk_steps=1)
        return memory.temp_size_in_bytes, memory.output_size_in_bytes

    (short, few), (long, many) = bytes_of(8), bytes_of(256)
    assert long == short
    assert many - few == (256 - 8) * 32 * 4 * (10 + 1)  # values and spike counts of the result


def test_spike_counts_equal_the_recorded_spikes():
    network = residual_network()
    params = convert(network, random_variables(network, (8, 8, 3)))
    result = simulate(network, params, random_images(2, (8, 8, 3)), num_steps=6, record=True)
    sizes = neuron_shapes(network, params["layers"], (8, 8, 3))
    assert set(result.recording) == set(sizes) == set(arch.activations(network))
    total = np.zeros((6, 2))
    for path, spikes in result.recording.items():
        assert spikes.shape == (6, 2, *sizes[path])
        assert np.isin(spikes, (-1, 0, 1)).all()
        per_step = np.abs(spikes).reshape(6, 2, -1).sum(-1)
        np.testing.assert_array_equal(result.layer_spikes[path], per_step.sum(0))
        assert result.neurons[path] == np.prod(sizes[path])
        total += per_step.cumsum(0)
    np.testing.assert_array_equal(result.spikes, total)
    neurons = sum(map(int, result.neurons.values()))
    np.testing.assert_allclose(
        metrics.spike_rate(result), total.mean(1) / neurons / np.arange(1, 7), rtol=1e-6
    )


def test_chunks_in_a_network_with_branches_and_an_observer():
    network = residual_network()
    params = convert(network, random_variables(network, (8, 8, 3)))
    images, key = random_images(2, (8, 8, 3)), jax.random.key(5)
    observe = Observer(
        lambda frame, spikes: (frame.sum((1, 2, 3)), sum(s.sum() for s in spikes.values()))
    )
    run = {"num_steps": 5, "encoding": RATE, "key": key, "record": observe}
    one = simulate(network, params, images, chunk_steps=1, **run)
    many = simulate(network, params, images, chunk_steps=5, **run)
    np.testing.assert_array_equal(one.spikes, many.spikes)
    jax.tree.map(np.testing.assert_array_equal, one.recording, many.recording)
    assert len(np.unique(one.recording[0])) > 5  # the input differs between timesteps


def test_memory_grows_with_chunk_steps_only(dense):
    network, variables = dense
    params, images = convert(network, variables), random_images(8, SHAPE)

    def bytes_of(num_steps, chunk_steps):
        return memory_of(network, params, images, num_steps, chunk_steps).temp_size_in_bytes

    assert bytes_of(64, 16) == bytes_of(256, 16) > 4 * bytes_of(256, 1)


def test_a_draw_depends_on_the_image_and_not_on_the_batch(dense):
    network, variables = dense
    params, images = convert(network, dyadic(variables)), random_images(6, SHAPE)
    run = {"num_steps": 5, "encoding": RATE, "key": jax.random.key(3), "chunk_steps": 1}
    whole = simulate(network, params, images, **run).values
    parts = [simulate(network, params, images[i : i + 2], first=i, **run).values for i in (0, 2, 4)]
    np.testing.assert_array_equal(whole, jnp.concatenate(parts, axis=1))
    again = simulate(network, params, images, **{**run, "key": jax.random.key(4)}).values
    assert not (whole == again).all()


def test_longer_runs_begin_with_the_shorter_ones(dense):
    network, variables = dense
    params, images = convert(network, variables), random_images(3, SHAPE)
    run = {"encoding": RATE, "key": jax.random.key(0), "chunk_steps": 1}
    long = simulate(network, params, images, num_steps=9, **run).values
    short = simulate(network, params, images, num_steps=4, **run).values
    np.testing.assert_array_equal(long[:4], short)


def test_count_needs_an_output_scale_and_approaches_the_logits(dense):
    network, variables = dense
    images = random_images(10, SHAPE)
    with pytest.raises(ValueError, match="no output_scale, which counting spikes needs"):
        simulate(network, convert(network, variables), images, num_steps=2, readout=COUNT)
    logits = ann_logits(network, variables, images)
    scale = float(jnp.abs(logits).max())
    params = convert(network, variables, output_scale=scale)
    counts = simulate(network, params, images, num_steps=300, readout=COUNT).values
    np.testing.assert_allclose(counts[-1] / 300 * scale, logits, atol=0.02 * scale)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0; want a whole number of at least 1"),
        ({"num_steps": 2.5}, "num_steps is 2.5; want a whole number"),
        ({"params": {"layers": {}}}, "params holds layers; want gain, layers and"),
        ({"images": np.zeros((2, 4, 4), np.float32)}, r"images have shape \(2, 4, 4\); want \[B"),
        ({"images": np.zeros((0, 4, 4, 1), np.float32)}, "with no empty axis"),
        ({"images": np.zeros((2, 4, 4, 1), np.uint8)}, "images are uint8; want floats"),
        ({"images": np.full((2, 4, 4, 1), np.nan, np.float32)}, "images hold NaN or Inf"),
        ({"images": np.zeros((2, 5, 4, 1), np.float32)}, r"shape \(5, 4, 1\) do not fit"),
        ({"images": np.zeros((2, 4, 4, 3), np.float32)}, r"shape \(4, 4, 3\) do not fit"),
        ({"chunk_steps": 0}, "chunk_steps is 0; want a whole number of at least 1"),
        ({"engine": "fastest"}, "unknown engine 'fastest': want one of fast, plain"),
        ({"encoding": RATE}, r"pass key=jax.random.key\(seed\)"),
    ],
)
def test_bad_input_is_refused_before_compilation(dense, change, message):
    network, variables = dense
    params = convert(network, variables)
    call = {"params": params, "images": random_images(2, SHAPE), "num_steps": 2, **change}
    with pytest.raises(ValueError, match=message):
        simulate(network, **call)


@pytest.mark.parametrize(
    "levels", [3, *(pytest.param(levels, marks=pytest.mark.slow) for levels in (2, 6))]
)
def test_a_network_settles_to_the_quantised_ann_and_stops_firing(levels):
    """At any depth, the spike counts of every layer reach the quantised activations and stay."""
    network = residual_network()
    params = convert(network, random_variables(network, (8, 8, 3)))
    images = random_images(6, (8, 8, 3))
    result = simulate(network, params, images, num_steps=60, shown_steps=levels, record=True)
    found, logits = rates(network, params, images, levels=levels)
    for path, wanted in found.items():
        np.testing.assert_allclose(result.recording[path].sum(0) / levels, wanted, atol=1e-4)
        assert float(jnp.abs(result.recording[path][-1]).max()) == 0
    np.testing.assert_allclose(result.values[-1] * 60 / levels, logits, atol=1e-3)
    assert not np.allclose(result.values[levels - 1], logits, atol=1e-2)
    plain = simulate(network, params, images, num_steps=levels)
    np.testing.assert_allclose(result.values[:levels], plain.values, atol=1e-5)


def test_only_the_exact_charge_neuron_settles(dense):
    network, variables = dense
    params, images = convert(network, variables), random_images(2, SHAPE)
    how = {"num_steps": 4, "neuron": DOUBLE_THRESHOLD}
    with pytest.raises(ValueError, match="shown_steps is 2; want 0, or at least 1 with the exact"):
        simulate(network, params, images, shown_steps=2, **how)
    with pytest.raises(ValueError, match="shown_steps is -1"):
        simulate(network, params, images, num_steps=4, shown_steps=-1)
