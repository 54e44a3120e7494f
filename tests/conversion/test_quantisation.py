"""Integer networks against NumPy's int64: equality, without tolerance.

`SNNJAX_FUZZ` chooses the seeds of random networks, as in `networks/test_fuzz.py`.
"""

import os
from functools import lru_cache

import integer_networks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import compact_network, dense_network, limit, random_variables
from random_networks import draw_network, draw_scales, draw_variables

from snnjax.conversion.calibration import calibrate
from snnjax.conversion.conversion import convert
from snnjax.conversion.quantisation import quantise
from snnjax.io.integer_export import to_arrays
from snnjax.networks import architecture as arch
from snnjax.snn.early_exit import simulate_until
from snnjax.snn.encoding import DETERMINISTIC, RATE, Encoding
from snnjax.snn.fast.chunks import prepare_kernels
from snnjax.snn.neurons import AUGMENTED, EXACT_CHARGE, NEURONS
from snnjax.snn.noise import make_noise
from snnjax.snn.readout import COUNT, CURRENT, LEAKY
from snnjax.snn.simulation import simulate
from snnjax.snn.stimulus import Stimulus, frame

STEPS = 3
SHAPE = (6, 6, 3)
VECTOR = (4, 4, 1)
FIRST, _, LAST = os.environ.get("SNNJAX_FUZZ", "10:12").rpartition(":")
SEEDS = range(int(FIRST or 0), int(LAST))


def random_bytes(shape, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape))


def pixels(images):
    return np.float32(images) / np.float32(255)


@lru_cache
def compact(bits=8):
    """An integer network with all kinds of layers, and its bytes."""
    network = compact_network()
    params = convert(network, random_variables(network, SHAPE), output_scale=4.0, shift=0.1)
    return network, quantise(network, params, bits), random_bytes(SHAPE, 64)


@lru_cache
def small(**options):
    network = dense_network()
    return network, convert(network, random_variables(network, VECTOR), **options)


def reference(network, params, frames, neuron="exact-charge"):
    """Spikes by path, and the mean current so far in logits, by int64 from the file."""
    file = to_arrays(network, params, np.shape(frames[0])[1:], neuron=neuron)
    return integer_networks.simulate(file, frames)


def check_equal(found, spikes, values, images=slice(None)):
    for path, of_layer in spikes.items():
        np.testing.assert_array_equal(found.recording[path], of_layer[:, images], err_msg=path)
    np.testing.assert_array_equal(found.values, values[:, images])


@pytest.mark.parametrize("neuron", [
    "exact-charge", *(pytest.param(name, marks=pytest.mark.slow) for name in list(
        integer_networks.NEURONS)[1:])
])  # fmt: skip
def test_spikes_and_values_are_those_of_int64(neuron):
    network, params, images = compact()
    found = simulate(
        network, params, pixels(images[:7]), num_steps=STEPS, record=True, neuron=NEURONS[neuron],
    )  # fmt: skip
    check_equal(found, *reference(network, params, [images[:7]] * STEPS, neuron))


def ways(network, params, x):
    """Simulations that differ in everything but the network."""

    def run(images, **options):
        return simulate(network, params, images, num_steps=STEPS, record=True, **options)

    yield slice(7), run(x[:7], engine="plain")
    yield slice(1), run(x[:1])
    yield slice(64), run(x, chunk_steps=1)
    yield slice(7), run(x[:7], chunk_steps=2)
    yield slice(7), run(x[:7], neuron=EXACT_CHARGE._replace(next_count=None))  # by spikes
    traced = jax.jit(lambda p, x: simulate(network, p, x, num_steps=STEPS, record=True))
    yield slice(7), traced(params, x[:7])
    with jax.enable_x64(True):
        yield slice(7), run(x[:7])


@pytest.mark.slow
def test_engines_batches_chunks_tracing_and_x64_change_nothing():
    network, params, images = compact(4)
    spikes, values = reference(network, params, [images] * STEPS)
    for few, found in ways(network, params, pixels(images)):
        check_equal(found, spikes, values, few)


