"""Random networks of all kinds of layers against NumPy in float64.

`SNNJAX_FUZZ` chooses the seeds: "500" for 0 to 499, "500:2000" for those from 500 on. By default
there are few, since every network is compiled several times.
"""

import os
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy_networks
import pytest
from random_networks import (
    DRAWN,
    draw_images,
    draw_network,
    draw_scales,
    draw_variables,
    dyadic,
)

from snnjax.analysis.energy import FLOAT32, compare
from snnjax.analysis.synapses import INPUT, find_synapses
from snnjax.analysis.synaptic_operations import count_operations, make_observer
from snnjax.conversion.conversion import convert
from snnjax.io import checkpoint, nir_export, nir_import
from snnjax.networks import architecture as arch
from snnjax.networks import serialisation
from snnjax.networks.ann import ANN
from snnjax.networks.layers import KINDS
from snnjax.snn.encoding import ENCODINGS
from snnjax.snn.engine import Observer, neuron_shapes, with_leaks
from snnjax.snn.neurons import NEURONS
from snnjax.snn.rates import limit
from snnjax.snn.simulation import Simulation, simulate

FIRST, _, LAST = os.environ.get("SNNJAX_FUZZ", "2:5").rpartition(":")
SEEDS = range(int(FIRST or 0), int(LAST))
STEPS, LEVELS, LONG = 5, 4, 512

pytestmark = pytest.mark.slow


class Case(NamedTuple):
    """A network, and how it is converted and simulated.

    variables: of the ANN; scales: of its activations without a bound; params: as converted, in
    quarters; other: the same with another threshold, gain, initial potential, shift and leak.
    """

    seed: int
    network: arch.Network
    shape: tuple
    variables: Any
    scales: dict
    params: Any
    other: Any
    images: np.ndarray
    neuron: str
    encoding: str
    chunk_steps: int


@pytest.fixture(scope="module", params=SEEDS)
def case(request):
    seed = request.param
    network, shape = draw_network(seed)
    variables, scales = draw_variables(network, shape, seed), draw_scales(network, seed)
    draw = np.random.default_rng([seed, 4])
    options = {
        "threshold": float(draw.choice((0.5, 1.0, 2.0))),
        "initial": float(draw.choice((0.0, 0.5, 0.75))),
        "gain": float(draw.choice((0.5, 1.0, 2.0))),
        "shift": float(draw.choice((0.0, 0.0, 0.25))),
        "leak": draw.choice((None, None, None, 0.5)),
    }
    return Case(
        seed, network, shape, variables, scales,
        params=dyadic(convert(network, variables, scales=scales)),
        other=dyadic(convert(network, variables, scales=scales, **options)),
        images=draw_images(shape, seed),
        neuron=str(draw.choice(sorted(NEURONS))),
        encoding=str(draw.choice(sorted(ENCODINGS))),
        chunk_steps=int(draw.integers(1, STEPS + 1)),
    )  # fmt: skip


def doubles(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def test_every_kind_of_layer_and_every_neuron_can_be_drawn():
    own = {name for name, kind in KINDS.items() if kind.__module__.startswith("snnjax.")}
    assert set(DRAWN) == own
    joined = numpy_networks.LINEAR | numpy_networks.FOLDED | numpy_networks.JOINED
    assert set(joined) | {"Activation"} == own
    assert set(numpy_networks.NEURON_STEPS) == set(NEURONS)


def test_the_limit_is_the_ann(case):
    """Converted parameters, with rates for neurons, give the logits that NumPy gets before."""
    network, images, tree = case.network, case.images, doubles(case.variables)
    if not any(layer.step for layer in arch.activations(network).values()):
        # with steps, a rounding error may become a whole one
        wanted = numpy_networks.ann(
            network.layers, tree["params"], tree.get("batch_stats", {}), images
        )
        size = 1e-4 * np.abs(wanted).max()
        params = convert(network, case.variables, scales=case.scales)
        for logits in (
            limit(network, params, images),
            ANN(network.layers).apply(case.variables, images),
        ):
            np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=size)
    rates = numpy_networks.rates(network, doubles(case.params), images)
    np.testing.assert_allclose(limit(network, case.params, images), rates, rtol=1e-5, atol=1e-5)


def test_both_engines_send_the_spikes_of_numpy(case):
    network, params, images = case.network, case.other, case.images
    run = {
        "num_steps": STEPS, "neuron": NEURONS[case.neuron], "key": jax.random.key(case.seed),
        "encoding": ENCODINGS[case.encoding],
        "record": Observer(lambda frame, spikes: (frame, spikes)),
    }  # fmt: skip
    plain = simulate(network, params, images, engine="plain", **run)
    frames, wanted = plain.recording
    sent, currents = numpy_networks.spikes(network, doubles(params), frames, case.neuron)
    assert set(sent) == set(wanted)
    for path, spikes in sent.items():
        np.testing.assert_array_equal(wanted[path], spikes, err_msg=path)
    means = np.cumsum(currents, 0) / np.arange(1, STEPS + 1)[:, None, None]
    np.testing.assert_allclose(plain.values, means, rtol=1e-5, atol=1e-5)
    fast = simulate(network, params, images, chunk_steps=case.chunk_steps, **run)
    jax.tree.map(np.testing.assert_array_equal, fast.recording, plain.recording)
    np.testing.assert_array_equal(fast.spikes, plain.spikes)
    np.testing.assert_allclose(fast.values, plain.values, rtol=1e-5, atol=1e-5)


