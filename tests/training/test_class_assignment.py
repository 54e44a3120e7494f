"""Neurons that learnt without labels get the classes that they respond to."""

import jax.numpy as jnp
import numpy as np
import pytest

from snnjax.snn.readout import leaky_layer
from snnjax.training.class_assignment import assign_classes, with_assigned_classes


def test_a_neuron_gets_the_class_it_responds_to_most():
    currents = jnp.tile(2.0 * jnp.eye(3)[jnp.array([0, 1, 2, 1])], (6, 1, 1))
    weights = np.array([[0.0, 1.0, 0.2, 0.0], [1.0, 0.0, 0.3, 0.0], [0.0, 0.0, 0.5, 1.0]])
    layer = leaky_layer(weights, threshold=0.5, labels=[0, 1, 2, 0])
    params = {"output_scale": jnp.float32(1.0), "readout": layer}
    given = assign_classes(params, currents, jnp.array([0, 1, 2, 1]), num_classes=3)
    np.testing.assert_array_equal(given, [1, 0, 2, 2])


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
