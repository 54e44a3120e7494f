"""Integer weights of spiking functions: whole multiples of a unit by channel, in users' arrays."""

import dataclasses
import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spiking_functions as functions

import snnjax
from snnjax.analysis.function_operations import count_function_operations

DIM = 6
BITS = {"weights": 3, "joined": 5, "tied": 4, "tied:2": 4}


def mixed(params, x):
    """Weights as they are, two of one array, of a scale by channel, of two arrays, and read in two
    ways.
    """
    y = jax.nn.relu(x @ params["weights"])
    for layer in params["stack"]:
        y = jax.nn.relu(y @ layer)
    y = jax.nn.relu(y @ (params["scaled"] * params["slope"]))
    y = jax.nn.relu(y @ jnp.concatenate([params["joined"], params["other"]], 1))
    y = jax.nn.softmax(y @ params["tied"])
    return y @ params["tied"].T


@cache
def case():
    draw = np.random.default_rng(0)
    names = {"weights": DIM, "scaled": DIM, "joined": 4, "other": 2, "tied": DIM}
    params = {
        name: draw.normal(size=(DIM, width)).astype(np.float32) for name, width in names.items()
    }
    params["stack"] = np.stack([draw.uniform(size=(DIM, DIM)).astype(np.float32)] * 2)
    params["slope"] = np.linspace(0.5, 3, DIM, dtype=np.float32)
    images = draw.uniform(size=(12, DIM)).astype(np.float32)
    return snnjax.spike(mixed, params, images, levels=4), images


@cache
def rounded():
    spiking, images = case()
    return snnjax.quantise(spiking, bits=BITS, images=images)


def operands(params):
    """Weights as the products read them, by name."""
    joined = np.concatenate([params["joined"], params["other"]], 1)
    return {
        "stack": params["stack"][0], "stack:2": params["stack"][1],
        "weights": params["weights"], "scaled": params["scaled"] * params["slope"],
        "joined": joined, "tied": params["tied"], "tied:2": np.transpose(params["tied"]),
    }  # fmt: skip


def test_weights_are_whole_multiples_of_a_unit_by_channel_of_their_bits():
    whole, arrays = rounded(), rounded().params["params"]
    assert {*whole.units} == {*operands(arrays)}
    for name, weights in operands(arrays).items():
        unit = whole.units[name]
        assert unit.shape == ((1,) if "tied" in name else (DIM,))
        found, most = weights / unit, 2 ** (BITS.get(name, 8) - 1) - 1
        np.testing.assert_allclose(found, np.round(found), atol=1e-4 * most)
        assert np.abs(found).max() <= most + 1e-3
    assert arrays["slope"] is case()[0].params["params"]["slope"]


def test_units_are_leaves_of_the_function_and_no_parameters():
    assert {*rounded().params} == {"params", "thetas"}
    copied = jax.tree.map(np.copy, rounded()).units
    jax.tree.map(np.testing.assert_array_equal, copied, rounded().units)


def test_the_same_bits_twice_change_nothing():
    again = snnjax.quantise(rounded(), bits=BITS, images=case()[1])
    jax.tree.map(np.testing.assert_array_equal, again, rounded())


def test_without_images_the_largest_weight_of_a_channel_is_the_largest_whole_number():
    weights = case()[0].params["params"]["weights"]
    plain = snnjax.quantise(case()[0], bits=BITS)
    unit = np.abs(weights).max(0) / 3
    np.testing.assert_allclose(plain.units["weights"], unit, rtol=1e-6)
    found = plain.params["params"]["weights"]
    np.testing.assert_allclose(found, np.round(weights / unit) * unit, 1e-6)


def test_images_choose_units_of_less_error_of_the_output():
    spiking, images = case()
    found = [
        of.params["params"] for of in (spiking, snnjax.quantise(spiking, bits=BITS), rounded())
    ]
    exact, plain, chosen = (images @ of["weights"] for of in found)
    errors, plain_errors = (np.square(of - exact).mean(0) for of in (chosen, plain))
    assert np.all(errors <= plain_errors) and errors.sum() < 0.9 * plain_errors.sum()


