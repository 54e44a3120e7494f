"""The scan over time: against a slow loop, under jit and vmap, in bounded memory."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import (
    ann_logits,
    branching_network,
    dense_network,
    random_images,
    random_variables,
    rates,
    residual_network,
)

from snnjax.analysis import metrics
from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.networks import synapse
from snnjax.networks.ann import ANN
from snnjax.runtime import convolution
from snnjax.snn import noise, simulation, spiking
from snnjax.snn.encoding import CONSTANT, DETERMINISTIC, RATE
from snnjax.snn.neuron import DOUBLE_THRESHOLD, EXACT_CHARGE, INTEGRATE_AND_FIRE, NEURONS
from snnjax.snn.readout import ACCUMULATE, COUNT
from snnjax.snn.simulation import prepare, simulate

SHAPE = (4, 4, 1)
ALPHA = 0.25


@pytest.fixture(scope="module")
def dense():
    network = dense_network(ALPHA)
    return network, random_variables(network, SHAPE)


def dyadic(tree, step=1 / 16):
    """Rounded so that every sum in the network is exact in float32."""
    return jax.tree.map(lambda leaf: jnp.round(leaf / step) * step, tree)


def slow_simulation(params, images, num_steps):
    """Eqs. 2-4 and 12 for the dense network, neuron by neuron, in float64."""
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
@pytest.mark.parametrize("encoding", [CONSTANT, RATE, DETERMINISTIC], ids=["c", "r", "d"])
def test_eager_equals_jit(dense, model, encoding):
    network, variables = dense
    params, images = convert(network, dyadic(variables)), dyadic(random_images(3, SHAPE))
    run = {"num_steps": 3, "neuron": model, "encoding": encoding, "key": jax.random.key(7)}
    compiled = simulate(network, params, images, **run)
    with jax.disable_jit():
        eager = simulate(network, params, images, **run)
    np.testing.assert_array_equal(compiled.spikes, eager.spikes)
    np.testing.assert_allclose(compiled.values, eager.values, rtol=1e-6)


def test_vmap_over_every_number_equals_a_loop(dense):
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
    by_two = jax.lax.map(lambda row: values(*row), sweep, batch_size=2)  # and one left over
    np.testing.assert_allclose(by_two, swept, atol=1e-4)


def test_two_batches_and_two_thresholds_share_one_compilation(dense):
    network, variables = dense
    before = simulation._simulate._cache_size()
    for seed, gain in ((0, 1.0), (1, 0.5)):
        params = convert(network, variables, gain=gain)
        simulate(network, params, random_images(7, SHAPE, seed), num_steps=5)
    assert simulation._simulate._cache_size() == before + 1


def test_memory_does_not_grow_with_time():
    network = arch.NET2
    variables = ANN(network.layers).init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    params, images = convert(network, variables), jnp.zeros((32, 28, 28, 1))

    def bytes_of(num_steps):
        compiled = simulation._simulate.lower(
            params, images, None, 0, None, None, network=network, num_steps=num_steps,
            neuron=EXACT_CHARGE, encoding=CONSTANT, readout=ACCUMULATE, pre_steps=0,
            shown_steps=0, chunk_steps=1, first_alone=False, parts=0,
        ).compile().memory_analysis()  # fmt: skip
        return compiled.temp_size_in_bytes, compiled.output_size_in_bytes

    (short, few), (long, many) = bytes_of(8), bytes_of(256)
    assert long == short
    assert many - few == (256 - 8) * 32 * 4 * (10 + 1)  # values and spike totals, as asked for


def test_spikes_are_counted_as_they_are_recorded():
    network = residual_network()
    params = convert(network, random_variables(network, (8, 8, 3)))
    result = simulate(network, params, random_images(2, (8, 8, 3)), num_steps=6, record=True)
    sizes = spiking.neurons(network, params["layers"], (8, 8, 3))
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


WAYS = {
    "constant": {},
    "rate": {"encoding": RATE},
    "settles": {"shown_steps": 3},
    "deterministic": {"neuron": DOUBLE_THRESHOLD, "encoding": DETERMINISTIC},
    "srp": {"neuron": NEURONS["residual-mask"], "pre_steps": 3},
    "cos": {"neuron": NEURONS["offset"], "pre_steps": 2, "encoding": RATE},
}


def in_all_ways(name, values, quick):
    """Cases of each value with each way to simulate; those not in `quick` are slow tests."""
    cases = [
        pytest.param(
            value, how, id=f"{way}-{value}", marks=() if (value, way) in quick else pytest.mark.slow
        )
        for way, how in WAYS.items()
        for value in values
    ]
    return pytest.mark.parametrize((name, "how"), cases)


def assert_same_spikes(one, other, tolerance=1e-6):
    """Values up to rounding; spikes and every count of them to the last."""
    for name in ("spikes", "layer_spikes", "recording"):
        jax.tree.map(np.testing.assert_array_equal, getattr(one, name), getattr(other, name))
    np.testing.assert_allclose(one.values, other.values, rtol=tolerance, atol=tolerance)


@in_all_ways(
    "chunk_steps",
    [2, 3, 7, 100],
    [*((3, way) for way in WAYS), *((n, "constant") for n in (2, 7, 100))],
)
def test_many_timesteps_at_once_send_the_spikes_of_one_by_one(dense, how, chunk_steps):
    network, variables = dense
    params, images = convert(network, dyadic(variables)), dyadic(random_images(3, SHAPE))
    run = {"num_steps": 7, "key": jax.random.key(1), "record": True, **how}
    one = simulate(network, params, images, chunk_steps=1, **run)
    many = simulate(network, params, images, chunk_steps=chunk_steps, **run)
    assert float(jnp.abs(one.spikes[-1]).min()) > 3
    assert_same_spikes(one, many)


@in_all_ways("place", range(7), [(0, "constant"), (2, "settles"), (4, "srp"), (6, "rate")])
def test_the_first_layers_alone_send_the_spikes_of_all_at_once(place, how, monkeypatch):
    network = replace(residual_network(), name=f"from {place}")  # compiled for this place
    assert len(network.layers) > 6
    params = convert(network, dyadic(random_variables(network, (8, 8, 3))))
    run = {"num_steps": 20, "key": jax.random.key(1), "record": True, **how}
    images, asked = dyadic(random_images(3, (8, 8, 3))), []
    one = simulate(network, params, images, chunk_steps=1, **run)

    def until(*arguments):
        asked.append(arguments)
        return place

    monkeypatch.setattr(simulation, "choose_chunk", lambda *sizes: 3)
    monkeypatch.setattr(simulation, "light_until", until)
    many = simulate(network, params, images, **run)
    assert asked
    assert float(jnp.abs(one.spikes[-1]).min()) > 3
    assert_same_spikes(one, many)


@pytest.mark.parametrize(
    ("network", "shape", "first"),
    [
        pytest.param(arch.NET1, (28, 28, 1), "01_dense", id="all-are-heavy"),
        pytest.param(arch.VGG16, (32, 32, 3), "25_conv", id="from-4x4-pixels"),
        pytest.param(arch.RESNET18, (32, 32, 3), "14_residual", id="blocks"),
        pytest.param(arch.RESNET20, (32, 32, 3), "24_dense", id="none-is-heavy"),
    ],
)
def test_the_first_layer_with_more_weights_than_spikes(network, shape, first):
    variables = jax.eval_shape(ANN(network.layers).init, jax.random.key(0), jnp.zeros((1, *shape)))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), variables)
    layers = convert(network, zeros)["layers"]
    place = simulation.light_until(network, layers, spiking.neurons(network, layers, shape))
    assert arch.named(network.layers)[place][0] == first


def leaking(params, leak):
    """The same with a leak in every neuron."""
    inner = {k: leaking(v, leak) if isinstance(v, dict) else v for k, v in params.items()}
    return inner | ({"leak": jnp.float32(leak)} if "positive" in params else {})


def normalised_network():
    """A border beyond the image that flows at every timestep, like a bias."""
    normalise = arch.Normalise((0.5, 0.4, 0.6), (0.2, 0.3, 0.25))
    return arch.Network("normalised", (normalise, *residual_network().layers))


COUNTED = {
    "constant": {},
    "rate": {"encoding": RATE},
    "settles": {"shown_steps": 3},
    "rate-settles": {"shown_steps": 2, "encoding": RATE},
    "integrate-and-fire": {"neuron": INTEGRATE_AND_FIRE, "encoding": DETERMINISTIC},
}
QUICK = [
    *((dense_network, 3, way) for way in COUNTED), (dense_network, 1, "constant"),
    (residual_network, 1, "settles"), (branching_network, 3, "constant"),
    (normalised_network, 1, "integrate-and-fire"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "chunk_steps", "how"),
    [
        pytest.param(
            kind, steps, how, id=f"{way}-{steps}-{kind.__name__}",
            marks=() if (kind, steps, way) in QUICK else pytest.mark.slow,
        )
        for way, how in COUNTED.items()
        for steps in (1, 3)
        for kind in (dense_network, residual_network, branching_network, normalised_network)
    ],
)  # fmt: skip
def test_counts_of_spikes_cause_what_the_spikes_do(kind, chunk_steps, how):
    """A leak of 1 leaks nothing, and goes by what each timestep's spikes cause."""
    network, shape = kind(), (8, 8, 3)
    params = convert(network, random_variables(network, shape), shift=0.125)
    run = {"num_steps": 7, "key": jax.random.key(1), "record": True, **how}
    assert spiking.goes_by_counts(network, params["layers"], run.get("neuron", EXACT_CHARGE))
    by_counts, by_spikes = (
        simulate(network, given, random_images(3, shape), chunk_steps=chunk_steps, **run)
        for given in (params, leaking(params, 1.0))
    )
    assert float(by_counts.spikes[-1].min()) > 10
    assert_same_spikes(by_counts, by_spikes, tolerance=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=() if name in ("exact-charge", "double-threshold") else pytest.mark.slow
        )
        for name in NEURONS
    ],
)
def test_neurons_kept_by_rows_send_what_they_send_as_maps(name, monkeypatch):
    """With numbers for the layer, for each channel, and for each neuron, in one network."""
    active, shape, model = arch.Activation(0.25, 1.5), (6, 4, 3), NEURONS[name]
    inside = (arch.Conv(5, (3, 3)), active, arch.Conv(5, (3, 3)))
    network = arch.Network("rows", (
        arch.Conv(5, (3, 3)), active, arch.Residual(inside), active, arch.AvgPool((2, 2)),
        arch.Flatten(), arch.Dense(8), active, arch.Dense(3),
    ))  # fmt: skip
    params = convert(network, random_variables(network, shape), shift=0.125)
    shapes, draw = spiking.neurons(network, params["layers"], shape), np.random.default_rng(3)
    for path, of_one in shapes.items():
        numbers = spiking.inside(params["layers"], path)
        for number, drawn_for in (("positive", of_one[-1:]), ("initial", of_one)):
            factor = draw.uniform(0.5, 1.5, drawn_for).astype(np.float32)
            numbers[number] = numbers[number] * factor
        numbers["shift"] = draw.uniform(-0.2, 0.2, of_one[-1:]).astype(np.float32)
    steps = 1 if model.revise else 0
    run = {"num_steps": 6 + 10 * steps, "neuron": model, "pre_steps": steps, "record": True}
    images = random_images(2, shape)
    kept = simulate(network, params, images, **run)
    monkeypatch.setattr(synapse, "rows", tuple)
    maps = arch.Network("maps", network.layers)  # another name is another program
    wanted = simulate(maps, params, images, **run)
    assert float(kept.spikes[-1].min()) > 10
    for path, spikes in kept.recording.items():
        assert spikes.shape == (run["num_steps"], 2, *shapes[path])
    assert_same_spikes(kept, wanted, tolerance=1e-5)


