"""Places of neurons in a function."""

import ast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from spiking_functions import flax_case, images

import snnjax
from snnjax.conversion.spiking.calibration import largest
from snnjax.conversion.spiking.program import record
from snnjax.conversion.spiking.sites import find_sites

X = np.ones((2, 4), np.float32)
W = np.ones((4, 4), np.float32)


def sites(apply, params=W, x=X):
    return find_sites(record(apply, params, x))


def test_the_input_is_no_site():
    assert sites(lambda w, x: x.reshape(2, 4)[:, ::-1] * 2 @ w) == ()


def test_each_value_that_a_product_reads_is_one_site():
    found = sites(lambda w, x: jax.nn.relu(x @ w) @ w)
    assert [site.value.shape for site in found] == [(2, 4)]


def test_a_value_that_several_products_read_is_one_site():
    def apply(w, x):
        h = jax.nn.relu(x @ w)
        return h @ w + h.T.T @ w + (2 * h) @ w

    assert len(sites(apply)) == 1


def test_both_operands_of_a_product_of_activations_are_sites():
    def apply(w, x):
        return jax.nn.relu(x @ w) @ jnp.tanh(x @ w).T

    assert len(sites(apply)) == 2


def test_spikes_pass_pooling_joining_and_layout():
    def apply(w, x):
        h = jax.nn.relu(x @ w)
        pooled = h.reshape(2, 2, 2).max(1)
        return jnp.concatenate([pooled, h[:, :2] * 0.5 + 1], 1) @ w

    (site,) = sites(apply)
    assert site.step.kind == "max"


def test_a_residual_sum_is_spiked_once():
    def apply(w, x):
        h = jax.nn.relu(x @ w)
        return (h + h @ w) @ w

    assert [site.step.kind for site in sites(apply)] == ["max", "add"]


def test_a_site_has_the_name_of_the_users_module():
    case = flax_case("vit")
    names = [site.name for site in sites(case.apply, case.params, images(case.shape))]
    assert names[0] == "Block_0/LayerNorm_0"
    assert "Block_1/MultiHeadDotProductAttention_0/query" in names
    assert len(set(names)) == len(names) == 17


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        pytest.param(lambda w, x: jax.nn.relu(x), "no weight product", id="nothing-to-weigh"),
        pytest.param(
            lambda w, x: jax.lax.while_loop(lambda h: h.sum() < 9, lambda h: 2 * h, x) @ w,
            "number of its rounds", id="unknown-number-of-rounds",
        ),
        pytest.param(
            lambda w, x: jax.lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x) @ w, "jnp.where",
            id="decides-by-the-image",
        ),
        pytest.param(
            lambda w, x: jax.nn.relu(x @ w)[:, jnp.argmax(x[0])], "index", id="index-of-activation"
        ),
        pytest.param(
            lambda w, x: jnp.take_along_axis(x @ w, jnp.int32(x), 1) @ w, "places",
            id="indexed-by-the-input",
        ),
        pytest.param(lambda w, x: jnp.int32(x @ w), "floats", id="returns-integers"),
        pytest.param(lambda w, x: jnp.sort(x @ w) @ w, "orders", id="sorted"),
        pytest.param(lambda w, x: jnp.sum(x @ w, 0)[None] @ w, "images", id="mixes-images"),
        pytest.param(lambda w, x: 0 * jax.nn.relu(-1 - x @ w) @ w, "is 0 on all", id="silent"),
        pytest.param(lambda w, x: jnp.log(-1 - jax.nn.relu(x @ w)) @ w, "NaN", id="not-finite"),
    ],
)  # fmt: skip
def test_what_cannot_spike_is_refused(apply, message):
    with pytest.raises(ValueError, match=message):
        snnjax.spike(apply, W, X, levels=4)


def test_a_random_function_is_refused():
    def apply(w, x):
        return jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), x, 0) @ w

    with pytest.raises(ValueError, match="random"):
        snnjax.spike(apply, W, X, levels=4)


def test_spikes_pass_a_resize_and_weights_of_a_closure_are_weights():
    weights = W

    def apply(_, x):
        h = jax.nn.relu(x @ weights)
        return jax.image.resize(h, (len(x), 8), "bilinear")[:, ::2] @ weights

    (site,) = sites(apply, None)
    assert site.step.kind == "max"


def test_weights_that_a_jitted_function_holds_are_weights():
    weights = jnp.asarray(W)
    inner = jax.jit(lambda x: jax.nn.relu(x @ weights) @ weights)
    (site,) = sites(lambda _, x: inner(x), None)
    assert site.step.kind == "max"


def test_a_loop_of_known_length_is_written_out_inside_jit_too():
    def apply(w, x):
        def body(carry):
            return carry[0] + 1, jax.nn.relu(carry[1] @ w)

        return jax.lax.while_loop(lambda carry: carry[0] < 3, body, (0, x))[1] @ w

    assert len(snnjax.spike(apply, np.abs(W), X, levels=4).function.sites) == 3


