"""Arrays that carry whole weights of spiking functions: beside masks and scales, joined, shared."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnjax
from snnjax.conversion.spiking.weight_choice import start_choice
from snnjax.conversion.spiking.weights import ProductWeights

DIM = 6
BITS = 6


def layers(params, x, channels=4):
    """Weights with masks, with a scale that has a 0, joined ones, and one of those read alone."""
    y = jax.nn.relu(x @ operands(params)["a"])
    y = jax.nn.relu(y @ operands(params)["scaled"] + params["offset"])
    y = jax.nn.relu(y @ operands(params)["right"])
    return y @ operands(params)["right:2"][:, :channels]


def operands(params):
    """Weights as the products read them, by name."""
    joined = jnp.concatenate([params["left"], params["right"]], 1)
    return {
        "a": params["a"] * params["mask"],
        "scaled": params["scaled"] * params["all mask"] * params["slope"],
        "right": joined * params["mask"],
        "right:2": params["right"],
    }


@cache
def case():
    draw = np.random.default_rng(0)
    widths = {"a": DIM, "scaled": DIM, "left": 2, "right": 4}
    params = {
        name: draw.normal(size=(DIM, width)).astype(np.float32) for name, width in widths.items()
    }
    for name in ("mask", "all mask"):
        params[name] = (draw.uniform(size=(DIM, DIM)) < 0.8).astype(np.float32)
    params["slope"] = np.float32([0, 1e-40, 1e-30, 1e-4, 1, 2])
    images = draw.uniform(size=(12, DIM)).astype(np.float32)
    return snnjax.spike(layers, {**params, "offset": 1.5}, images, levels=4), images


def changed(apply=layers, **arrays):
    """What `spike` returned, with another function or other arrays."""
    params = {**case()[0].params["params"], **arrays}
    function = case()[0].function._replace(apply=apply)
    return dataclasses.replace(
        case()[0], function=function, params={**case()[0].params, "params": params}
    )


@pytest.mark.parametrize("with_images", [False, True])
def test_weights_are_whole_behind_factors_that_stay(with_images):
    spiking, images = case()
    whole = snnjax.quantise(spiking, bits=BITS, images=images if with_images else None)
    before, after = spiking.params["params"], whole.params["params"]
    for name, weights in operands(after).items():
        found = weights / whole.units[name]
        np.testing.assert_allclose(found, np.round(found), atol=1e-3)
        assert np.abs(found).max() < 2 ** (BITS - 1)
    for name in ("mask", "all mask", "slope", "offset"):
        assert after[name] is before[name]
    kept = operands(before)["scaled"] == 0
    np.testing.assert_array_equal(after["scaled"][kept], before["scaled"][kept])
    assert "floats, changed" not in str(whole)


def test_an_array_that_is_joined_in_one_product_and_alone_in_another_has_one_unit():
    units = snnjax.quantise(case()[0], bits=BITS).units
    assert units["right"] == units["right:2"]
    with pytest.raises(ValueError, match="right and right:2 read the same weights, but bits are 4"):
        snnjax.quantise(case()[0], bits={"right": 4})


def test_a_unit_of_several_products_clips_no_weight_that_the_first_one_lacks():
    draw = np.random.default_rng(0).normal(size=(DIM, DIM))
    one, ten = (
        ProductWeights("w", ("w",), np.float32(draw * by), (1,), (0,), "") for by in (1, 10)
    )
    for group, is_open in (([one, ten], False), ([ten, one], True)):
        units = start_choice(group, 127).units
        np.testing.assert_allclose(units[0], np.abs(ten.values).max() / 127, rtol=1e-6)
        assert (units[-1] < units[0]) == is_open


def test_every_channel_has_all_its_bits_whatever_the_others_are():
    table = np.random.default_rng(0).normal(size=(DIM, DIM)).astype(np.float32)
    table *= np.float32([1, 1e-6, 0, 1e-25, 1e6, 1])
    (unit, *_), *_ = start_choice([ProductWeights("w", ("w",), table, (1,), (0,), "")], 127)
    whole = np.abs(np.round(table / unit)).max(0)
    np.testing.assert_array_equal(whole, [127, 127, 0, 127, 127, 127])


@pytest.mark.parametrize(
    ("spiking", "message"),
    [
        (
            lambda: changed(lambda p, x: layers({**p, "a": p["a"] * p["scaled"]}, x)),
            "are computed from a and scaled, of 36 numbers each.*want one of them",
        ),
        (
            lambda: changed(lambda p, x: layers({**p, "left": 3 * p["right"][:, :2]}, x)),
            "no change of right makes them whole; right:2 at .* reads right too; want .*for each",
        ),
        (
            lambda: changed(
                lambda p, x: layers({**p, "a": p["a"].astype(jnp.bfloat16), "mask": 1}, x)
            ),
            r"weights of a at .*\.py:\d+ are bfloat16, which rounds s K; want .*float32",
        ),
        (
            lambda: changed(right=case()[0].params["params"]["right"].astype(jnp.bfloat16)),
            "right is bfloat16, which rounds s K; want params in float32",
        ),
        (
            lambda: changed(lambda p, x: layers(p, x, 0)),
            r"have shape \(6, 0\), so there is nothing to round",
        ),
        (
            lambda: changed(**{"left/b": np.ones(2), "left": {"b": np.ones(2)}}),
            "two arrays at left/b; want keys without a /",
        ),
        (lambda: changed(offset=np.float32([0, np.nan, 1, 1, 1, 1])), "^offset holds nan; want"),
        (lambda: changed(offset=np.float32([np.inf] * DIM)), "^offset holds inf; want"),
        (lambda: changed(offset=np.float32([-np.inf] + [1] * 5)), "^offset holds -inf; want"),
    ],
)
def test_what_has_no_whole_weights_is_refused_in_words(spiking, message):
    with pytest.raises(ValueError, match=message):
        snnjax.quantise(spiking(), bits=BITS)
