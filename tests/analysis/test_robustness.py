"""Answers under noise from one program equal those of separate simulations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, limit, random_images, random_variables

from snnjax.analysis.robustness import correct_answers_under_noise
from snnjax.conversion.conversion import convert
from snnjax.snn.encoding import CONSTANT, RATE
from snnjax.snn.noise import make_noise
from snnjax.snn.readout import COUNT, LEAKY, leaky_layer
from snnjax.snn.simulation import simulate
from snnjax.snn.stimulus import Stimulus, frame

SHAPE, STEPS, KEY = (4, 4, 1), 6, jax.random.key(2)
DENSITIES, LEAKS = jnp.array([0.0, 0.3, 0.9]), jnp.array([1.0, 0.5])


@pytest.mark.slow
def test_one_program_gives_the_answers_of_separate_simulations():
    network = dense_network()
    params = convert(network, random_variables(network, SHAPE), output_scale=2.0)
    images, first = random_images(60, SHAPE), 7
    labels = jnp.argmax(limit(network, params, images), -1)  # the clean ANN is right
    layers = jax.vmap(lambda leak: leaky_layer(jnp.eye(3), leak=leak))(LEAKS)
    noise = make_noise(DENSITIES, steps=1, out_of=2)
    found = correct_answers_under_noise(
        network, params, {"leaky": layers}, images, labels, noise, KEY, num_steps=STEPS,
        first=first,
    )  # fmt: skip
    how = {"num_steps": STEPS, "encoding": RATE, "key": KEY, "first": first}
    for d, density in enumerate(DENSITIES):
        one = make_noise(density, steps=1, out_of=2)
        counted = simulate(network, params, images, readout=COUNT, noise=one, **how).values[-1]
        np.testing.assert_array_equal(found["count"][d], counted.argmax(-1) == labels)
        frames = [frame(Stimulus(images, KEY, first, one), 1.0, t, RATE) for t in range(STEPS)]
        mean = limit(network, params, sum(frames) / STEPS)
        np.testing.assert_array_equal(found["ann_mean"][d], mean.argmax(-1) == labels)
        for i, leak in enumerate(LEAKS):
            own = {**params, "readout": leaky_layer(np.eye(3), leak=leak)}
            leaky = simulate(network, own, images, readout=LEAKY, noise=one, **how).values[-1]
            np.testing.assert_array_equal(found["leaky"][d, i], leaky.argmax(-1) == labels)
    assert found["ann"][0].all()
    assert found["ann"][0].mean() > found["ann"][1].mean() > found["ann"][2].mean()


def test_without_noise_and_with_constant_input_both_anns_are_the_clean_one():
    network = dense_network()
    params = convert(network, random_variables(network, SHAPE), output_scale=2.0)
    images = random_images(20, SHAPE)
    labels = jnp.argmax(limit(network, params, images), -1)
    found = correct_answers_under_noise(
        network, params, {}, images, labels, make_noise(jnp.zeros(1)), KEY, num_steps=STEPS,
        encoding=CONSTANT,
    )  # fmt: skip
    assert found["ann"].all()
    assert found["ann_mean"].all()
