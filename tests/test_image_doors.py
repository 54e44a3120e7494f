"""Every public function that takes images refuses bad ones and takes all good ones alike."""

import importlib
import inspect
import pkgutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

import snnjax
from snnjax.analysis.conversion_error import measure_conversion_error
from snnjax.analysis.function_operations import count_function_operations
from snnjax.analysis.quantised_ann import measure_anns
from snnjax.analysis.robustness import correct_answers_under_noise
from snnjax.app.configurations import SimulateConfig
from snnjax.app.evaluation import evaluate, evaluate_exits
from snnjax.conversion.calibration import calibrate
from snnjax.conversion.conversion import convert
from snnjax.conversion.pruning import find_silent_channels
from snnjax.conversion.spiking import spike
from snnjax.conversion.threshold_balancing import (
    data_norm,
    least_error,
    measure_output_scale,
    measure_scales,
)
from snnjax.conversion.tracing import trace
from snnjax.io.datasets import Split
from snnjax.networks.ann import ANN
from snnjax.runtime.images import check_dataset_images, check_images
from snnjax.snn.early_exit import simulate_until
from snnjax.snn.encoding import DETERMINISTIC, RATE
from snnjax.snn.noise import make_noise, salt_and_pepper
from snnjax.snn.rates import firing_rates, limit
from snnjax.snn.readout import leaky_layer
from snnjax.snn.simulation import simulate
from snnjax.training.ann_accuracy import count_correct
from snnjax.training.augmentation import augment
from snnjax.training.fitting import fit
from snnjax.training.output_recording import RecordingSettings, record_output_currents
from snnjax.training.plasticity_rules import make_plasticity
from snnjax.training.rate_norm import train_shares
from snnjax.training.readout_learning import learn_on_images
from snnjax.training.training_config import TrainingConfig

SHAPE = (4, 4, 1)
NETWORK = dense_network(alpha=0.0)
KEY = jax.random.key(0)
LABELS = np.zeros(3, np.int32)


def variables():
    return random_variables(NETWORK, SHAPE)


def params():
    return convert(NETWORK, variables(), output_scale=1.0)


def logits(p, x):
    hidden = jax.nn.relu(x.reshape(len(x), -1) @ p["in"])
    return hidden @ p["out"]


WEIGHTS = {"in": np.eye(16, 5, dtype=np.float32), "out": np.ones((5, 3), np.float32)}


def spiking():
    return spike(logits, WEIGHTS, random_images(3, SHAPE), levels=2)


def learnt(images):
    layer = leaky_layer(jnp.eye(3))
    return learn_on_images(
        NETWORK, params(), layer, images, LABELS, KEY, make_plasticity(),
        recording=RecordingSettings(2), epochs=1,
    )  # fmt: skip


def fitted(images):
    config = TrainingConfig(epochs=1, batch_size=1)
    split = (images, LABELS)
    return fit(ANN(NETWORK.layers).apply, variables(), split, split, config, progress=False)


