"""Neurons that learnt without labels get the classes that they respond to."""

import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.snn.answers import NO_CLASS
from snnjax.snn.readout import LEAKY, leaky_layer, read
from snnjax.training.class_assignment import assign_classes, with_assigned_classes


def test_a_neuron_gets_the_class_it_responds_to_most():
    currents = jnp.tile(2.0 * jnp.eye(3)[jnp.array([0, 1, 2, 1])], (6, 1, 1))
    weights = np.array([[0.0, 1.0, 0.2, 0.0], [1.0, 0.0, 0.3, 0.0], [0.0, 0.0, 0.5, 1.0]])
    layer = leaky_layer(weights, threshold=0.5, labels=[0, 1, 2, 0])
    params = {"output_scale": jnp.float32(1.0), "readout": layer}
    given = assign_classes(params, currents, jnp.array([0, 1, 2, 1]), num_classes=3)
    np.testing.assert_array_equal(given, [1, 0, 2, 2])


def test_a3_a_neuron_that_never_fired_stands_for_no_class():
    """Else class 0 would be averaged with a silent neuron, and lose."""
    currents = jnp.tile(2.0 * jnp.eye(3)[jnp.arange(3)], (6, 1, 1))
    layer = leaky_layer(np.eye(3, 4), threshold=0.5, labels=[0, 1, 2, 0])
    params = {"output_scale": jnp.float32(1.0)}
    learnt = with_assigned_classes(params, layer, currents, jnp.arange(3))
    np.testing.assert_array_equal(learnt["labels"], [0, 1, 2, NO_CLASS])
    alone = leaky_layer(np.eye(3), threshold=0.5)
    values, wanted = (read(LEAKY, {**params, "readout": own}, currents) for own in (learnt, alone))
    np.testing.assert_array_equal(values, wanted)
    assert float(values[-1, 0, 0]) > 5


def test_a3_a_label_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match=r"labels.*want classes 0 to 1, or -1 for none"):
        leaky_layer(np.eye(2, 3), labels=[0, 1, 5])


def test_a_class_without_images_or_neurons_is_named():
    labels = jnp.arange(3)
    currents = jnp.tile(2.0 * jnp.eye(3)[labels], (6, 1, 1))
    params = {"output_scale": jnp.float32(1.0), "readout": leaky_layer(np.eye(3), threshold=0.5)}
    with pytest.raises(ValueError, match=r"has 0 images and none of class 0, 1, 2"):
        assign_classes(params, currents[:, :0], labels[:0], num_classes=3)
    with pytest.raises(ValueError, match="2 images and none of class 1, 2"):
        assign_classes(params, currents[:, :2], jnp.zeros(2, int), num_classes=3)
    unreachable = leaky_layer(np.eye(3)[:, [0] * 3], labels=np.arange(3))
    with pytest.raises(ValueError, match="has no neuron"):
        with_assigned_classes(params, unreachable, currents, labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.0, 2.0], "labels are float64; want whole numbers from 0 to 2"),
        ([0, 1], r"labels have shape \(2,\); want \(3,\)"),
        ([0, 1, -1], "labels .* want classes from 0 to 2"),
        ([0, 1, 3], "labels .* want classes from 0 to 2"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, message):
    currents = jnp.tile(2.0 * jnp.eye(3), (6, 1, 1))
    params = {"output_scale": jnp.float32(1.0), "readout": leaky_layer(np.eye(3), threshold=0.5)}
    with pytest.raises(ValueError, match=message):
        assign_classes(params, currents, labels, num_classes=3)