def test_a_map_is_kept_by_rows_on_a_cpu_alone(monkeypatch):
    of_channels, of_neurons = jnp.arange(2.0), jnp.arange(24.0).reshape(4, 3, 2)
    for backend, kept in (("cpu", (4, 6)), ("gpu", (4, 3, 2))):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        assert synapse.rows((4, 3, 2)) == kept and synapse.rows((7,)) == (7,)
        assert synapse.rows((4, 3, 32)) == (4, 3, 32)
        assert synapse.in_rows(3.0, (4, 3, 2)).shape == ()
        for values in (of_channels, of_neurons):
            laid_out = jnp.broadcast_to(synapse.in_rows(values, (4, 3, 2)), kept)
            as_map = np.broadcast_to(values, (4, 3, 2))
            np.testing.assert_array_equal(laid_out.reshape(4, 3, 2), as_map)


def test_a_leak_goes_by_charges(dense):
    network, variables = dense
    images = random_images(3, SHAPE)
    kept, lost = convert(network, variables), convert(network, variables, leak=0.5)
    assert not spiking.goes_by_counts(network, lost["layers"], EXACT_CHARGE)
    assert not spiking.goes_by_counts(network, kept["layers"], DOUBLE_THRESHOLD)
    there, wanted = simulate(network, lost, images, num_steps=9), leaking(kept, 0.5)
    np.testing.assert_array_equal(
        there.spikes, simulate(network, wanted, images, num_steps=9).spikes
    )
    assert (there.spikes[-1] < simulate(network, kept, images, num_steps=9).spikes[-1]).all()