FLOATS = {
    "analysis.conversion_error.measure_conversion_error": lambda x: (
        measure_conversion_error(NETWORK, params(), x, num_steps=2).agreement
    ),
    "analysis.robustness.correct_answers_under_noise": lambda x: correct_answers_under_noise(
        NETWORK, params(), {}, x, LABELS, make_noise(jnp.zeros(1)), KEY, num_steps=2
    )["ann"],
    "conversion.pruning.find_silent_channels": lambda x: find_silent_channels(
        NETWORK, params(), x, num_steps=2
    ),
    "conversion.calibration.calibrate": lambda x: calibrate(NETWORK, params(), x, num_steps=2),
    "analysis.function_operations.count_function_operations": lambda x: (
        count_function_operations(spiking(), x, num_steps=2).accumulates
    ),
    "conversion.spiking.spike.spike": lambda x: spike(logits, WEIGHTS, x, levels=2).params,
    "conversion.threshold_balancing.data_norm": lambda x: data_norm(NETWORK, variables(), x),
    "conversion.threshold_balancing.least_error": lambda x: least_error(
        NETWORK, variables(), x, num_steps=2
    ),
    "conversion.threshold_balancing.measure_output_scale": lambda x: measure_output_scale(
        NETWORK, variables(), x
    ),
    "conversion.threshold_balancing.measure_scales": lambda x: measure_scales(
        NETWORK, variables(), x, percentile=90
    ),
    "conversion.tracing.reading.trace": lambda x: trace(logits, WEIGHTS, x).variables,
    "networks.ann.ANN": lambda x: ANN(NETWORK.layers).apply(variables(), x),
    "snn.early_exit.simulate_until": lambda x: simulate_until(
        NETWORK, params(), x, margin=0.1, num_steps=2
    ),
    "snn.noise.salt_and_pepper": lambda x: salt_and_pepper(KEY, jnp.asarray(x), 0.0),
    "snn.rates.firing_rates": lambda x: firing_rates(NETWORK, params(), x)[1],
    "snn.rates.limit": lambda x: limit(NETWORK, params(), x),
    "snn.simulation.simulate": lambda x: simulate(NETWORK, params(), x, num_steps=2),
}
"""Functions that run a network on floats, by name."""

TRACED = {"networks.ann.ANN", "snn.noise.salt_and_pepper"}
"""Functions for the inside of compiled programs, which check the type alone."""

ANY_RANK = {
    "analysis.function_operations.count_function_operations", "conversion.spiking.spike.spike"
}  # fmt: skip
"""Functions that take images with any number of axes."""

BYTES = {
    "analysis.quantised_ann.measure_anns": lambda x: measure_anns(
        NETWORK, params(), {}, x, LABELS, levels=[2], batch_size=3
    ),
    "app.evaluation.accuracy.evaluate": lambda x: evaluate(
        NETWORK, params(), Split(x, LABELS), SimulateConfig(num_steps=2), progress=False
    ),
    "app.evaluation.early_exits.evaluate_exits": lambda x: evaluate_exits(
        NETWORK,
        params(),
        Split(x, LABELS),
        None,
        SimulateConfig(num_steps=2, exit_margin=0.1),
        progress=False,
    ),
    "training.ann_accuracy.count_correct": lambda x: count_correct(
        ANN(NETWORK.layers).apply, variables(), x, LABELS
    ),
    "training.fitting.fit": fitted,
    "training.output_recording.record_output_currents": lambda x: record_output_currents(
        NETWORK, params(), x, KEY, RecordingSettings(2)
    ),
    "training.rate_norm.train_shares": lambda x: train_shares(
        ANN(NETWORK.layers).apply, variables(), x, batch_size=1, progress=False
    ),
    "training.readout_learning.learn_on_images": learnt,
}
"""Functions that take the images of a data set, by name."""

