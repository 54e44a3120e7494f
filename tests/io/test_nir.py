"""NIR: exact round trips, other simulators' spikes, and refusals instead of wrong files."""

import hashlib
import io
import itertools
from graphlib import TopologicalSorter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import dense_network, random_images
from paths import FIXTURES

from snnjax.app import cli, pipeline
from snnjax.app.configurations import ConvertConfig
from snnjax.conversion.conversion import convert
from snnjax.conversion.quantisation import quantise
from snnjax.io import checkpoint, nir_export, nir_import
from snnjax.io.nir_layout import node_name
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.snn.neurons import DOUBLE_THRESHOLD, DOUBLE_THRESHOLD_HARD
from snnjax.snn.simulation import simulate

nir = pytest.importorskip("nir")


def peer_network():
    """One-sided neurons, a padded convolution and a pooling; biases in the first layer only,
    because a simulator may pass a spike on one step late, and a bias at once.
    """
    draw, active = np.random.default_rng(0), arch.Activation(0.0, 1.0)
    layers = (
        arch.Conv(4, (3, 3)), active, arch.AvgPool((2, 2)),
        arch.Conv(6, (3, 3), padding="VALID", use_bias=False), active,
        arch.Flatten(), arch.Dense(5, use_bias=False),
    )  # fmt: skip
    params = {
        "00_conv": {
            "kernel": draw.normal(0.05, 0.15, (3, 3, 1, 4)),
            "bias": draw.normal(0, 0.1, 4),
        },
        "03_conv": {"kernel": draw.uniform(-0.02, 0.06, (3, 3, 4, 6))},
        "06_dense": {"kernel": draw.normal(0, 0.5, (24, 5))},
    }
    params = {n: {k: v.astype(np.float32) for k, v in p.items()} for n, p in params.items()}
    network = arch.Network("peer", layers)
    return network, convert(network, {"params": params}, initial=0.0)


def peer_images():
    return np.random.default_rng(1).uniform(0, 1, (3, 8, 8, 1)).astype(np.float32)


SHA256 = {
    "nir_network.nir": "4f751abb92c712934a600a21b87b98e25bae0c57b17abbe9e56fd35a6204dd33",
    "nir_counts_spyx.npz": "bc759d3cde7ce470a61b686b60dcfa28c8f5b89758a63bb55ecebe9411897ded",
    "nir_counts_sinabs.npz": "a167563022233e91f56d9cf74a5a25ab656e92a56aef52259a7d8e443e027969",
}
FEEDBACK = (".p_to_n", ".n_to_p")


def fixture(name):
    path = FIXTURES / name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[name]
    return path


def random_variables(network, shape):
    """Parameters and statistics drawn without compiling a network; scales and variances above 0."""
    shapes = jax.eval_shape(ANN(network.layers).init, jax.random.key(0), jnp.zeros((1, *shape)))
    draw = np.random.default_rng(0)

    def numbers(path, leaf):
        values = draw.normal(0, 0.4, leaf.shape).astype(np.float32)
        return np.abs(1 + values) if path[-1].key in ("scale", "var") else values

    return jax.tree_util.tree_map_with_path(numbers, shapes)


def dyadic_params(network, variables, **how):
    """Converted parameters in sixteenths, so that sums are exact in every order."""
    params = convert(network, variables, **how)
    params["layers"] = jax.tree.map(lambda x: np.round(16 * np.asarray(x)) / 16, params["layers"])
    return jax.tree.map(lambda x: np.asarray(x, np.float32), params)


def as_read(graph):
    """The graph after a file."""
    content = io.BytesIO()
    nir.write(content, graph)
    return nir.read(content, type_check=False)