def test_many_timesteps_at_once_through_branches_and_what_an_observer_sees():
    network = residual_network()
    params = convert(network, random_variables(network, (8, 8, 3)))
    images, key = random_images(2, (8, 8, 3)), jax.random.key(5)
    observe = simulation.Observer(
        lambda frame, spikes: (frame.sum((1, 2, 3)), sum(s.sum() for s in spikes.values()))
    )
    run = {"num_steps": 5, "encoding": RATE, "key": key, "record": observe}
    one = simulate(network, params, images, chunk_steps=1, **run)
    many = simulate(network, params, images, chunk_steps=5, **run)
    np.testing.assert_array_equal(one.spikes, many.spikes)
    jax.tree.map(np.testing.assert_array_equal, one.recording, many.recording)
    assert len(np.unique(one.recording[0])) > 5  # another frame at each timestep


@pytest.mark.parametrize("padding", ["SAME", ((2, 0), (0, 2))])
@pytest.mark.parametrize("by_counts", [False, True])
def test_many_frames_are_computed_by_other_products_with_the_same_answer(
    padding, by_counts, monkeypatch
):
    """By counts a spike moves here and there, which passes the bound in the first half alone."""
    wide, active = arch.Conv(128, (3, 3), padding=padding), arch.Activation(0.5, 1.0)
    network = arch.Network("wide", (
        wide, active, arch.Residual((wide, active)), arch.Conv(128, (3, 3), groups=2),
        arch.AvgPool((4, 4)), arch.Flatten(), arch.Dense(3),
    ))  # fmt: skip
    params = convert(network, random_variables(network, (8, 8, 3)))
    params = params if by_counts else leaking(params, 1.0)
    many = spiking.prepared(network.layers, params["layers"])
    if jax.default_backend() == "cpu":
        assert many["02_residual"]["body"]["00_conv"]["kernel"].winograd.shape == (16, 128, 128)
    for name in ("00_conv", "03_conv"):
        assert many[name]["kernel"] is params["layers"][name]["kernel"]
    images = random_images(8, (8, 8, 3))
    few = [simulate(network, params, images[i : i + 4], num_steps=16) for i in (0, 4)]
    used = []
    real = convolution.conv_by_winograd
    monkeypatch.setattr(
        convolution, "conv_by_winograd", lambda *a, **k: used.append(1) or real(*a, **k)
    )
    many = simulate(network, params, images, num_steps=16)
    assert bool(used) == (jax.default_backend() == "cpu")
    ready = prepare(network, params)
    assert prepare(network, ready)["layers"]["02_residual"] == ready["layers"]["02_residual"]
    used.clear()
    first = simulate(network, ready, images[:4], num_steps=16)
    assert bool(used) == (jax.default_backend() == "cpu")
    late = 8 if by_counts else 0
    np.testing.assert_allclose(first.values[late:], few[0].values[late:], atol=0.02)
    apart = np.concatenate([part.values for part in few], 1)
    np.testing.assert_allclose(many.values[late:], apart[late:], atol=0.02)
    moved = np.abs(many.spikes[-1] - np.concatenate([part.spikes[-1] for part in few]))
    assert moved.max() < 0.001 * many.spikes[-1].min()