@pytest.mark.slow
def test_nothing_changes_without_compilation():
    network, params = small()
    params, images = quantise(network, params, 5), random_bytes(VECTOR, 3)
    with jax.disable_jit():
        found = simulate(network, params, pixels(images), num_steps=2, record=True)
    check_equal(found, *reference(network, params, [images] * 2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks_are_those_of_int64(seed):
    network, shape = draw_network(seed)
    variables = draw_variables(network, shape, seed)
    params = convert(network, variables, scales=draw_scales(network, seed))
    try:
        params = quantise(network, params, 4)
    except ValueError as error:
        pytest.skip(str(error))
    images = random_bytes(shape, 3, seed)
    for engine in ("fast", "plain"):
        found = simulate(
            network, params, pixels(images), num_steps=STEPS, record=True, engine=engine
        )
        check_equal(found, *reference(network, params, [images] * STEPS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "neuron"), [(RATE, "exact-charge"), (DETERMINISTIC, "double-threshold")]
)
def test_input_spikes_are_whole_too(encoding, neuron):
    network, params = small()
    params, images = quantise(network, params), pixels(random_bytes(VECTOR, 3))
    key = jax.random.key(1)
    sent = [frame(Stimulus(images, key), 1.0, t, encoding) * 255 for t in range(STEPS)]
    found = simulate(
        network, params, images, num_steps=STEPS, record=True, encoding=encoding, key=key,
        neuron=NEURONS[neuron],
    )  # fmt: skip
    check_equal(found, *reference(network, params, sent, neuron))


def test_bytes_that_were_divided_in_another_way_are_the_same():
    """A product with 1/255 is rounded otherwise than a division, by less than a byte."""
    network = arch.Network("linear", (arch.Flatten(), arch.Dense(3)))
    params = quantise(network, convert(network, random_variables(network, VECTOR)), 5)
    images = random_bytes(VECTOR, 7)
    others = np.float32(images) * np.float32(1 / 255)
    assert np.any(others * np.float32(255) != images)
    found = simulate(network, params, others, num_steps=STEPS, readout=CURRENT).values
    np.testing.assert_array_equal(found, np.round(found))
    np.testing.assert_array_equal(
        found, simulate(network, params, pixels(images), num_steps=STEPS, readout=CURRENT).values
    )


@pytest.mark.slow
def test_noise_of_whole_pixels_keeps_values_whole():
    network, params = small()
    params, images = quantise(network, params), pixels(random_bytes(VECTOR, 3))
    noisy = simulate(
        network, params, images, num_steps=2, readout=CURRENT, noise=make_noise(0.5),
        key=jax.random.key(0),
    ).values  # fmt: skip
    np.testing.assert_array_equal(noisy, np.round(noisy))


def test_permuted_hidden_channels_change_no_value():
    network, params = small()
    params, images = quantise(network, params), pixels(random_bytes(VECTOR, 7))
    order = np.random.default_rng(0).permutation(8)
    layers = dict(params["layers"])
    layers["01_dense"] = {name: of[..., order] for name, of in layers["01_dense"].items()}
    for name in ("positive", "negative", "shift"):
        moved = layers["02_activation"][name][order] if layers["02_activation"][name].ndim else 0.0
        layers["02_activation"] = {**layers["02_activation"], name: moved}
    layers["03_dense"] = {**layers["03_dense"], "kernel": layers["03_dense"]["kernel"][order]}
    values = [
        simulate(network, p, images, num_steps=STEPS).values
        for p in (params, {**params, "layers": layers})
    ]
    np.testing.assert_array_equal(*values)


def test_every_number_is_whole_and_weights_have_their_bits():
    network = compact_network()
    params = convert(network, random_variables(network, SHAPE))
    params = quantise(network, params, {"06_conv": 3, "03_residual/body/03_conv": 5})
    for keys, leaf in jax.tree_util.tree_flatten_with_path(params["layers"])[0]:
        path, leaf = jax.tree_util.keystr(keys, simple=True, separator="/"), np.asarray(leaf)
        assert leaf.dtype == np.float32
        if not path.endswith(("bound", "initial")):
            np.testing.assert_array_equal(leaf, np.round(leaf), err_msg=path)
    largest = {
        path: float(np.abs(arch.inside(params["layers"], path)["kernel"]).max())
        for path in ("01_conv", "03_residual/body/03_conv", "06_conv", "10_dense")
    }
    assert list(largest.values()) == [127, 15, 3, 127]


def summed_network():
    """Branches of unlike weights that meet in the same neurons."""
    active = arch.Activation(0.5, 1.0)
    block = arch.Residual((arch.Dense(8), active, arch.Dense(6)), (arch.Dense(6),))
    return arch.Network("summed", (
        arch.Flatten(), arch.Dense(8), active, block, active, arch.Dense(3)
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (summed_network(), VECTOR),
        pytest.param(compact_network(), SHAPE, marks=pytest.mark.slow),
    ],
    ids=["summed", "compact"],
)
def test_many_bits_approach_the_float_network(network, shape):
    params = convert(network, random_variables(network, shape))
    images = pixels(random_bytes(shape, 8))
    logits = np.asarray(limit(network, params, images))
    errors = [
        np.abs(np.asarray(limit(network, quantise(network, params, bits), images)) - logits).max()
        for bits in (3, 6, 9)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.01 * np.abs(logits).max()


def without_weights(params, *keys):
    """Parameters in which all weights of the layer at a path are 0."""
    if not keys:
        return {**params, "kernel": np.zeros_like(params["kernel"])}
    return {**params, keys[0]: without_weights(params[keys[0]], *keys[1:])}


def test_layers_without_weights_keep_their_biases_and_do_not_coarsen_other_branches():
    """As the last layer or the end of a block has them that starts from zeros."""
    network = summed_network()
    params = convert(network, random_variables(network, VECTOR))
    images = pixels(random_bytes(VECTOR, 8))
    for keys in (("01_dense",), ("03_residual", "body", "02_dense"), ("05_dense",)):
        zero = without_weights(params, "layers", *keys)
        exact = np.asarray(limit(network, zero, images))
        found = np.asarray(limit(network, quantise(network, zero, 9), images))
        np.testing.assert_allclose(found, exact, atol=0.03 * np.abs(exact).max())


def test_units_of_least_error_beat_the_largest_weight():
    """Random weights are far from the largest one at 3 bits."""
    network, params = small()
    images = pixels(random_bytes(VECTOR, 32))
    logits = np.asarray(limit(network, params, images))
    nearest, calibrated = (
        np.mean((np.asarray(limit(network, quantise(network, params, 3, x), images)) - logits) ** 2)
        for x in (None, images)
    )
    assert calibrated < 0.8 * nearest


@pytest.mark.slow
def test_count_readout_and_early_exit_are_the_same_for_any_batch():
    network, params, images = compact()
    x = pixels(images[:7])
    counts = [simulate(network, params, of, num_steps=STEPS, readout=COUNT).values
              for of in (x, x[:1])]  # fmt: skip
    np.testing.assert_array_equal(counts[0][:, :1], counts[1])
    values = simulate(network, params, x, num_steps=STEPS).values
    answer = simulate_until(network, params, x, margin=np.inf, num_steps=STEPS)
    np.testing.assert_array_equal(answer.values, values[-1])


@pytest.mark.slow
def test_wide_convolutions_are_exact_without_winograd():
    layers = (arch.Conv(128, (3, 3)), arch.Activation(0.5, 1.0), arch.Conv(128, (3, 3)))
    network = arch.Network("wide", (
        *layers, arch.Activation(0.5, 1.0), arch.Flatten(), arch.Dense(3)
    ))  # fmt: skip
    params = quantise(network, convert(network, random_variables(network, (4, 4, 1))), 6)
    assert prepare_kernels(network, params) is params
    images = random_bytes((4, 4, 1), 64)
    found = simulate(network, params, pixels(images), num_steps=STEPS, record=True)
    check_equal(found, *reference(network, params, [images] * STEPS))


def test_sums_beyond_float32_are_refused_with_the_steps_that_fit():
    network, params = small()
    params = quantise(network, params, 12)
    images = pixels(random_bytes(VECTOR, 1))
    with pytest.raises(ValueError, match=r"sums at 02_activation .* at most (\d+) timesteps") as e:
        simulate(network, params, images, num_steps=1000)
    fits = int(str(e.value).split("at most ")[1].split()[0])
    simulate(network, params, images, num_steps=fits)
    with pytest.raises(ValueError, match="fewer bits"):
        simulate(network, params, images, num_steps=fits + 1)
    with pytest.raises(ValueError, match=r"num_steps=1, .* want fewer bits"):
        quantise(*small(), 16)


def test_traced_sums_and_pixels_that_are_rounded_give_nan():
    network, params = small()
    params, images = quantise(network, params, 12), pixels(random_bytes(VECTOR, 2))
    images[1, 0, 0, 0] += 0.3 / 255

    def values(steps):
        return jax.jit(lambda p, x: simulate(network, p, x, num_steps=steps).values)(params, images)

    assert np.isfinite(values(2)[:, 0]).all()
    assert np.isnan(values(2)[:, 1]).all()
    assert np.isnan(values(1000)).all()


def test_pixels_between_bytes_are_refused():
    network, params = small()
    params = quantise(network, params)
    images = pixels(random_bytes(VECTOR, 2))
    for bad in (images + np.float32(0.3 / 255), -images, 2 * images):
        with pytest.raises(ValueError, match=r"no multiples of 1/255 in \[0, 1\].*np\.round"):
            simulate(network, params, bad, num_steps=2)
        with pytest.raises(ValueError, match=r"no multiples of 1/255"):
            quantise(*small(), images=bad)
    for bad, said in (
        (np.uint8(255 * images), "divide bytes by 255"), (np.full_like(images, np.nan), "NaN"),
        (images[:0], "no images to calibrate on"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            quantise(*small(), images=bad)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoding": DETERMINISTIC, "sign": -1}, "pixels from .* takes no negative spikes"),
        ({"neuron": AUGMENTED}, "this neuron does not keep whole numbers"),
        ({"readout": LEAKY}, "this readout does not keep whole numbers"),
        ({"encoding": Encoding(lambda k, x, g, t: x / 3, False, True)}, "sends fractions"),
    ],
)
def test_simulations_with_fractions_or_negative_spikes_are_refused(options, said):
    network, params = small()
    sign, options = options.get("sign", 1), {k: v for k, v in options.items() if k != "sign"}
    with pytest.raises(ValueError, match=said):
        simulate(network, quantise(network, params), sign * pixels(random_bytes(VECTOR, 1)),
                 num_steps=2, **options)  # fmt: skip


def test_traced_negative_spikes_give_nan():
    network, params = small()
    params, images = quantise(network, params), pixels(random_bytes(VECTOR, 2))
    images[1] *= -1
    values = jax.jit(
        lambda x: simulate(network, params, x, num_steps=1, encoding=DETERMINISTIC).values
    )(images)
    assert np.isfinite(values[:, 0]).all() and np.isnan(values[:, 1]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"leak": 0.5}, "02_activation has a leak"),
        ({"gain": 0.5}, "gain is 0.5; want 1"),
        ({"output_leak": 0.9}, "output_leak is 0.9"),
        ({"initial": 0.3}, "02_activation/initial is 0.3.*multiple of 1/2"),
    ],
)
def test_networks_with_fractions_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        quantise(*small(**options))


