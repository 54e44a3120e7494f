"""Accuracy, conversion loss and latency, worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.analysis import metrics


def test_accuracy_and_loss_at_every_timestep():
    values = jnp.array([[[1, 0], [1, 0]], [[0, 1], [1, 0]]], jnp.float32)
    curve = metrics.accuracy(values, np.array([1, 0]))
    np.testing.assert_allclose(curve, [0.5, 1.0])
    np.testing.assert_allclose(metrics.conversion_loss(0.75, curve), [0.25, -0.25])
    with pytest.raises(ValueError, match=r"labels have shape \(3,\); want \(2,\)"):
        metrics.accuracy(values, np.zeros(3))
    with pytest.raises(ValueError, match=r"want .* with an image or more"):
        metrics.accuracy(values[:, :0], np.zeros(0))


@pytest.mark.parametrize(
    ("curve", "expected"), [([0.5, 0.9894, 0.99], 3), ([0.9895, 0.5], 1), ([0.2, 0.3], None)]
)
def test_latency_is_the_first_step_within_reach(curve, expected):
    assert metrics.latency(0.99, curve, within=0.0005) == expected
    with pytest.raises(ValueError, match="within is -1"):
        metrics.latency(0.99, curve, within=-1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy(np.full((1, 2, 3), np.nan), [0, 0]), "values hold NaN"),
        (
            lambda: metrics.accuracy(np.ones((1, 2, 4)), [1, 9]),
            "labels .* want classes from 0 to 3",
        ),
        (lambda: metrics.accuracy(np.ones((1, 1, 4)), [-1]), "want classes from 0 to 3"),
        (lambda: metrics.accuracy(np.ones((1, 1, 1)), [2]), "want classes from 0 to 1"),
        (lambda: metrics.accuracy(np.ones((1, 1, 2)), [0.5]), "labels are float64; want whole"),
        (lambda: metrics.conversion_loss(np.nan, [0.5]), "ann is nan; want a finite accuracy"),
        (lambda: metrics.conversion_loss(0.5, ["x"]), "snn is .* want finite accuracies"),
        (lambda: metrics.latency(0.5, [np.nan], within=0.1), "snn is .*nan.* want finite"),
        (lambda: metrics.latency(0.5, [0.5], within=np.nan), "within is nan; want at least 0"),
    ],
)
def test_numbers_that_stand_for_no_accuracy_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
