"""Tests of the noise: its density, its timesteps and its draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

from snnjax.conversion.conversion import convert
from snnjax.snn.encoding import RATE
from snnjax.snn.noise import corrupt, make_noise, salt_and_pepper
from snnjax.snn.simulation import simulate
from snnjax.snn.stimulus import Stimulus, frame, image_keys

SHAPE = (4, 4, 1)


@jax.jit
def seen(noise, images, first=0):
    """Images after the noise of 20 timesteps; tests with images of one shape share a program."""
    keys = image_keys(jax.random.key(0), first, len(images))
    return jax.vmap(lambda t: corrupt(keys, images, noise, t))(jnp.arange(20))


def test_density_is_the_share_of_black_or_white_pixels():
    images = jnp.full((40, 16, 16, 3), 0.4)
    key = jax.random.key(0)
    for density in (0.0, 0.1, 0.3, 1.0):
        noisy = salt_and_pepper(key, images, density)
        changed = np.asarray(noisy != images)
        assert changed.mean() == pytest.approx(density, abs=0.01)
        assert (changed.all(-1) == changed.any(-1)).all()
        assert noisy[changed].mean() == pytest.approx(0.5, abs=0.05) or density == 0
    few, many = (salt_and_pepper(key, images, d) != images for d in (0.1, 0.3))
    assert (many | ~few).all()


@pytest.mark.parametrize("steps", [0, 2, 5])
def test_every_block_has_its_number_of_noisy_timesteps(steps):
    """2 of every 5 in every image and block, all pairs about equally often."""
    images = jnp.full((60, 8, 8, 1), 0.4)
    frames = seen(make_noise(0.5, steps=steps, out_of=5), images)
    noisy = np.asarray((frames != images).any((2, 3, 4))).reshape(4, 5, 60)
    np.testing.assert_array_equal(noisy.sum(1), steps)
    if steps == 2:
        assert len({tuple(block) for block in noisy.transpose(0, 2, 1).reshape(-1, 5)}) == 10
        np.testing.assert_allclose(noisy.mean((0, 2)), 0.4, atol=0.12)


def test_fresh_noise_draws_new_pixels_in_each_timestep_and_other_noise_keeps_them():
    images = jnp.full((60, 8, 8, 1), 0.4)
    fresh, same = (seen(make_noise(0.3, fresh=fresh), images) for fresh in (True, False))
    assert (same == same[0]).all()
    assert not (fresh[0] == fresh[1]).all()
    assert not (same[0, 0] == same[0, 1]).all()  # images have draws of their own


def test_a_draw_depends_on_the_image_and_not_on_its_batch():
    images = jnp.full((60, 8, 8, 1), 0.4)
    noise = make_noise(0.3, steps=1, out_of=2)
    np.testing.assert_array_equal(seen(noise, images)[:, 40:], seen(noise, images[:20], first=40))


def test_noise_is_independent_of_the_spikes_drawn_with_the_same_key():
    """Of pixels at 0.5 without noise, half fire; with a shared draw they would not."""
    images = jnp.full((50, 8, 8, 1), 0.5)
    key = jax.random.key(3)

    @jax.jit
    def frames(t):
        noisy = Stimulus(images, key, 0, make_noise(0.5))
        return frame(Stimulus(images, key), 1.0, t, RATE), frame(noisy, 1.0, t, RATE)

    for t in range(3):
        plain, both = frames(t)
        changed = plain != both
        assert float(plain[changed].mean()) == pytest.approx(0.5, abs=0.05)
        assert float(plain[~changed].mean()) == pytest.approx(0.5, abs=0.05)
        assert float(changed.mean()) == pytest.approx(0.25, abs=0.03)


def test_noise_reaches_a_network_with_constant_input():
    network = dense_network()
    params, images = convert(network, random_variables(network, SHAPE)), random_images(5, SHAPE)
    key = jax.random.key(0)
    clean = simulate(network, params, images, num_steps=6)
    for density, steps in ((0.0, 1), (0.5, 0)):
        quiet = simulate(
            network, params, images, num_steps=6, key=key, noise=make_noise(density, steps=steps)
        )
        np.testing.assert_allclose(quiet.values, clean.values, atol=1e-5)

    def noisy(density):
        noise = make_noise(density, steps=2, out_of=5)
        return simulate(network, params, images, num_steps=6, key=key, noise=noise).values

    densities = jnp.array([0.2, 0.6])
    swept = jax.vmap(noisy)(densities)
    for values, density in zip(swept, densities, strict=True):
        np.testing.assert_allclose(values, noisy(density), atol=1e-5)
        assert float(jnp.abs(values - clean.values).max()) > 1e-3


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"density": -0.1}, "density is -0.1; want a share"),
        ({"density": 1.1}, "density is 1.1; want a share"),
        ({"density": float("nan")}, "density is nan"),
        ({"density": 0.1, "steps": 3, "out_of": 2}, "steps is 3; want it from 0 to out_of = 2"),
        ({"density": 0.1, "steps": -1}, "steps is -1"),
        ({"density": 0.1, "out_of": 0}, "out_of is 0; want a whole number of at least 1"),
    ],
)
def test_bad_noise_is_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        make_noise(**numbers)


def test_noise_without_a_key_is_refused():
    network = dense_network()
    params = convert(network, random_variables(network, SHAPE))
    with pytest.raises(ValueError, match="noise is drawn at random; pass key"):
        simulate(network, params, random_images(2, SHAPE), num_steps=2, noise=make_noise(0.1))
    with pytest.raises(ValueError, match=r"density is 1\.5"):
        salt_and_pepper(jax.random.key(0), jnp.zeros((1, 2, 2, 1)), 1.5)