OTHERS = {
    "analysis.error_decomposition.sum_batch": "inside measure_conversion_error",
    "analysis.plots.image_grid": "draws images, bytes or floats",
    "analysis.remedies.try_remedies": "simulates and measures, which check",
    "app.commands.conversion.report": "images is a number",
    "app.commands.simulation.energy": "images is a number",
    "app.evaluation.batches.batches": "inside evaluate",
    "app.run_checks.check_before_training": "train is a configuration",
    "app.stages.conversion.balanced_scales": "a rule of threshold_balancing",
    "app.stages.conversion.convert_with_scales": "inside a stage",
    "app.stages.energy.measure_energy": "images is a number",
    "app.stages.layer_report.report": "images is a number",
    "conversion.ann_outputs.activation_batches": "inside measure_scales",
    "conversion.ann_outputs.image_batches": "inside measure_scales",
    "conversion.ann_outputs.logit_batches": "inside measure_output_scale",
    "conversion.quantisation.quantise": "takes no image or bytes over 255: see its own tests",
    "conversion.spiking.calibration.describe_values": "inside spike",
    "conversion.spiking.calibration.largest": "inside spike",
    "conversion.spiking.calibration.least_error": "inside spike",
    "conversion.spiking.calibration.least_error_by_channel": "inside spike",
    "conversion.spiking.calibration.measure": "inside spike",
    "conversion.spiking.example_checks.check_outputs": "inside spike",
    "conversion.spiking.example_checks.check_params": "inside spike",
    "conversion.spiking.image_order.with_image_orders": "inside spike",
    "conversion.threshold_balancing.model_norm": "images are unused",
    "conversion.threshold_balancing.unit_scales": "images are unused",
    "io.torch_import.from_torch": "needs PyTorch, and checks its example as spike does",
    "snn.noise.corrupt": "inside simulate",
    "snn.stimulus.make_stimulus": "inside simulate",
    "snn.whole_numbers.check_bytes": "inside simulate and quantise",
    "snn.whole_numbers.check_exact": "inside simulate",
    "snn.whole_numbers.mark_inexact": "inside simulate",
    "training.augmentation.augment": "inside fit",
    "training.augmentation.colour": "inside fit",
    "training.augmentation.cutout": "inside fit",
    "training.augmentation.flip": "inside fit",
    "training.augmentation.shift": "inside fit",
    "training.fine_tuning.quantised_twin": "inside fit",
    "training.fitting.check_splits": "counts the images that fit checks",
    "training.spike_penalty.measure_synapses_in_use": "inside a stage, on images of a data set",
    "app.stages.trained_function.record_synapses_in_use": "inside a stage",
    "training.gradient_step.train_step": "inside fit",
    "app.evaluation.operations.evaluate_operations": "images of a data set, as batches checks them",
    "conversion.spiking.rounding.round_function": "inside quantise",
    "conversion.spiking.weight_choice.choose_units": "inside quantise",
}
"""Functions with images that need no check of their own, and the reason."""


def test_a2_every_public_function_with_images_is_in_a_table():
    found = set()
    for module in pkgutil.walk_packages(snnjax.__path__, "snnjax."):
        if module.name.startswith("snnjax.runtime") or module.name.endswith("__main__"):
            continue
        loaded = importlib.import_module(module.name)
        for name in getattr(loaded, "__all__", ()):
            value = getattr(loaded, name)
            own = getattr(value, "__module__", None) == module.name
            if own and callable(value) and not inspect.isclass(value):
                names = set(inspect.signature(value).parameters)
                if names & {"images", "example", "train"} or {"split", "params"} <= names:
                    found.add(f"{module.name}.{name}".removeprefix("snnjax."))
    assert found | {"networks.ann.ANN", "app.evaluation.batches.batches"} == {
        *FLOATS, *BYTES, *OTHERS
    }  # fmt: skip


GOOD = random_images(3, SHAPE)
NEVER = {
    "int32": np.ones((3, *SHAPE), np.int32),
    "bool": np.ones((3, *SHAPE), bool),
    "nan": np.where(GOOD > 0.5, np.nan, GOOD),
    "inf": np.where(GOOD > 0.5, np.inf, GOOD),
    "beyond float32": GOOD.astype(np.float64) * 1e39,
    "three axes": GOOD[..., 0],
    "empty": GOOD[:0],
    "ragged": [[0.5, 0.5], [0.5]],
    "texts": np.array([["a", "b"]]),
    "nothing": None,
}
BAD = NEVER | {"bytes": np.ones((3, *SHAPE), np.uint8)}
VALUES = {"nan", "inf", "beyond float32", "three axes", "empty"}


@pytest.mark.parametrize("door", FLOATS)
def test_a2_bad_input_of_a_network_is_refused(door):
    for kind, images in BAD.items():
        if door in ANY_RANK and kind == "three axes":
            continue
        if door in TRACED and kind in VALUES | {"ragged", "texts", "nothing"}:
            continue
        with pytest.raises(ValueError, match=r"images|example|pixels|inhomogeneous"):
            FLOATS[door](images)
            pytest.fail(f"{door} takes {kind}")