def assert_same_trees(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for mine, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype
        np.testing.assert_array_equal(mine, theirs)


def images_for(node, x):
    """One timestep of one node without state, channels first."""
    match type(node).__name__:
        case "Input" | "Output":
            return x
        case "Scale":
            return x * node.scale
        case "Affine":
            return x @ node.weight.T + node.bias
        case "Linear":
            return x @ node.weight.T
        case "Flatten":
            return x.reshape(len(x), -1)
        case "Conv2d":
            pads = node.padding
            pads = pads.upper() if isinstance(pads, str) else [(int(n), int(n)) for n in pads]
            y = jax.lax.conv_general_dilated(
                x, node.weight, [int(n) for n in node.stride], pads,
                feature_group_count=int(node.groups), precision=jax.lax.Precision.HIGHEST,
            )  # fmt: skip
            return np.asarray(y) + node.bias[:, None, None]
        case kind:
            window, strides = (1, 1, *map(int, node.kernel_size)), (1, 1, *map(int, node.stride))
            y = np.asarray(jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, "VALID"))
            return y / (window[2] * window[3]) if kind == "AvgPool2d" else y


def run_graph(graph, image, steps):
    """Every node's output, `[T, B, ...]`: reset by subtraction, feedback one timestep late."""
    before = {name: {a for a, b in graph.edges if b == name} for name in graph.nodes}
    now = {n: {a for a in senders if not a.endswith(FEEDBACK)} for n, senders in before.items()}
    order = list(TopologicalSorter(now).static_order())
    potential, last, found = {}, {}, []
    for _ in range(steps):
        out = {}
        for name in order:
            node = graph.nodes[name]
            inputs = [last.get(a, 0.0) if a.endswith(FEEDBACK) else out[a] for a in before[name]]
            x = sum(inputs) if inputs else image
            if isinstance(node, nir.IF):
                start = node.metadata.get("initial_potential", 0.0)
                v = potential.get(name, start) + node.r * x
                x = (v >= node.v_threshold).astype(np.float32)
                potential[name] = v - x * node.v_threshold
            else:
                x = images_for(node, x)
            out[name] = x
        last = out
        found.append(out)
    return {name: np.stack([out[name] for out in found]) for name in graph.nodes}


def channels_last(values):
    return np.moveaxis(values, 2, -1) if values.ndim == 5 else values


@pytest.mark.parametrize("simulator", ["spyx", "sinabs"])
def test_a_file_makes_the_same_spikes_in_other_simulators(simulator):
    network, params, _ = nir_import.read(fixture("nir_network.nir"))
    stored = np.load(fixture(f"nir_counts_{simulator}.npz"))
    result = simulate(
        network, params, peer_images(), num_steps=24, neuron=DOUBLE_THRESHOLD, record=True
    )
    late = int(simulator == "spyx")  # it fires on the potential of the step before
    for place, path in enumerate(("01_activation", "04_activation"), 1):
        spikes = stored[f"spikes{place}"][place * late :][:24]
        assert spikes.sum() > 200
        np.testing.assert_array_equal(result.recording[path], spikes)
    if simulator == "sinabs":  # Spyx flattens channels last, and so swaps the weights' inputs
        np.testing.assert_allclose(24 * result.values[-1], stored["output"].sum(0), atol=1e-4)


def test_the_stored_file_is_what_is_written_today(tmp_path):
    network, params = peer_network()
    nir_export.write(tmp_path / "a.nir", network, params, (8, 8, 1), metadata={"name": "me"})
    read, stored = (
        nir_import.read(tmp_path / "a.nir"),
        nir_import.read(fixture("nir_network.nir")),
    )
    assert read.network == stored.network == network
    assert (read.metadata, stored.metadata) == ({"name": "me"}, {})
    assert_same_trees(read.params, jax.tree.map(np.asarray, params))
    assert_same_trees(stored.params, read.params)
    facts, old = (nir.read(p).metadata for p in (tmp_path / "a.nir", FIXTURES / "nir_network.nir"))
    assert facts["reset"] == "subtract"
    for name in facts.keys() - {"snnjax", "parameters"}:
        assert facts[name] == old[name]