def test_the_summary_names_bits_and_what_computes_in_floats():
    text = str(rounded())
    assert "  weights: 3 bits, 36 weights of weights" in text
    assert re.search(r"  mixed: reduce_max, .*exp, .* at .*test_whole_weights.py:\d+\n", text)
    assert "exact sums need a network" in text
    changed = rounded().params["params"] | {"weights": case()[0].params["params"]["weights"]}
    params = rounded().params | {"params": changed}
    assert "weights: floats, changed" in str(dataclasses.replace(rounded(), params=params))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 17}, "bits of weights is 17; want .*16"),
        (
            {"bits": {"wieghts": 4}},
            "'wieghts'; want one of weights, stack, stack:2, ",
        ),
        ({"bits": {"tied": 4}}, "tied and tied:2 read the same weights, but bits are 4 for tied"),
        ({"params": {}}, "has its own; want quantise"),
        ({"images": np.full((2, DIM), np.nan, np.float32)}, "images hold NaN or Inf"),
        ({"images": np.ones((2, DIM + 1), np.float32)}, "fails for x of shape"),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        snnjax.quantise(case()[0], **options)


def test_traced_parameters_are_refused():
    with pytest.raises(ValueError, match="traced; want their values"):
        jax.eval_shape(lambda spiking: snnjax.quantise(spiking).params, case()[0])


@pytest.mark.parametrize(
    ("dtype", "message"),
    [(np.int8, "from weights in params, no floats"), (jnp.bfloat16, "is bfloat16, which rounds")],
)
def test_weights_that_are_no_32_bit_floats_are_refused(dtype, message):
    params = case()[0].params
    arrays = params["params"] | {"weights": params["params"]["weights"].astype(dtype)}
    spiking = dataclasses.replace(case()[0], params=params | {"params": arrays})
    with pytest.raises(ValueError, match=message):
        snnjax.quantise(spiking, bits=3)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda p: np.eye(DIM, dtype=np.float32) + 1, "come from no array in params"),
        (lambda p: p["w"] / jnp.linalg.norm(p["w"]), "no change of w makes them whole"),
    ],
)
def test_weights_that_no_array_of_the_parameters_holds_are_refused(second, message):
    spiking, images = case()
    params = {"w": spiking.params["params"]["weights"]}
    other = snnjax.spike(
        lambda p, x: jax.nn.relu(x @ (2 * p["w"])) @ second(p), params, images, levels=2
    )
    with pytest.raises(ValueError, match=message):
        snnjax.quantise(other, bits=3)


def test_a_function_whose_products_have_no_weights_is_refused():
    images = case()[1].reshape(-1, 2, 3)
    spiking = snnjax.spike(
        lambda p, x: jnp.einsum("bij,bkj->bik", jax.nn.relu(x) ** 2, jnp.exp(x)), {}, images
    )
    with pytest.raises(ValueError, match="no product of weights with spikes or the input"):
        snnjax.quantise(spiking)


def test_a_network_without_parameters_is_told_what_is_missing():
    with pytest.raises(ValueError, match="params are missing: want quantise"):
        snnjax.quantise(snnjax.NET2, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["row-lstm", "scanned-blocks"])
def test_functions_of_many_kinds_have_whole_weights(name):
    apply, params, shape = functions.flax_case(name)
    images = functions.images(shape)
    spiking = snnjax.spike(apply, params, images, levels=4)
    whole = snnjax.quantise(spiking, bits=8, images=images)
    assert " bits, " in str(whole) and "floats, changed" not in str(whole)
    wanted = spiking.quantised(spiking.params, images)
    size = functions.largest_difference(wanted, jax.tree.map(jnp.zeros_like, wanted))
    found = whole.quantised(whole.params, images)
    assert functions.largest_difference(found, wanted) < 0.2 * size
    values = snnjax.simulate(whole, images, num_steps=20).values
    assert functions.largest_difference(functions.last(values), found) <= 1e-5
    assert sum(count_function_operations(whole, images[:2], num_steps=2).accumulates.values()) > 0
