"""Tests of gradients through a simulation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import compact_network, dense_network, random_images, random_variables
from spiking_functions import LeNet

import snnjax
from snnjax.snn import surrogates
from snnjax.snn.gradients import check_recording
from snnjax.snn.neurons import AUGMENTED, EXACT_CHARGE, NEURONS
from snnjax.snn.neurons.crossing import Crossing
from snnjax.snn.readout import COUNT
from snnjax.snn.simulation import simulate
from snnjax.snn.surrogates import SURROGATES, straight_through

SHAPE = (8, 8, 3)
DIFFERENTIABLE = [name for name, of in NEURONS.items() if of.with_crossing is not None]


def network_and_params(network, **how):
    return network, snnjax.convert(network, random_variables(network, SHAPE), **how)


def smooth(sign, slope, potential, multiple, threshold):
    """A comparison that is a sigmoid of the distance; an infinite threshold is not reached."""
    unit = jnp.where(jnp.isfinite(threshold), threshold, 1.0)
    distance = sign * slope * (potential / unit - multiple)
    return jnp.where(jnp.isfinite(threshold), jax.nn.sigmoid(distance), float(sign < 0))


def derivative(sign, slope, x):
    return sign * slope * jax.nn.sigmoid(slope * x) * jax.nn.sigmoid(-slope * x)


def smoothed(neuron, slope=4.0):
    """The neuron with smooth spikes, whose surrogate is their derivative."""
    compares = (
        partial(surrogates._compare, partial(smooth, sign, slope), partial(derivative, sign, slope))
        for sign in (1, -1)
    )
    return neuron.with_crossing(Crossing(*compares))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_are_those_of_finite_differences_if_the_spikes_are_smooth(name):
    leak = None if name == "integrate-and-fire" else 0.9
    network, params = network_and_params(dense_network(), leak=leak)
    images = random_images(2, SHAPE)
    fixed = {name: of for name, of in params.items() if name != "layers"}

    @jax.jit
    def loss(layers):
        run = partial(simulate, num_steps=3, neuron=smoothed(NEURONS[name]))
        values = run(network, {**fixed, "layers": layers}, images).values
        return jnp.sum(values * jnp.sin(jnp.arange(values.size)).reshape(values.shape))

    draw, layers = np.random.default_rng(0), params["layers"]
    along = jax.tree.map(
        lambda of: jnp.asarray(np.where(np.isfinite(of), of * draw.normal(size=of.shape), 0.0)),
        layers,
    )
    gradients = jax.grad(loss)(layers)
    found = sum(
        jnp.vdot(*pair) for pair in zip(*map(jax.tree.leaves, (gradients, along)), strict=True)
    )

    def moved(by):
        return loss(jax.tree.map(lambda of, d: of + by * d, layers, along))

    wanted = (moved(4e-4) - moved(-4e-4)) / 8e-4
    assert abs(wanted) > 0.1
    np.testing.assert_allclose(found, wanted, rtol=5e-3)


@pytest.mark.parametrize(
    ("name", "engine", "make"),
    [
        ("exact-charge", "fast", compact_network), ("exact-charge", "plain", dense_network),
        ("double-threshold", "fast", dense_network), ("signed-memory", "plain", dense_network),
    ],
)  # fmt: skip
def test_the_forward_pass_is_that_without_gradients_to_the_bit(name, engine, make):
    network, params = network_and_params(make())
    images = random_images(3, SHAPE)
    run = partial(
        simulate, network, images=images, num_steps=5, chunk_steps=2, engine=engine, record=True,
        neuron=NEURONS[name],
    )  # fmt: skip

    @jax.jit
    def with_gradient(layers):
        def loss(layers):
            found = run({**params, "layers": layers}, surrogate=straight_through())
            return jnp.sum(found.values[-1] ** 2), found

        return jax.grad(loss, has_aux=True)(layers)

    _, found = with_gradient(params["layers"])
    jax.tree.map(np.testing.assert_array_equal, found, run(params))


def test_chunks_that_are_computed_again_have_the_same_gradients():
    network, params = network_and_params(dense_network())
    images = random_images(3, SHAPE)

    def gradients(chunk_steps):
        def loss(layers):
            values = simulate(
                network, {**params, "layers": layers}, images, num_steps=5,
                chunk_steps=chunk_steps, surrogate=surrogates.arctan(),
            ).values  # fmt: skip
            return jnp.sum(values**2)

        return jax.jit(jax.grad(loss))(params["layers"])

    for one, other in zip(*(jax.tree.leaves(gradients(steps)) for steps in (2, 5)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * float(jnp.abs(one).max()))


def test_gradients_through_32_timesteps_take_at_most_twice_the_memory_of_4():
    network, params = network_and_params(dense_network())
    images = random_images(128, SHAPE)

    def bytes_of(num_steps):
        def loss(layers, images):
            given = {**params, "layers": layers}
            run = simulate(
                network, given, images, num_steps=num_steps, surrogate=straight_through()
            )
            return jnp.sum(run.values[-1] ** 2)

        compiled = jax.jit(jax.grad(loss)).lower(params["layers"], images).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert bytes_of(32) <= 2 * bytes_of(4)


def test_at_one_timestep_the_gradient_is_that_of_the_quantised_function():
    model, images = LeNet(), random_images(4, SHAPE)
    params = jax.jit(model.init)(jax.random.key(0), images)
    spiking = snnjax.spike(model.apply, params, images, levels=1)

    def through_time(params):
        own = type(spiking)(spiking.function, params, spiking.levels)
        return simulate(own, images, num_steps=1, surrogate=straight_through()).values[-1]

    def static(params):
        return spiking.quantised(params, images)

    found, wanted = (
        jax.jit(jax.value_and_grad(lambda p, f=f: jnp.sum(f(p) ** 2)))(spiking.params)
        for f in (through_time, static)
    )
    for one, other in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * float(jnp.abs(other).max()))


def test_a_function_has_the_same_values_and_gradients_in_chunks():
    model, images = LeNet(), random_images(2, SHAPE)
    params = jax.jit(model.init)(jax.random.key(0), images)
    spiking = snnjax.spike(model.apply, params, images, levels=2)

    def run(params, **how):
        own = type(spiking)(spiking.function, params, spiking.levels)
        values = simulate(own, images, num_steps=5, **how).values
        return jnp.sum(values**2), values

    def both(chunk_steps):
        how = {"surrogate": straight_through(), "chunk_steps": chunk_steps}
        return jax.jit(jax.grad(partial(run, **how), has_aux=True))(spiking.params)

    (one, values), (other, again) = both(5), both(2)
    np.testing.assert_array_equal(values, run(spiking.params)[1])
    np.testing.assert_array_equal(again, values)
    with pytest.raises(ValueError, match="chunk_steps is 0"):
        both(0)
    for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(a).max()))


def test_convolutions_of_a_function_have_their_own_gradients_with_a_surrogate_alone():
    """XLA's are slow in a loop; the numbers are the same."""
    model, images = LeNet(), random_images(2, SHAPE)
    params = jax.jit(model.init)(jax.random.key(0), images)
    spiking = snnjax.spike(model.apply, params, images, levels=2)

    def values(params, surrogate):
        own = type(spiking)(spiking.function, params, spiking.levels)
        return simulate(own, images, num_steps=3, surrogate=surrogate).values

    def count(surrogate):
        traced = jax.make_jaxpr(partial(values, surrogate=surrogate))(spiking.params)
        return str(traced).count("bind_with_gradients")

    assert count(straight_through()) >= 2 and count(None) == 0

    def without_spikes(params, gradient):
        function, arguments = spiking.function, spiking.arguments
        given = {**arguments, "params": params}
        outputs = function.begin(given, images, gradient=gradient)(lambda name, value: value)
        return jnp.sum(outputs**2), outputs

    found, wanted = (
        jax.jit(jax.grad(partial(without_spikes, gradient=how), has_aux=True))(params)
        for how in (True, False)
    )
    np.testing.assert_array_equal(found[1], wanted[1])
    for one, other in zip(*map(jax.tree.leaves, (found[0], wanted[0])), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * float(jnp.abs(other).max()))