@pytest.fixture(scope="module")
def residual():
    active = arch.Activation(0.25, 1.5)
    layers = (
        arch.Conv(4, (3, 3), use_bias=False), arch.BatchNorm(), active,
        arch.Residual((arch.Conv(4, (3, 3), groups=2), active, arch.Conv(4, (3, 3)))), active,
        arch.Residual((arch.Conv(6, (3, 3), (2, 2)),), (arch.Conv(6, (1, 1), (2, 2)),)), active,
        arch.Residual((arch.Conv(6, (1, 1)), active)), active, arch.AvgPool((2, 2)),
        arch.Flatten(), arch.Dense(12), arch.Dense(8), active, arch.Dense(5),
    )  # fmt: skip
    network, shape = arch.Network("residual", layers), (9, 9, 3)
    variables = random_variables(network, shape)
    params = dyadic_params(network, variables, initial=0.5, output_scale=2.0)
    return network, params, shape, nir_export.to_graph(network, params, shape, coupled=True)


def test_every_layer_and_number_survives_a_file(residual):
    """Residuals, groups, strides, folded batch norm, two-sided neurons, parameters bit for bit."""
    network, params, _, graph = residual
    read = nir_import.from_graph(as_read(graph))
    assert read.network == network
    assert_same_trees(read.params, params)


def test_two_coupled_populations_are_the_double_threshold_neuron(residual):
    network, params, shape, graph = residual
    images = np.round(16 * random_images(2, shape)) / 16
    result = simulate(network, params, images, num_steps=12, neuron=DOUBLE_THRESHOLD, record=True)
    ran = run_graph(as_read(graph), images.transpose(0, 3, 1, 2), 12)
    for path, spikes in result.recording.items():
        node = node_name(path)
        assert {-1.0, 0.0, 1.0} == set(np.unique(spikes))
        np.testing.assert_array_equal(
            channels_last(ran[f"{node}.p"] - ran[f"{node}.n"]), spikes, err_msg=path
        )
    np.testing.assert_allclose(result.values[-1], ran["output"].mean(0), rtol=1e-6)


def test_an_integer_network_is_written_in_whole_numbers_and_read_again():
    """A pooling is a sum, the shortcut a whole factor, and the spikes are the same to the bit."""
    active = arch.Activation(0.5, 0.4)
    network, shape = arch.Network("whole", (
        arch.Conv(3, (3, 3)), active, arch.AvgPool((3, 3)),
        arch.Residual((arch.Conv(3, (1, 1)), active, arch.Conv(3, (1, 1)))), active,
        arch.Flatten(), arch.Dense(3),
    )), (6, 6, 1)  # fmt: skip
    params = quantise(network, convert(network, random_variables(network, shape)), 6)
    graph = as_read(nir_export.to_graph(network, params, shape, coupled=True))
    read = nir_import.from_graph(graph)
    assert read.network == network
    assert_same_trees(read.params, jax.tree.map(np.asarray, params))
    for node in graph.nodes.values():
        for name in ("weight", "bias", "v_threshold", "scale"):
            np.testing.assert_array_equal(getattr(node, name, 0) % 1, 0)
    assert np.abs(graph.nodes["00_conv"].weight).max() == 31
    images = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.float32)
    result = simulate(network, params, images / np.float32(255), num_steps=6, record=True,
                      neuron=DOUBLE_THRESHOLD)  # fmt: skip
    ran = run_graph(graph, images.transpose(0, 3, 1, 2), 6)
    for path, spikes in result.recording.items():
        node = node_name(path)
        assert np.any(spikes)
        both = ran[f"{node}.p"] - ran[f"{node}.n"]
        np.testing.assert_array_equal(channels_last(both), spikes, err_msg=path)
    scale = np.float32(graph.metadata["scale"])
    np.testing.assert_array_equal(result.values[-1], ran["output"].sum(0) / np.float32(6) * scale)


@pytest.fixture(scope="module")
def dense():
    network, shape = dense_network(1.0), (4, 4, 1)
    return network, random_variables(network, shape), shape