def test_sums_of_currents_that_no_whole_weight_adds_are_refused():
    """A block before whose identity there are no neurons, as in networks with pre-activation."""
    active = arch.Activation(0.5, 1.0)
    block = arch.Residual((arch.Scale(8), active, arch.Dense(8)))
    for layers, said in (
        ((block,), "branch 02_residual/shortcut sends currents on"),
        ((arch.Residual((arch.Dense(8), arch.Dense(8))),), "01_dense follows weights without"),
    ):
        network = arch.Network("unlike", (
            arch.Flatten(), arch.Dense(8), *layers, active, arch.Dense(3)
        ))  # fmt: skip
        with pytest.raises(ValueError, match=said):
            quantise(network, convert(network, random_variables(network, VECTOR)))


def test_numbers_that_are_not_finite_are_refused():
    network, params = small()
    for path, name, bad in (
        ("01_dense", "kernel", np.inf), ("05_dense", "bias", np.nan),
        ("02_activation", "positive", np.inf), ("02_activation", "negative", np.nan),
    ):  # fmt: skip
        own = params["layers"][path]
        own = {**own, name: np.full(np.shape(own[name]), bad, np.float32)}
        broken = {**params, "layers": {**params["layers"], path: own}}
        with pytest.raises(ValueError, match=f"{path}/{name}.* (inf|nan)"):
            quantise(network, broken)