@pytest.mark.parametrize(
    ("batch_size", "num_steps", "chosen", "of_few_weights"),
    [
        (1, 8, 8, 8), (1, 300, 64, 64), (2, 300, 32, 32), (4, 300, 16, 1), (16, 8, 4, 1),
        (128, 8, 1, 1), ("any", 8, 1, 1),
    ],
)  # fmt: skip
def test_how_many_timesteps_at_once(batch_size, num_steps, chosen, of_few_weights):
    assert simulation.choose_chunk(batch_size, num_steps, 2**21) == chosen
    assert simulation.choose_chunk(batch_size, num_steps, 2**16) == of_few_weights


def test_the_weights_of_a_network_are_its_kernels(dense):
    network, variables = dense
    wanted = sum(16 * 8 if name == "01_dense" else 8 * 8 for name in ("01_dense", "03_dense"))
    for tree in (variables, convert(network, variables)):
        assert simulation.weights_of(tree) == wanted + 8 * 3


def test_memory_grows_with_the_timesteps_at_once_alone(dense):
    network, variables = dense
    params, images = convert(network, variables), random_images(8, SHAPE)

    def bytes_of(num_steps, chunk_steps):
        return simulation._simulate.lower(
            params, images, None, 0, None, None, network=network, num_steps=num_steps,
            neuron=EXACT_CHARGE, encoding=CONSTANT, readout=ACCUMULATE, pre_steps=0,
            shown_steps=0, chunk_steps=chunk_steps, first_alone=False, parts=0,
        ).compile().memory_analysis().temp_size_in_bytes  # fmt: skip

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