def test_two_populations_that_do_not_know_of_each_other_are_another_neuron(dense):
    """Which is why they are not written; where one sign alone fires, they are the same."""
    network, variables, shape = dense
    params = dyadic_params(network, variables, initial=0.0)
    images = np.round(16 * random_images(8, shape)) / 16
    spikes = simulate(
        network, params, images, num_steps=16, neuron=DOUBLE_THRESHOLD, record=True
    ).recording
    graph = as_read(nir_export.to_graph(network, params, shape, coupled=True))
    graph.edges = [(a, b) for a, b in graph.edges if not a.endswith(FEEDBACK)]
    ran = run_graph(graph, images.transpose(0, 3, 1, 2), 16)
    alone = {p: ran[f"{p}.p"] - ran[f"{p}.n"] for p in spikes}
    mixed = {p: (s > 0).any(0) & (s < 0).any(0) for p, s in spikes.items()}
    assert not mixed["02_activation"].any()  # its current is constant
    np.testing.assert_array_equal(alone["02_activation"], spikes["02_activation"])
    assert mixed["04_activation"].any()
    assert (alone["04_activation"] != spikes["04_activation"]).any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({}, "02_activation has a negative threshold", id="two-sided"),
        pytest.param({"leak": 0.5, "alpha": 0.0}, "a leak other than 1", id="leak"),
        pytest.param({"shift": 0.125, "alpha": 0.0}, "a shift other than 0", id="shift"),
        pytest.param({"output_leak": 0.5, "alpha": 0.0}, "cannot state output_leak", id="output"),
    ],
)
def test_what_nir_cannot_state_is_refused_and_nothing_written(tmp_path, dense, change, said):
    network, variables, shape = dense
    params = dyadic_params(network, variables, **change)
    with pytest.raises(ValueError, match=said):
        nir_export.write(tmp_path / "a.nir", network, params, shape)
    assert not list(tmp_path.iterdir())


def test_layers_that_are_not_written_are_refused_by_path():
    network = arch.Network("other", (arch.Scale(1), arch.Flatten()))
    params = {"layers": {"00_scale": {"scale": np.ones(1)}}, "output_leak": 1.0}
    with pytest.raises(
        ValueError, match="layer 00_scale is a Scale, for which NIR graphs have no node; want"
    ):
        nir_export.to_graph(network, params, (5, 5, 1))


def test_a_border_and_uneven_padding_are_stated_by_other_means():
    """The mean pixel around raw images is subtracted in front; zeros in a kernel even a padding."""
    layers = (
        arch.Normalise((0.25, 0.5), (0.5, 0.25)), arch.Conv(4, (3, 3), groups=2),
        arch.Activation(0.0, 1.0), arch.Conv(3, (3, 2), (2, 1)), arch.Flatten(), arch.Dense(2),
    )  # fmt: skip
    network, shape = arch.Network("bordered", layers), (6, 7, 2)
    params = jax.tree.map(np.asarray, convert(network, random_variables(network, shape)))
    assert "border" in params["layers"]["01_conv"]
    graph = as_read(nir_export.to_graph(network, params, shape))
    read = nir_import.from_graph(graph)
    assert read.network == network
    assert_same_trees(read.params, params)
    images = random_images(3, shape)
    result = simulate(network, params, images, num_steps=7, neuron=DOUBLE_THRESHOLD, record=True)
    ran = run_graph(graph, images.transpose(0, 3, 1, 2), 7)
    spikes = result.recording["02_activation"]
    assert 0.1 < spikes.mean() < 0.9
    np.testing.assert_array_equal(channels_last(ran["02_activation"]), spikes)
    np.testing.assert_allclose(result.values[-1], ran["output"].mean(0), atol=1e-5)


def test_a_readout_is_refused():
    network, params = peer_network()
    with pytest.raises(ValueError, match="no readout"):
        nir_export.to_graph(network, {**params, "readout": {}}, (8, 8, 1))


def plain_chain(**changes):
    """A chain as another program writes it, thresholds of their own in every neuron."""
    draw = np.random.default_rng(3)

    def ones(*shape):
        return np.ones(shape, np.float32)

    threshold = draw.uniform(0.5, 1.5, (4, 3, 3)).astype(np.float32)
    nodes = {
        "in": nir.Input({"input": np.array([2, 6, 6])}),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "conv": nir.Conv2d(
            (3, 3), draw.normal(0, 0.2, (4, 2, 3, 3)).astype(np.float32), 1, "same", 1, 1,
            draw.normal(0, 0.1, 4).astype(np.float32),
        ),
        "if": nir.IF(2 * ones(4, 3, 3), threshold),
        "flat": nir.Flatten({"input": np.array([4, 3, 3])}, 0, -1),
        "linear": nir.Linear(draw.normal(0, 0.3, (7, 36)).astype(np.float32)),
        "last": nir.IF(ones(7), ones(7)),
        "out": nir.Output({"output": np.array([7])}),
        **changes,
    }  # fmt: skip
    names = list(nodes)
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)), type_check=False)


