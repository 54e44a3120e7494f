"""Tests of the encodings: means, variances and random draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.snn.encoding import CONSTANT, DETERMINISTIC, ENCODINGS, RATE, temporal
from snnjax.snn.stimulus import image_keys

IMAGES = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, 4, 5, 1)), jnp.float32)


def frames(encoding, steps, *, gain=1.0, images=IMAGES, seed=0):
    keys = image_keys(jax.random.key(seed), 0, len(images))
    return jax.vmap(lambda t: encoding.encode(keys, images, gain, t))(jnp.arange(steps))


@pytest.mark.parametrize("encoding", [RATE, DETERMINISTIC])
def test_spikes_are_ternary_and_have_the_sign_of_the_pixel(encoding):
    sent = np.asarray(frames(encoding, 50))
    assert set(np.unique(sent)) == {-1.0, 0.0, 1.0}
    assert (sent * np.sign(IMAGES) >= 0).all()


@pytest.mark.parametrize("gain", [0.5, 1.0])
@pytest.mark.parametrize(
    ("encoding", "tolerance"), [(CONSTANT, 1e-6), (DETERMINISTIC, 0.51 / 2000), (RATE, 0.05)]
)
def test_the_mean_is_gain_times_the_image(encoding, tolerance, gain):
    mean = frames(encoding, 2000, gain=gain).mean(0)
    np.testing.assert_allclose(mean, gain * IMAGES, atol=tolerance)


def test_deterministic_counts_are_within_half_a_spike_at_every_timestep():
    sent = jnp.cumsum(frames(DETERMINISTIC, 40), 0)
    wanted = jnp.arange(1, 41)[:, None, None, None, None] * IMAGES
    assert jnp.abs(sent - wanted).max() <= 0.5 + 1e-4


def test_rate_spikes_have_the_variance_of_independent_draws():
    """x (1 - x) / T, which draws shared between timesteps or pixels would not have."""
    images = jnp.full((4, 8, 8, 1), 0.5)
    means = frames(RATE, 64, images=images).mean(0)
    assert float(jnp.var(means)) == pytest.approx(0.25 / 64, rel=0.25)


def test_every_pixel_step_and_image_has_its_own_draw():
    images = jnp.full((3, 6, 6, 2), 0.5)
    sent = np.asarray(frames(RATE, 8, images=images))
    flat = sent.transpose(0, 1, 4, 2, 3).reshape(8 * 3 * 2, -1)
    assert len(np.unique(flat, axis=0)) == len(flat)


def test_black_never_fires_and_white_always_does():
    images = jnp.array([0.0, 1.0, -1.0, 3.0]).reshape(1, 2, 2, 1)
    for encoding in (RATE, DETERMINISTIC):
        sent = frames(encoding, 200, images=images)
        np.testing.assert_array_equal(sent.mean(0).ravel(), [0, 1, -1, 1])


def test_the_same_seed_gives_the_same_spikes_and_another_does_not():
    assert (frames(RATE, 5, seed=3) == frames(RATE, 5, seed=3)).all()
    assert not (frames(RATE, 5, seed=3) == frames(RATE, 5, seed=4)).all()


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
def test_gain_is_traced_and_eager_equals_jit(encoding):
    keys = image_keys(jax.random.key(0), 0, 3)
    swept = jax.jit(jax.vmap(lambda c: encoding.encode(keys, IMAGES, c, 2)))(jnp.array([0.5, 1.0]))
    np.testing.assert_array_equal(swept[0], encoding.encode(keys, IMAGES, 0.5, 2))


def test_temporal_coding_sends_one_spike_per_window_earlier_for_brighter_pixels():
    images = jnp.array([1.0, 0.5, -0.5, 0.01, 0.0, 3.0]).reshape(1, 2, 3, 1)
    sent = np.asarray(frames(temporal(11), 22, images=images)).reshape(22, 6)
    times = [np.flatnonzero(train).tolist() for train in sent.T]
    assert times == [[0, 11], [5, 16], [5, 16], [10, 21], [], [0, 11]]
    assert sent[5, 2] == -1
    assert temporal(11) is temporal(11)  # one compilation for equal windows
    with pytest.raises(ValueError, match="window is 0; want a whole number of at least 1"):
        temporal(0)