@pytest.mark.parametrize("door", BYTES)
def test_a2_bad_images_of_a_data_set_are_refused(door):
    for kind, images in NEVER.items():
        if kind in ("ragged", "nothing"):  # they have no length
            continue
        with pytest.raises(ValueError, match="images"):
            BYTES[door](images)
            pytest.fail(f"{door} takes {kind}")


@pytest.mark.parametrize("door", FLOATS)
def test_b2_other_floats_and_lists_give_the_result_of_float32(door):
    images = np.round(GOOD * 64) / 64  # exact in float16 and bfloat16
    wanted = FLOATS[door](images)
    kinds = [np.float64, np.float16, jnp.bfloat16]
    others = [images.astype(kind) for kind in kinds] + [images.tolist()]
    for other in others:
        found = FLOATS[door](other)
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), found, wanted)
        for leaf in jax.tree.leaves(found):
            if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating):
                assert leaf.dtype == np.float32 or door == "snn.noise.salt_and_pepper"


@pytest.mark.parametrize("door", ["training.output_recording.record_output_currents"])
def test_a2_learning_divides_bytes_by_255_and_leaves_floats(door):
    images = (255 * GOOD).astype(np.uint8)
    bytes_in, floats_in = BYTES[door](images), BYTES[door](images.astype(np.float32) / 255)
    np.testing.assert_array_equal(bytes_in, floats_in)
    assert float(jnp.abs(bytes_in).max()) > 0.1


def test_a2_messages_name_the_fault():
    for images, message in (
        (BAD["bytes"], "images are uint8; want floats, so divide bytes by 255"),
        (BAD["bool"], "images are bool; want floats"),
        (BAD["nan"], "images hold NaN or Inf"),
        (BAD["beyond float32"], "images reach 9.*e.38; want pixels that float32 can hold"),
        (BAD["three axes"], r"images have shape \(3, 4, 4\); want \[B, H, W, C\] or \[B, D\]"),
        (BAD["ragged"], "images are a list that is no array"),
        (None, "images are object; want floats"),
    ):
        with pytest.raises(ValueError, match=message):
            check_images(images)
    with pytest.raises(ValueError, match=r"images are int32; want bytes .*or floats"):
        check_dataset_images(BAD["int32"])


@pytest.mark.parametrize("encoding", [RATE, DETERMINISTIC], ids=["rate", "deterministic"])
def test_a2_pixels_that_spikes_cannot_represent_are_refused(encoding):
    run = partial(simulate, NETWORK, images=2 * GOOD, num_steps=2, encoding=encoding, key=KEY)
    with pytest.raises(ValueError, match="a pixel above 1 is cut off; convert with a smaller gain"):
        run(params())
    run(convert(NETWORK, variables(), gain=0.5))
    with pytest.raises(ValueError, match=r"want images in \[0, 1\]"):
        simulate(NETWORK, params(), -GOOD, num_steps=2, noise=make_noise(0.1), key=KEY)


def test_a2_traced_images_are_checked_for_type_and_shape():
    run = jax.jit(lambda x: simulate(NETWORK, params(), x, num_steps=2).values)
    np.testing.assert_allclose(run(GOOD), simulate(NETWORK, params(), GOOD, num_steps=2).values)
    with pytest.raises(ValueError, match="images are uint8"):
        run(BAD["bytes"])
    closed = jax.jit(lambda: simulate(NETWORK, params(), jnp.asarray(GOOD), num_steps=2).values)
    assert closed().shape == (2, 3, 3)


def test_augment_leaves_floats_as_they_are():
    np.testing.assert_array_equal(augment(KEY, jnp.asarray(GOOD)), GOOD)


@pytest.mark.parametrize("door", FLOATS)
def test_b1_results_under_x64_are_float32_and_the_same(door):
    wanted = FLOATS[door](GOOD)
    with jax.enable_x64(True):
        found = FLOATS[door](GOOD.astype(np.float64))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, wanted)
    for leaf, of_32 in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        if isinstance(leaf, jax.Array) and door != "snn.noise.salt_and_pepper":
            assert leaf.dtype == of_32.dtype