@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_has_its_largest_value_at_the_threshold_and_a_finite_area(name):
    surrogate = SURROGATES[name]()
    x = jnp.linspace(-400, 400, 800_001)
    slopes = surrogate(x)
    assert 0 < float(slopes.max()) <= float(surrogate(jnp.float32(0)))
    assert float(jnp.sum(slopes)) * 1e-3 == pytest.approx(
        {"fast-sigmoid": 2 / 10}.get(name, 1.0), rel=0.02
    )
    assert surrogate == SURROGATES[name]()  # equal ones share a compilation


def test_negative_spikes_have_the_slope_of_their_own_threshold():
    params = snnjax.snn.neurons.make_params(2.0, alpha=0.25)
    neuron = surrogates.differentiable(EXACT_CHARGE, straight_through())
    count = jax.vmap(jax.grad(lambda charge: neuron.next_count(params, jnp.float32(0), charge)))
    np.testing.assert_allclose(
        count(jnp.array([0.5, 1.9, 2.1, -0.5, -7.9, -8.1])), [0.5, 0.5, 0, 0.125, 0.125, 0]
    )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"neuron": AUGMENTED}, "no surrogate gradient; want one of double-threshold"),
        ({"neuron": "exact-charge"}, "neuron is 'exact-charge'; want one such as"),
        ({"surrogate": "arctan"}, "surrogate is 'arctan'; want one such as"),
        ({"surrogate": [1]}, r"surrogate is \[1\]; want one such as"),
        ({"readout": COUNT}, "this readout counts spikes"),
    ],
)
def test_what_has_no_gradient_is_refused(how, message):
    network, params = network_and_params(dense_network())
    how = {"surrogate": straight_through(), **how}
    with pytest.raises(ValueError, match=message):
        simulate(network, params, random_images(2, SHAPE), num_steps=2, **how)


@pytest.mark.parametrize("make", SURROGATES.values())
def test_a_size_that_is_not_above_0_is_refused(make):
    with pytest.raises(ValueError, match="want a finite number above 0"):
        make(0.0)


def test_a_recording_beyond_memory_is_refused_before_it_is_computed():
    with pytest.raises(ValueError, match="record an observer that sums them"):
        check_recording({"a": (10**6,)}, 10**4, 10**3)
    check_recording({"a": (10,)}, 10, 10)