def test_a_chain_of_another_program_makes_its_spikes(tmp_path):
    nir.write(tmp_path / "a.nir", plain_chain())
    network, params, _ = nir_import.read(tmp_path / "a.nir")
    images = random_images(4, (6, 6, 2))
    result = simulate(network, params, images, num_steps=20, neuron=DOUBLE_THRESHOLD, record=True)
    ran = run_graph(plain_chain(), images.transpose(0, 3, 1, 2), 20)
    paths = list(result.recording)
    for path, name in zip(paths, ("if", "last"), strict=True):
        assert result.recording[path].sum() > 20
        np.testing.assert_array_equal(result.recording[path], channels_last(ran[name]))
    hard = simulate(network, params, images, num_steps=20, neuron=DOUBLE_THRESHOLD_HARD)
    assert hard.layer_spikes[paths[0]].sum() < result.layer_spikes[paths[0]].sum()


def test_padding_by_numbers_is_read_as_the_name_it_stands_for():
    conv = plain_chain().nodes["conv"]
    numbered = nir.Conv2d((3, 3), conv.weight, 1, (1, 1), 1, 1, conv.bias)
    named, other = (nir_import.from_graph(plain_chain(**c)) for c in ({}, {"conv": numbered}))
    assert named.network == other.network
    assert named.network.layers[1].padding == "SAME"