def test_counting_needs_its_scale_and_approaches_the_logits(dense):
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
        ({"images": np.zeros((0, 4, 4, 1), np.float32)}, "with nothing empty"),
        ({"images": np.zeros((2, 4, 4, 1), np.uint8)}, "images are uint8; want floats"),
        ({"images": np.full((2, 4, 4, 1), np.nan, np.float32)}, "images hold NaN or Inf"),
        ({"images": np.zeros((2, 5, 4, 1), np.float32)}, r"shape \(5, 4, 1\) do not fit"),
        ({"images": np.zeros((2, 4, 4, 3), np.float32)}, r"shape \(4, 4, 3\) do not fit"),
        ({"chunk_steps": 0}, "chunk_steps is 0; want at least 1 timestep at once"),
        ({"encoding": RATE}, r"pass key=jax.random.key\(seed\)"),
    ],
)
def test_bad_input_is_named_before_any_work(dense, change, message):
    network, variables = dense
    params = convert(network, variables)
    call = {"params": params, "images": random_images(2, SHAPE), "num_steps": 2, **change}
    with pytest.raises(ValueError, match=message):
        simulate(network, **call)


@pytest.mark.parametrize("levels", [2, 3, 6])
def test_a_network_that_settles_is_the_quantised_ann_and_falls_silent(levels):
    """Whatever the depth: the counts of every layer reach those of the levels, and stay."""
    network = residual_network()
    params = convert(network, random_variables(network, (8, 8, 3)))
    images = random_images(6, (8, 8, 3))
    result = simulate(network, params, images, num_steps=60, shown_steps=levels, record=True)
    rates_of_ann, logits = rates(network, params, images, levels=levels)
    for path, wanted in rates_of_ann.items():
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
