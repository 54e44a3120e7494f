"""Bad arguments and parameters of a simulation, each told apart from the others."""

import copy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import compact_network, dense_network, random_images, random_variables

from snnjax import spike
from snnjax.analysis.conversion_error import measure_conversion_error
from snnjax.conversion.calibration import calibrate
from snnjax.conversion.conversion import convert
from snnjax.conversion.threshold_balancing import least_error, measure_scales
from snnjax.networks import architecture as arch
from snnjax.networks.layers import FixedSynapse
from snnjax.runtime.checks import check_count, check_key
from snnjax.snn.early_exit import simulate_until
from snnjax.snn.encoding import RATE, temporal
from snnjax.snn.neurons import OFFSET
from snnjax.snn.noise import make_noise
from snnjax.snn.simulation import simulate
from snnjax.training.plasticity_rules import make_plasticity
from snnjax.training.readout_learning import learn

SHAPE = (4, 4, 1)
NETWORK = dense_network()
IMAGES = random_images(2, SHAPE)
RAW_KEY = jax.random.PRNGKey(3)


def params(**how):
    return convert(NETWORK, random_variables(NETWORK, SHAPE), **how)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("03_dense"), "params lack 03_dense/kernel; network 'dense' needs it"),
        (lambda p: p["03_dense"].pop("kernel"), "params lack 03_dense/kernel"),
        (lambda p: p["03_dense"].update(kernel=None), "params lack 03_dense/kernel"),
        (lambda p: p["04_activation"].pop("shift"), "a layer of neurons has no shift"),
        (lambda p: p.update({"07_dense": {}}), "params hold 07_dense, and network 'dense' has no"),
        (lambda p: p["03_dense"].update(bias=jnp.ones(7)), r"03_dense/bias .*\(7,\); want \[8\]"),
        (
            lambda p: p["03_dense"].update(kernel=jnp.ones((9, 8))),
            r"03_dense/kernel has shape \(9, 8\); want \[8, 8\]",
        ),
        (
            lambda p: p["04_activation"].update(positive=jnp.ones(7)),
            r"04_activation/positive has shape \(7,\); want a number, one for each channel",
        ),
        (lambda p: p["03_dense"].update(kernel="x"), "params hold 'x'; want arrays of numbers"),
    ],
)
def test_b6_a_bad_parameter_is_named(change, message):
    bad = copy.deepcopy(params())
    change(bad["layers"])
    with pytest.raises(ValueError, match=message):
        simulate(NETWORK, bad, IMAGES, num_steps=2)


def test_b6_images_that_do_not_fit_name_the_layer_that_refuses_them():
    network = compact_network()
    good = convert(network, random_variables(network, (8, 8, 3)))
    for shape, message in (
        ((8, 8, 1), r"layer 01_conv: it takes maps \[H, W, 3\], and gets \[8, 8, 1\]"),
        ((18, 8, 3), "layer 10_dense: it takes 24 inputs, and gets"),
        ((192,), r"layer 01_conv: it takes maps \[H, W, 3\], and gets \[192\]"),
    ):
        with pytest.raises(ValueError, match=f"do not fit the parameters.*{message}"):
            simulate(network, good, random_images(2, shape), num_steps=2)


def test_b6_convert_names_an_array_of_another_shape_or_type():
    for value, message in (
        (jnp.ones(7), r"params/03_dense/bias has shape \(7,\); want \[8\]"),
        ("x", "params/03_dense/bias is 'x'; want an array of numbers"),
    ):
        variables = random_variables(NETWORK, SHAPE)
        variables["params"]["03_dense"]["bias"] = value
        with pytest.raises(ValueError, match=message):
            convert(NETWORK, variables)


class Broken(FixedSynapse):
    def linear(self, params, x, elapsed=1.0):
        raise TypeError("a fault of the user's own code")

    def incidence(self, params, x):
        return x


def test_b6_an_error_of_user_code_is_not_hidden():
    network = arch.Network("own", (Broken(), arch.Flatten(), arch.Dense(3)))
    numbers = {"02_dense": {"kernel": jnp.ones((16, 3)), "bias": jnp.ones(3)}}
    own = {"gain": 1.0, "output_leak": 1.0, "layers": numbers}
    for engine in ("fast", "plain"):
        with pytest.raises(TypeError, match=r"^a fault of the user's own code"):
            simulate(network, own, IMAGES, num_steps=2, engine=engine)


COUNTS = {
    "num_steps": partial(simulate, NETWORK, images=IMAGES),
    "chunk_steps": partial(simulate, NETWORK, images=IMAGES, num_steps=2),
    "pre_steps": partial(simulate, NETWORK, images=IMAGES, num_steps=9, neuron=OFFSET),
    "shown_steps": partial(simulate, NETWORK, images=IMAGES, num_steps=2),
    "first": partial(simulate, NETWORK, images=IMAGES, num_steps=2),
}


