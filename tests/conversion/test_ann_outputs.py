"""Scales are measured batch by batch, and equal those of all images at once."""

import numpy as np
import pytest
from examples import branching_network, dense_network, random_images, random_variables

from snnjax.conversion import ann_outputs
from snnjax.conversion.ann_outputs import image_batches, percentiles
from snnjax.conversion.threshold_balancing import (
    data_norm,
    least_error,
    measure_output_scale,
    measure_scales,
)
from snnjax.networks.ann import ANN

NETWORK = branching_network()
SHAPE = (8, 8, 3)
IMAGES = random_images(11, SHAPE)


@pytest.fixture(scope="module")
def outputs():
    """Activations of all images at once, by path."""
    variables = random_variables(NETWORK, SHAPE)
    return next(
        ann_outputs.activation_batches(
            NETWORK, variables, IMAGES, name="", batch_size=11, progress=False
        )
    )


@pytest.mark.parametrize("percentile", [100, 99.9, 90, 50, 1e-3])
def test_c2_scales_in_batches_equal_those_of_all_images_at_once(outputs, percentile):
    variables = random_variables(NETWORK, SHAPE)
    found = measure_scales(NETWORK, variables, IMAGES, percentile=percentile, batch_size=4)
    assert found.keys() == outputs.keys()
    for path, values in outputs.items():
        sizes = np.abs(values).astype(np.float64)
        wanted = np.percentile(sizes[sizes > 0], percentile)
        np.testing.assert_allclose(found[path], wanted, rtol=1e-6)


def test_c2_a_percentile_is_exact_to_the_bit_at_a_value():
    values = np.random.default_rng(0).normal(size=(5, 101)).astype(np.float32)
    found = percentiles(lambda: ({"x": row} for row in values), 50)  # 505 values: the 253rd
    assert found["x"] == np.median(np.abs(values))
    assert percentiles(lambda: iter([{"x": np.zeros(3, np.float32)}]), 50) == {"x": 0.0}


def test_c2_only_one_batch_of_activations_is_held(monkeypatch):
    network = dense_network(alpha=0.0)
    variables, images = random_variables(network, (4, 4, 1)), random_images(10, (4, 4, 1))
    sizes = []

    def spied(run):
        def noted(variables, x, *, layers):
            sizes.append(len(x))
            return run(variables, x, layers=layers)

        return noted

    for name in ("_activations", "_logits"):
        monkeypatch.setattr(ann_outputs, name, spied(getattr(ann_outputs, name)))
    run = {"batch_size": 3, "progress": False}
    measure_scales(network, variables, images, percentile=90, **run)
    data_norm(network, variables, images, **run)
    least_error(network, variables, images, num_steps=4, **run)
    scale = measure_output_scale(network, variables, images, **run)
    assert max(sizes) == 3
    assert sum(sizes) == 10 * (2 + 1 + 2 + 1)  # two passes for a percentile and the least error
    logits = ANN(network.layers).apply(variables, images)
    assert scale == pytest.approx(float(np.abs(logits).max()), rel=1e-6)


def test_c2_memory_of_the_compiled_pass_is_that_of_a_batch():
    variables = random_variables(NETWORK, SHAPE)

    def bytes_of(count):
        lowered = ann_outputs._activations.lower(
            variables, random_images(count, SHAPE), layers=NETWORK.layers
        )
        found = lowered.compile().memory_analysis()
        return found.temp_size_in_bytes + found.output_size_in_bytes

    sizes = {
        len(batch)
        for batch in image_batches(
            np.zeros((23, *SHAPE), np.float32), name="", purpose="", batch_size=5, progress=False
        )
    }
    assert sizes == {4, 5}
    assert bytes_of(20) > 3 * bytes_of(5)