def test_a_chain_without_pixels_is_read():
    draw = np.random.default_rng(0)
    graph = nir.NIRGraph.from_list(
        nir.Affine(draw.normal(size=(4, 3)), draw.normal(size=4)),
        nir.IF(np.ones(4), np.full(4, 2.0)),
    )
    network, params, _ = nir_import.from_graph(graph)
    x = draw.normal(0, 2, (5, 3, 1, 1)).astype(np.float32)
    result = simulate(network, params, x, num_steps=9, neuron=DOUBLE_THRESHOLD, record=True)
    ran = run_graph(graph, x[:, :, 0, 0], 9)
    np.testing.assert_array_equal(result.recording["02_activation"], ran["if"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param(
            {"if": nir.LIF(*(np.ones((4, 3, 3)) for _ in range(4)))}, "node if is a LIF", id="lif"
        ),
        pytest.param(
            {"if": nir.IF(*(np.ones((4, 3, 3)) for _ in range(3)))},
            "node if resets to v_reset other than 0", id="reset",
        ),
        pytest.param(
            {"if": nir.IF(np.ones((4, 3, 3)), -np.ones((4, 3, 3)))}, "not above 0", id="threshold"
        ),
        pytest.param(
            {"flat": nir.Flatten({"input": np.array([4, 3, 3])}, 1, -1)},
            "node flat flattens axes 1 to -1", id="flatten",
        ),
        pytest.param(
            {"pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([1, 1]))},
            "node pool pads", id="pool",
        ),
        pytest.param(
            {"conv": nir.Conv2d((3, 3), np.ones((4, 2, 3, 3)), 2, "same", 1, 1, np.ones(4))},
            "node conv pads by 'same' with strides", id="padding",
        ),
        pytest.param(
            {"conv": nir.Conv2d((3, 3), np.ones((4, 2, 3, 3)), 1, -1, 2, 1, np.ones(4))},
            "node conv pads by .* want 0 or more", id="negative-padding",
        ),
        pytest.param(
            {"conv": nir.Conv2d((3, 3), np.ones((4, 2, 3, 3)), 1, 0, 2, 1, np.ones(4))},
            "node conv.*a window spans 5x5", id="large-window",
        ),
        pytest.param({"linear": nir.Linear(np.ones((7, 35)))}, "for a signal", id="inputs"),
    ],
)  # fmt: skip
def test_nodes_and_rules_that_we_do_not_have_are_named(changes, said):
    with pytest.raises(ValueError, match=said):
        nir_import.from_graph(plain_chain(**changes))


def test_graphs_that_are_no_chain_or_state_another_reset_are_refused():
    graph = plain_chain()
    graph.metadata["reset"] = "zero"
    with pytest.raises(ValueError, match="reset is 'zero'"):
        nir_import.from_graph(graph)
    graph = plain_chain()
    graph.edges.append(("conv", "flat"))
    with pytest.raises(ValueError, match="the edge conv -> flat branches or joins"):
        nir_import.from_graph(graph)
    graph = plain_chain()
    graph.edges.remove(("flat", "linear"))
    with pytest.raises(ValueError, match="the chain ends at flat"):
        nir_import.from_graph(graph)


def test_a_graph_that_was_changed_is_refused():
    network, params = peer_network()
    graph = nir_export.to_graph(network, params, (8, 8, 1))
    graph.nodes["01_activation"].v_threshold[0, 0, 0] = 2
    with pytest.raises(ValueError, match="01_activation was changed"):
        nir_import.from_graph(graph)
    graph = nir_export.to_graph(network, params, (8, 8, 1))
    graph.edges.append(("input", "output"))
    with pytest.raises(ValueError, match="edges were changed"):
        nir_import.from_graph(graph)
    del graph.nodes["00_conv"]
    with pytest.raises(ValueError, match=r"not as snnjax wrote it .*00_conv"):
        nir_import.from_graph(graph)


def test_the_commands_round_trip_and_say_what_is_wrong(tmp_path, capsys):
    trained = FIXTURES.parents[1] / "experiments/mnist_latency/parameters/net2-seed0.safetensors"
    snn, file = pipeline.convert(trained, ConvertConfig(), tmp_path), str(tmp_path / "a.nir")
    assert cli.main(["nir", "export", str(snn), file]) == 2
    assert "give --coupled" in capsys.readouterr().err
    assert not Path(file).exists()
    assert cli.main(["nir", "export", str(snn), file, "--coupled"]) == 0
    assert cli.main(["nir", "import", file, "--output", str(tmp_path / "back")]) == 0
    one, two = (
        checkpoint.load(f / "snn.safetensors", kind="snn") for f in (tmp_path, tmp_path / "back")
    )
    assert_same_trees(one.tree, two.tree)
    assert one.metadata == two.metadata
    capsys.readouterr()
    nir.write(tmp_path / "plain.nir", plain_chain())
    (tmp_path / "text.nir").write_text("no graph")
    for name, said in (
        ("plain.nir", "does not say how its network was trained"),
        ("text.nir", "text.nir is no NIR file"),
        ("none.nir", "no NIR file at"),
    ):
        assert cli.main(["nir", "import", str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err


def test_a1_a_network_of_channels_first_images_survives_a_file():
    layers = (arch.Transpose((1, 2, 0)), arch.Conv(4, (3, 3)), arch.Activation(0.5, 1.0))
    network = arch.Network("first", (*layers, arch.Flatten(), arch.Dense(3)))
    params = dyadic_params(network, random_variables(network, (2, 4, 6)))
    graph = nir_export.to_graph(network, params, (2, 4, 6), coupled=True)
    assert graph.nodes["input"].input_type["input"].tolist() == [2, 4, 6]
    read = nir_import.from_graph(as_read(graph))
    assert read.network == network
    assert_same_trees(read.params, params)


def test_b9_vectors_are_refused_and_written_behind_a_flatten():
    layers = (arch.Dense(4), arch.Activation(0.0), arch.Dense(3))
    for first, shape in (((), (7,)), ((arch.Flatten(),), (1, 1, 7))):
        network = arch.Network("vectors", (*first, *layers))
        variables = jax.jit(ANN(network.layers).init)(jax.random.key(0), jnp.zeros((1, *shape)))
        params = convert(network, variables)
        if first:
            nir_export.to_graph(network, params, shape)
        else:
            with pytest.raises(
                ValueError, match=r"images have shape \(7,\); NIR graphs .* for maps"
            ):
                nir_export.to_graph(network, params, shape)