def test_bad_arguments_are_refused():
    network, params = small()
    for bits, said in (
        (1, "bits of 01_dense is 1"), (2.5, "whole number"), ({"02_activation": 4}, "want one of"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            quantise(network, params, bits)
    with pytest.raises(ValueError, match="whole numbers already"):
        quantise(network, quantise(network, params))
    with pytest.raises(ValueError, match="calibrate them before quantise"):
        calibrate(network, quantise(network, params), pixels(random_bytes(VECTOR, 1)), num_steps=2)
    with pytest.raises(ValueError, match="params are traced"):
        jax.jit(lambda p: quantise(network, p))(params)
    with pytest.raises(ValueError, match="leaky readout"):
        quantise(network, {**params, "readout": {"leak": jnp.float32(0.5)}})
    with pytest.raises(ValueError, match="network is a dict"):
        quantise({}, params)


def test_a_threshold_below_half_a_unit_is_named_in_a_warning():
    network, params = small()
    layers = dict(params["layers"])
    own = layers["02_activation"]
    layers["02_activation"] = own | {"positive": jnp.full_like(own["positive"], 1e-4)}
    with pytest.warns(UserWarning, match="02_activation/positive is .* becomes 1"):
        quantise(network, {**params, "layers": layers}, 2)


@pytest.mark.parametrize("weight", [0.0, 1e-6])
def test_a_channel_without_weights_takes_no_unit_of_its_own(weight):
    network = arch.Network("dead", (arch.Dense(3), arch.Activation(0.25, 1.0), arch.Dense(2)))
    kernel = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    kernel[:, 1] *= weight
    variables = {"params": {
        "00_dense": {"kernel": kernel, "bias": np.float32([0.1, -0.6, 0.2])},
        "02_dense": {"kernel": np.float32(np.eye(3, 2)), "bias": np.zeros(2, np.float32)},
    }}  # fmt: skip
    params = quantise(network, convert(network, variables))
    images = np.float32(np.random.default_rng(1).integers(0, 256, (5, 4)) / 255)
    found = simulate(network, params, images, num_steps=32)
    wanted = simulate(network, convert(network, variables), images, num_steps=32)
    assert np.abs(found.values[-1] - wanted.values[-1]).max() < 0.05


def test_a_leak_of_an_integer_network_is_refused():
    network = arch.Network("leak", (arch.Dense(3), arch.Activation(0.25, 1.0), arch.Dense(2)))
    variables = {"params": {
        "00_dense": {"kernel": np.ones((4, 3), np.float32), "bias": np.zeros(3, np.float32)},
        "02_dense": {"kernel": np.ones((3, 2), np.float32), "bias": np.zeros(2, np.float32)},
    }}  # fmt: skip
    params = quantise(network, convert(network, variables))
    params["layers"]["01_activation"]["leak"] = np.float32(0.9)
    with pytest.raises(ValueError, match="01_activation has a leak, which makes fractions"):
        simulate(network, params, np.zeros((1, 4), np.float32), num_steps=2)


def test_known_images_of_an_integer_network_are_checked_inside_jit():
    network = arch.Network("closed", (arch.Dense(3), arch.Activation(0.25, 1.0), arch.Dense(2)))
    variables = {"params": {
        "00_dense": {"kernel": np.ones((4, 3), np.float32), "bias": np.zeros(3, np.float32)},
        "02_dense": {"kernel": np.ones((3, 2), np.float32), "bias": np.zeros(2, np.float32)},
    }}  # fmt: skip
    params = quantise(network, convert(network, variables))
    x = np.float32([[0.0, 0.2, 0.4, 1.0]])
    inside = jax.jit(lambda: simulate(network, params, x, num_steps=2).values)()
    np.testing.assert_array_equal(inside, simulate(network, params, x, num_steps=2).values)
    with pytest.raises(ValueError, match="images hold pixels that are no multiples of 1/255"):
        jax.jit(lambda: simulate(network, params, x + 0.001, num_steps=2).values)()
    with pytest.raises(ValueError, match="images are traced; want their values"):
        jax.jit(lambda images: quantise(network, convert(network, variables), 8, images))(x)