def test_a_truth_value_that_a_product_reads_is_sent_as_a_float():
    (site,) = sites(lambda w, x: (x @ w > 0.5).astype(jnp.float32) @ w)
    assert site.value.dtype == jnp.float32


def test_spikes_pass_a_sum_by_segments():
    def apply(w, x):
        parts = jax.nn.relu(x @ w).T
        return jax.ops.segment_sum(parts, jnp.array([0, 0, 1, 1]), 2).T @ w[:2]

    (site,) = sites(apply)
    assert site.step.kind == "max"


def test_an_optimisation_barrier_keeps_its_values_apart():
    def apply(w, x):
        h, other = jax.lax.optimization_barrier((jax.nn.relu(x @ w), jnp.tanh(x @ w)))
        return h @ w + other

    (site,) = sites(apply)
    assert site.step.kind == "max"


def three_layers(w, x):
    return jnp.tanh(jax.nn.relu(x @ w) @ w) @ w


MIXED = np.float32([[1, -2, 0.5, 1], [0.5, 1, -1, 2], [1, 1, 1, -0.5], [-1, 0.5, 2, 1]]) / 2
PIXELS = np.float32([[1, 0.5, 0.25, 0], [0.25, 0, 1, 0.75], [0.5, 1, 0, 0.25]])


@jax.jit
def simulated_and_quantised(spiking, x):
    result = snnjax.simulate(spiking, x, num_steps=12, record=True)
    return result.values, result.recording, spiking.quantised(spiking.params, x)


def test_a_site_without_neurons_passes_its_value_as_it_is():
    hidden, how = np.maximum(PIXELS @ MIXED, 0), {"levels": 4, "rule": largest}
    wanted = snnjax.spike(lambda w, x: jnp.tanh(x @ w) @ w, MIXED, hidden, **how)
    values, sent, _ = simulated_and_quantised(wanted, hidden)
    first, second = "dot_general", "dot_general:2"
    for sites in ([second], {second}, lambda name: name != first):
        spiking = snnjax.spike(three_layers, MIXED, PIXELS, **how, sites=sites)
        assert spiking.function.found == (first, *spiking.function.sites) == (first, second)
        found, recording, quantised = simulated_and_quantised(spiking, PIXELS)
        np.testing.assert_array_equal(recording[second], *sent.values(), strict=True)
        np.testing.assert_allclose(found, values, atol=1e-6)
        np.testing.assert_allclose(found[-1], quantised, atol=1e-6)
    assert "1 sites, 4 levels" in str(spiking) and f"without neurons: {first}" in str(spiking)


@pytest.mark.slow
def test_it_settles_if_the_attention_weights_stay_floats():
    def apply(w, x):
        h = jnp.tanh(x.reshape(len(x), 2, 2) @ w[:2])
        weights = jax.nn.softmax(h @ h.mT)
        return (weights @ h).reshape(len(x), -1)[:, :4] @ w

    spiking = snnjax.spike(
        apply, MIXED, PIXELS, levels=4, rule=largest, sites=lambda name: "div" not in name
    )
    values, recording, wanted = simulated_and_quantised(spiking, PIXELS)
    np.testing.assert_allclose(values[-1], wanted, atol=1e-5)
    assert len(spiking.function.found) == 1 + len(recording) == 3


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        pytest.param(
            ["dense"], "unknown site 'dense': want one of dot_general, dot_general:2", id="unknown"
        ),
        pytest.param(
            [], "leaves no site with neurons; want some of dot_general, dot_general:2", id="none"
        ),
        pytest.param(lambda name: False, "leaves no site", id="none-by-function"),
        pytest.param("dense", r"want names, such as \['dot_general'\]", id="one-name"),
        pytest.param(3, "sites is 3", id="number"),
    ],
)
def test_a_choice_of_sites_that_cannot_be_is_refused(chosen, message):
    with pytest.raises(ValueError, match=message):
        snnjax.spike(three_layers, MIXED, PIXELS, levels=4, sites=chosen)


def test_all_sites_that_are_0_are_named_with_the_choice_that_leaves_them():
    def apply(w, x):
        h = x @ w
        return (jnp.tanh(h) + jnp.sin(0 * h) @ w + (0 * h) ** 2 @ w) @ w

    with pytest.raises(ValueError, match=r"each of the sites .* is 0 on all 3 images") as refusal:
        snnjax.spike(apply, MIXED, PIXELS, levels=4, rule=largest)
    _, dead = str(refusal.value).split("sites=lambda name: name not in ")
    dead = ast.literal_eval(dead)
    choice = {"levels": 4, "rule": largest, "sites": lambda name: name not in dead}
    function = snnjax.spike(apply, MIXED, PIXELS, **choice).function
    assert dead == [name for name in function.found if name not in function.sites]
    assert len(function.found) == 2 + len(function.sites) == 3