def test_counts_settle_at_the_quantised_ann_or_near_the_rates(case):
    """Equality for bounded activations once the input has ended; a few spikes apart otherwise."""
    network, params, images = case.network, case.params, case.images
    kinds = arch.activations(network).values()
    if all(np.isfinite(layer.theta) for layer in kinds):
        steps = LEVELS * (2 * len(kinds) + 1)
        found = simulate(network, params, images, num_steps=steps, shown_steps=LEVELS)
        wanted = numpy_networks.rates(network, doubles(params), images, levels=LEVELS)
        logits = found.values[-1] * steps / LEVELS
        np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=1e-5)
        return
    found = simulate(network, params, images, num_steps=LONG)
    wanted = numpy_networks.rates(network, doubles(params), images, most=1.0)
    error = LONG * np.abs(found.values[-1] - wanted).max(0)
    assert (error <= 2 * numpy_networks.spikes_of_error(network, doubles(params), images)).all()


def test_operations_are_those_of_a_jacobian(case):
    """Fan-outs of every sender, and the operations and energy of random spikes."""
    network, params, encoding = case.network, case.other, ENCODINGS[case.encoding]
    found = find_synapses(network, params, case.shape)
    wanted = numpy_networks.synapses(network.layers, params["layers"], case.shape)
    assert set(found) == set(wanted)
    for path, wires in wanted.items():
        bundle = found[path]
        assert (bundle.connection.source, bundle.dense) == (wires.source, wires.dense)
        np.testing.assert_array_equal(bundle.merged, wires.merged, err_msg=path)
        np.testing.assert_array_equal(bundle.own, wires.own, err_msg=path)
    frames, sent = random_spikes(case, varies=encoding.varies)
    counts = counted(found, frames, sent, encoding)
    added = senders = 0.0
    for path, wires in wanted.items():
        spiking = wires.source is not None and (wires.source != INPUT or encoding.varies)
        source = frames if wires.source == INPUT else sent.get(wires.source)
        total = np.sum(np.abs(source) * wires.merged) / frames.shape[1] if spiking else 0.0
        assert counts[path].accumulates == pytest.approx(total)
        products = 0 if spiking else wires.dense or wires.merged.sum()
        once = path in stem(network) and not encoding.varies
        assert counts[path].macs == products * (1 if once else STEPS)
        added += total
        senders += STEPS * wires.merged.sum() * spiking
    compared = compare(found, counts, FLOAT32, num_steps=STEPS)
    assert compared.spike_rate == pytest.approx(added / senders if senders else 0.0)


def stem(network):
    """Names of the layers before the first neurons or block."""
    names = []
    for name, layer in arch.named(network.layers):
        if isinstance(layer, arch.Activation | arch.Block):
            break
        names.append(name)
    return names


def random_spikes(case, *, varies):
    """Input frames and spikes of every layer, `[T, B, ...]`, as no simulation made them."""
    draw, size = np.random.default_rng([case.seed, 5]), (STEPS, 2)
    full = (*size, *case.shape)
    frames = draw.integers(-1, 2, full) if varies else draw.uniform(0, 1, full)
    shapes = neuron_shapes(case.network, case.other["layers"], case.shape)
    return frames.astype(np.float32), {
        path: draw.integers(-1, 2, (*size, *each)).astype(np.float32)
        for path, each in shapes.items()
    }


def counted(found, frames, sent, encoding):
    """Operations of given frames and spikes."""
    observe = make_observer(found, encoding)
    kept = jax.jit(lambda *of: jax.lax.map(lambda one: observe(*one), of))(frames, sent)
    values = np.zeros((len(frames), frames.shape[1], 1))
    return count_operations(found, Simulation(values, None, None, None, kept), encoding)


def test_a_network_survives_its_files(case, tmp_path):
    network = case.network
    assert serialisation.read(serialisation.write(network)) == network
    checkpoint.save(tmp_path / "snn", case.other, kind="snn", metadata={})
    kept = checkpoint.load(tmp_path / "snn", kind="snn").tree
    kept["layers"] = with_leaks(kept["layers"])
    assert_same_trees(kept, case.other)
    checkpoint.save(tmp_path / "ann", case.variables, kind="ann", metadata={})
    again = checkpoint.load(tmp_path / "ann", kind="ann").tree
    converted = (convert(network, tree, scales=case.scales) for tree in (again, case.variables))
    assert_same_trees(*converted)


def assert_same_trees(one, other):
    """Compare all leaves; files keep no empty dicts."""
    (mine, _), (theirs, _) = (jax.tree_util.tree_flatten_with_path(tree) for tree in (one, other))
    assert [path for path, _ in mine] == [path for path, _ in theirs]
    for (path, leaf), (_, same) in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(leaf, same, err_msg=str(path))


def test_a_network_survives_a_nir_file_or_is_refused_in_one_line(case, tmp_path):
    pytest.importorskip("nir")
    for params in (case.params, case.other):
        try:
            nir_export.write(tmp_path / "a.nir", case.network, params, case.shape, coupled=True)
        except ValueError as error:
            assert len(str(error).splitlines()) == 1
            paths = [path for path, _ in arch.walk(case.network.layers)]
            assert any(path in str(error) for path in paths), str(error)
            continue
        read = nir_import.read(tmp_path / "a.nir")
        assert read.network == case.network
        assert_same_trees(read.params, params)
