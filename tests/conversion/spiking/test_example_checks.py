"""What a user passes to `spike` is checked before any work, and images must stay apart."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnjax
from snnjax.conversion.spiking.calibration import largest
from snnjax.conversion.spiking.program import record

X = (np.arange(12, dtype=np.float32).reshape(3, 4) % 5) / 4
W = (np.arange(16, dtype=np.float32).reshape(4, 4) % 5 - 1.5) / 4


def two_layers(w, x):
    return jax.nn.relu(x @ w) @ w


def rolled_rows(w, x):
    rows = jnp.roll(x.reshape(-1, 2), 1, 0)
    return jnp.roll(jax.nn.relu(rows @ w[:2]) @ w, -1, 0).reshape(len(x), 8)


def fixed_number_of_rows(w, x):
    rows = (x.reshape(-1, 2, 2) @ w[:2]).reshape(2, -1, 4)  # nothing to do for 2 images
    return (jnp.tanh(rows) @ w).reshape(len(x), 8)


def constant_rows(w, x):
    return (jnp.sign(jnp.exp(x.reshape(-1, 2) @ w[:2])) @ w).reshape(len(x), 8)


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        pytest.param(
            lambda w, x: jnp.cumsum(jax.nn.relu(x @ w), 0) @ w, "outputs change",
            id="later-images-see-earlier-ones",
        ),
        pytest.param(
            lambda w, x: two_layers(w, x) / len(x), "batch of 3", id="divides-by-the-batch-size"
        ),
        pytest.param(rolled_rows, "order that no reshape gives", id="part-of-an-image-moved-away"),
        pytest.param(constant_rows, "same for all images", id="nothing-tells-the-order"),
        pytest.param(
            lambda w, x: jax.lax.map(lambda row: two_layers(w, row), x), r"jax\.vmap",
            id="loops-over-images",
        ),
        pytest.param(
            lambda w, x: jnp.concatenate([two_layers(w, row[None]) for row in x]),
            "has 2 sites for 2 images and 3 for 3: .*:3 at", id="more-sites-for-more-images",
        ),
        pytest.param(
            lambda w, x: two_layers(w, two_layers(w, x) if len(x) == 2 else x),
            "has 3 sites for 2 images and 1 for 3: .*:2 at", id="fewer-sites-for-more-images",
        ),
        pytest.param(
            fixed_number_of_rows,
            r"for 2 images it has tanh at .*checks\.py:\d+ where it has reshape at .*:\d+ for 3",
            id="fixed-number-of-rows",
        ),
        pytest.param(lambda w, x: two_layers(w, x) @ (w * np.nan), "NaN", id="last-weights-NaN"),
    ],
)  # fmt: skip
def test_values_that_depend_on_other_images_are_refused(apply, message):
    with pytest.raises(ValueError, match=message):
        snnjax.spike(apply, W, X, levels=4)


def test_images_that_a_reshape_joins_with_tokens_in_any_order_stay_apart():
    def apply(w, x):
        tokens = x.reshape(len(x), 2, 3, 4)
        for order in ((1, 2, 0), (1, 0, 2), (0, 1, 2)):  # images as the last, middle, first part
            moved = tokens.transpose(*order, 3)
            rows = jax.nn.relu(moved.reshape(-1, 4) @ w).reshape(moved.shape)
            tokens = rows.transpose(*np.argsort(order), 3)
        return tokens.sum((1, 2)) @ w

    x = np.random.default_rng(0).uniform(size=(5, 24)).astype(np.float32)
    spiking = snnjax.spike(apply, W, x, levels=4)
    assert [place.blocks for place in spiking.function.image_axes] == [6, 2, 1]
    together = snnjax.simulate(spiking, x, num_steps=12)
    for image in range(5):
        alone = snnjax.simulate(spiking, x[image : image + 1], num_steps=12)
        for site, count in alone.layer_spikes.items():
            assert int(count[0]) == int(together.layer_spikes[site][image]) > 0
    assert all(int(size) == 24 for size in together.neurons.values())


def blocks_of_token_rows(rows, x):
    """Order of the images at the site of a function that joins them with 4 tokens behind them."""
    spiking = snnjax.spike(
        lambda w, x: (rows(w, x) @ w).reshape(len(x), 16), W, x, levels=4, rule=largest
    )
    return [place.blocks for place in spiking.function.image_axes]


def test_one_token_that_differs_between_images_tells_their_order():
    def rows(w, x):
        others = jnp.ones((len(x), 3, 4))
        return jnp.tanh(jnp.concatenate([x[:, None] @ w, others], 1).reshape(-1, 4))

    assert blocks_of_token_rows(rows, X) == [1]


def test_images_that_differ_tell_the_order_after_images_that_do_not():
    def rows(w, x):
        return jax.nn.relu(x.reshape(-1, 4) @ jnp.abs(w) - 0.5)

    x = np.repeat(np.float32([0, 1]), 12)[:, None] * np.ones(16, np.float32)
    assert blocks_of_token_rows(rows, x) == [1]


def test_values_that_change_with_other_images_by_rounding_alone_stay_apart():
    def rows(w, x):
        return jax.nn.relu(x.reshape(-1, 4) @ w) * (1 + 1e-5 * x.sum())

    assert blocks_of_token_rows(rows, np.tile(X, 4)) == [1]


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        pytest.param(lambda w, x: two_layers(w, x) if x[0, 0] > 0 else x, "decides", id="if"),
        pytest.param(lambda w, x: x[x > 0] @ w, "decides", id="shape-of-the-image"),
        pytest.param(lambda w, x: np.asarray(x) @ w, "out of JAX", id="numpy"),
        pytest.param(lambda x: x, r"fails for x of shape \(2, 4\).*argument", id="one-argument"),
        pytest.param(lambda w, x: None, "nothing", id="returns-nothing"),
        pytest.param(lambda w, x: two_layers(w, x).sum(), r"shape \(\)", id="returns-a-scalar"),
        pytest.param(
            lambda w, x: jnp.float32(jnp.int32(x @ w) @ jnp.int32(w)), "it is int32",
            id="integer-activations",
        ),
        pytest.param(
            lambda w, x: (jnp.fft.fft(x @ w) @ (w + 1j * w)).real, "imaginary",
            id="complex-activations",
        ),
        pytest.param(
            lambda w, x: jax.lax.dynamic_slice(x @ w, jnp.int32([0, x[0, 0]]), (2, 2)), "places",
            id="second-index-depends-on-the-image",
        ),
        pytest.param(
            lambda w, x: jax.lax.cond(w[0, 0] > 0, jnp.sin, jnp.cos, x @ w) @ w, "decides",
            id="branches-by-a-parameter",
        ),
        pytest.param(3, "want a function", id="no-function"),
    ],
)  # fmt: skip
def test_a_function_that_cannot_be_read_is_refused_in_words(apply, message):
    with pytest.raises(ValueError, match=message):
        snnjax.spike(apply, W, X, levels=4)


@pytest.mark.parametrize(
    ("params", "example", "options", "message"),
    [
        pytest.param({"w": W, "act": jax.nn.relu}, X, {}, "at act; want arrays", id="function"),
        pytest.param({"w": W, "name": "a"}, X, {}, "'a' at name", id="text"),
        pytest.param(W, np.int32(X), {}, "embeddings", id="tokens"),
        pytest.param(W, X[:0], {}, "no example images", id="no-images"),
        pytest.param(W, X[:, :3], {}, r"\(2, 3\)", id="narrow-images"),
        pytest.param(W, X, {"levels": 10**6}, "at most 100,000", id="levels"),
        pytest.param(W, X, {"levels": 8, "input_steps": 7}, "at least 8", id="few-timesteps"),
        pytest.param(W, X, {"rule": "largest"}, "rule", id="rule"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(params, example, options, message):
    with pytest.raises(ValueError, match=message):
        snnjax.spike(two_layers, params, example, **options)


def test_spike_inside_a_transformation_is_refused():
    def thetas(w):
        return snnjax.spike(two_layers, w, X, levels=4).params["thetas"]

    def thetas_of_closure(w):
        return snnjax.spike(lambda _, x: two_layers(w, x), (), X, levels=4).params["thetas"]

    with pytest.raises(ValueError, match=r"outside of jax\.jit"):
        jax.jit(thetas)(W)
    with pytest.raises(ValueError, match="in params"):
        jax.jit(thetas_of_closure)(W)


class Holder(eqx.Module):
    weights: jax.Array

    def outputs(self, params, x):
        return two_layers(self.weights, x) * params["scale"]


def test_functions_that_hold_arrays_and_parameters_of_any_number_work():
    params = {"scale": 2, "none": None, "double": np.float64(1.0), "key": jax.random.key(0)}
    held = Holder(jnp.asarray(W)).outputs
    with pytest.raises(TypeError):
        hash(held)
    partial = functools.partial(lambda w, p, x: two_layers(w, x) * p["scale"], W)
    thetas = [snnjax.spike(of, params, X, levels=4).params["thetas"] for of in (held, partial)]
    assert thetas[0] == thetas[1] == snnjax.spike(two_layers, W, X, levels=4).params["thetas"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"thetas": {}}, "lack thetas of dot_general", id="no-theta"),
        pytest.param({"thetas": {"dot_general": 0.0}}, "theta of dot_general is 0", id="zero"),
        pytest.param({"thetas": {"dot_general": np.nan}}, "above 0", id="nan"),
    ],
)
def test_bad_thetas_are_refused(change, message):
    spiking = snnjax.spike(two_layers, W, X, levels=4)
    changed = dataclasses.replace(spiking, params=spiking.params | change)
    with pytest.raises(ValueError, match=message):
        snnjax.simulate(changed, X, num_steps=4)
    with pytest.raises(ValueError, match=message):
        spiking.quantised(changed.params, X)


def test_parameters_and_images_of_something_else_are_refused():
    spiking = snnjax.spike(two_layers, W, X, levels=4)
    with pytest.raises(ValueError, match=r"want spiking\.params"):
        spiking.quantised(W, X)
    with pytest.raises(ValueError, match="uint8"):
        spiking.quantised(spiking.params, np.uint8(X))
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        snnjax.simulate(spiking, X[:, :3], num_steps=4)
    with pytest.raises(ValueError, match="want simulate"):
        snnjax.simulate(spiking, spiking.params, X, num_steps=4)


def test_an_activation_that_is_not_a_number_does_not_become_0():
    spiking = snnjax.spike(lambda w, x: jnp.log(x @ w + 1) @ w, np.abs(W), X, levels=4)
    result = snnjax.simulate(spiking, -9 * X, num_steps=6)
    assert (
        np.isnan(result.values[-1]).any(1).tolist()
        == np.isnan(spiking.quantised(spiking.params, -9 * X)).any(1).tolist()
    )
    assert np.isnan(result.values[-1]).any()


def test_known_numbers_have_the_dtype_of_the_function():
    def apply(w, x):
        h = jax.nn.relu(x.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16))
        return (h @ (w.astype(jnp.bfloat16) * 2)).astype(jnp.float32)

    program = record(apply, W, X)
    for step in program.steps:
        for operand, variable in zip(step.operands, step.equation.invars, strict=True):
            assert getattr(operand, "value", operand).dtype == variable.aval.dtype


def test_levels_beyond_the_timesteps_with_input_are_refused():
    spiking = snnjax.spike(two_layers, W, X, levels=4)
    with pytest.raises(ValueError, match="levels is 5; want a whole number from 1 to input_steps"):
        snnjax.simulate(dataclasses.replace(spiking, levels=5), X, num_steps=4)