@pytest.mark.parametrize("name", COUNTS)
def test_b12_a_count_is_a_whole_number(name):
    for value in (2.5, True, -1, "2", None if name != "chunk_steps" else "x", np.float32(2)):
        with pytest.raises(ValueError, match=f"{name} is .*; want a whole number of at least [01]"):
            COUNTS[name](params=params(), **{name: value})
    COUNTS[name](params=params(), **{name: np.int64(2)})


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("num_steps", lambda v: simulate_until(NETWORK, params(), IMAGES, margin=1, num_steps=v)),
        ("num_steps", lambda v: measure_conversion_error(NETWORK, params(), IMAGES, num_steps=v)),
        ("num_steps", lambda v: calibrate(NETWORK, params(), IMAGES, num_steps=v)),
        ("num_steps", lambda v: least_error(NETWORK, {}, IMAGES, num_steps=v)),
        ("batch_size", lambda v: measure_scales(NETWORK, {}, IMAGES, batch_size=v)),
        ("epochs", lambda v: learn({}, jnp.ones((1, 50, 3)), (), RAW_KEY, None, epochs=v)),
        ("window", temporal),
        ("out_of", lambda v: make_noise(0.1, out_of=v)),
    ],
)
def test_b12_other_functions_check_their_counts_alike(name, call):
    for value in (2.5, True, 0):
        with pytest.raises(ValueError, match=f"{name} is {value}; want a whole number of at least"):
            call(value)


def test_b12_a_jax_number_is_a_count_and_a_traced_one_is_refused():
    assert check_count("n", jnp.int32(3)) == 3
    with pytest.raises(ValueError, match=r"n is .*want a whole number"):
        jax.jit(lambda n: check_count("n", n))(3)


def test_b12_both_forms_of_a_key_draw_the_same():
    run = partial(simulate, NETWORK, params(), IMAGES, num_steps=3, encoding=RATE)
    typed = run(key=jax.random.key(3)).values
    for raw in (RAW_KEY, np.asarray(RAW_KEY)):
        np.testing.assert_array_equal(run(key=raw).values, typed)
    for bad in (3, jnp.ones(3), jax.random.split(RAW_KEY, 2)):
        with pytest.raises(ValueError, match=r"key is .*; want one key, such as jax.random.key"):
            check_key(bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neuron": "offset"}, r"neuron is 'offset'; want snnjax.*NEURONS\['offset'\]"),
        ({"neuron": "offest"}, "unknown neuron 'offest': want one of .*did you mean 'offset'"),
        ({"encoding": "rate"}, r"encoding is 'rate'; want snnjax.*ENCODINGS\['rate'\]"),
        ({"readout": "count"}, r"readout is 'count'; want snnjax.*READOUTS\['count'\]"),
        ({"neuron": None}, "neuron is None; want a NeuronModel, such as those in"),
        ({"network": "net2"}, "network is 'net2'; want a Network"),
        ({"noise": 0.1}, r"noise is 0\.1; want snnjax\.snn\.noise\.make_noise\(density\)"),
    ],
)
def test_b12_a_name_in_place_of_a_model_says_where_the_model_is(change, message):
    call = {"network": NETWORK, "params": params(), "images": IMAGES, "num_steps": 2, **change}
    with pytest.raises(ValueError, match=message):
        simulate(**call)


def test_learning_takes_raw_keys_and_refuses_the_name_of_a_rule():
    with pytest.raises(ValueError, match="rule is 'stdp'; want a function"):
        learn({}, jnp.ones((1, 50, 3)), (), RAW_KEY, make_plasticity(), rule="stdp")


TOO_LONG = 100_001


def spiking():
    return spike(lambda w, x: jax.nn.relu(x.reshape(len(x), -1) @ w) @ w, jnp.eye(16), IMAGES)


@pytest.mark.parametrize(
    "call",
    [
        lambda: simulate(NETWORK, params(), IMAGES, num_steps=TOO_LONG),
        lambda: simulate_until(NETWORK, params(), IMAGES, margin=0, num_steps=TOO_LONG),
        lambda: simulate(spiking(), IMAGES, num_steps=TOO_LONG),
        lambda: calibrate(NETWORK, params(), IMAGES, num_steps=TOO_LONG),
    ],
)
def test_b12_more_timesteps_than_memory_holds_are_refused(call):
    wanted = "num_steps is 100001; want a whole number of at least 1 and at most 100,000"
    with pytest.raises(ValueError, match=wanted):
        call()


def test_b12_input_is_not_shown_for_longer_than_the_simulation():
    with pytest.raises(ValueError, match="shown_steps is 9; want at most num_steps, which is 4"):
        simulate(NETWORK, params(), IMAGES, num_steps=4, shown_steps=9)


def test_b12_a_threshold_of_converted_neurons_is_above_0():
    for name, value in (("positive", 0.0), ("negative", -1.0)):
        bad = copy.deepcopy(params())
        bad["layers"]["04_activation"][name] = value
        with pytest.raises(ValueError, match=f"04_activation/{name} is .*; want a threshold above"):
            simulate(NETWORK, bad, IMAGES, num_steps=2)


def test_b6_convert_refuses_numbers_that_are_not_one_for_each_channel():
    for name in ("initial", "shift", "leak"):
        wanted = rf"activation/{name} has shape \(7,\); want a number, or one for each of"
        with pytest.raises(ValueError, match=wanted):
            params(**{name: np.full(7, 0.5)})
