"""Accuracy, loss, latency, the readouts' answers, and noise, worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.analysis import metrics
from snnjax.snn.readout import ACCUMULATE, COUNT


def read(readout, params, currents):
    """Values `[T, K]` of one image whose last layer gets `currents` `[T, K]`."""
    currents = jnp.asarray(currents, jnp.float32)[:, None]
    state = readout.init(params, currents.shape[1:])
    return jax.lax.scan(lambda s, j: readout.step(params, s, j), state, currents)[1][:, 0]


def test_the_accumulated_current_is_its_mean_so_far():
    np.testing.assert_allclose(
        read(ACCUMULATE, {"output_leak": 1.0}, [[1.0, -1.0], [3.0, 0.0]]),
        [[1.0, -1.0], [2.0, -0.5]],
    )


def test_counts_decide_and_the_membrane_only_breaks_ties():
    params = {"output_scale": jnp.float32(1.0)}
    values = read(COUNT, params, [[1.0, 0.9, -1.0], [0.0, 0.05, 0.2]])
    np.testing.assert_array_equal(values.argmax(-1), [0, 0])
    assert values[0, 2] == -1.0
    tied = read(COUNT, params, [[0.3, 0.4, 0.2]])
    assert tied.argmax() == 1
    assert jnp.abs(tied).max() < 0.5


def test_a_saturated_output_never_outweighs_a_spike():
    params = {"output_scale": jnp.float32(1.0)}
    values = read(COUNT, params, [[1e6, -1e6]])
    np.testing.assert_allclose(values, [[1.499, -1.499]], atol=1e-3)


def test_accuracy_and_loss_at_every_timestep():
    values = jnp.array([[[1, 0], [1, 0]], [[0, 1], [1, 0]]], jnp.float32)
    curve = metrics.accuracy(values, np.array([1, 0]))
    np.testing.assert_allclose(curve, [0.5, 1.0])
    np.testing.assert_allclose(metrics.conversion_loss(0.75, curve), [0.25, -0.25])
    with pytest.raises(ValueError, match=r"labels have shape \(3,\); want \(2,\)"):
        metrics.accuracy(values, np.zeros(3))


@pytest.mark.parametrize(
    ("curve", "expected"), [([0.5, 0.9894, 0.99], 3), ([0.9895, 0.5], 1), ([0.2, 0.3], None)]
)
def test_latency_is_the_first_step_within_reach(curve, expected):
    assert metrics.latency(0.99, curve, within=0.0005) == expected
    with pytest.raises(ValueError, match="within is -1"):
        metrics.latency(0.99, curve, within=-1)


def test_a_leak_of_the_output_counts_recent_currents_more():
    found = read(ACCUMULATE, {"output_leak": 0.5}, [[1.0, 0.0], [4.0, 0.0]])
    np.testing.assert_allclose(found, [[1.0, 0.0], [(0.5 * 1 + 4) / 1.5, 0.0]])
