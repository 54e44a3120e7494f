"""A small network to train, and images whose class can be seen."""

from functools import partial

import jax
import numpy as np
import pytest
from examples import dense_network, random_images

from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.training.fitting import fit
from snnjax.training.training_config import TrainingConfig

SHAPE = (4, 4, 1)


@pytest.fixture(scope="session")
def small_config():
    return TrainingConfig(epochs=4, batch_size=16, max_shift=1, levels=4, learning_rate=0.02)


@pytest.fixture(scope="session")
def start():
    """A module with dropout and batch norm, and its initial variables."""
    network = dense_network()
    with_norm = (*network.layers[:2], arch.BatchNorm(), *network.layers[2:])
    module = ANN(with_norm, dropout=0.2)
    return module, jax.jit(module.init)(jax.random.key(0), np.zeros((1, *SHAPE), np.float32))


@pytest.fixture(scope="session")
def labelled():
    """Function from a count to images whose class is their brightest column, and their labels."""

    def draw(count, seed=0):
        images = np.asarray(random_images(count, SHAPE, seed) * 100, np.uint8)
        labels = np.random.default_rng(seed).integers(0, 3, count).astype(np.int32)
        images[np.arange(count), :, labels] += 100
        return images, labels

    return draw


@pytest.fixture(scope="session")
def run(labelled):
    """Function that trains on 200 images and validates on 60."""

    def fit_small(start, config, **more):
        module, variables = start
        validation = labelled(60, 1)
        return fit(
            module.apply, variables, labelled(200), validation, config, progress=False, **more
        )

    return fit_small


@pytest.fixture(scope="session")
def assert_same():
    return partial(jax.tree.map, np.testing.assert_array_equal)
