"""Energy at each T and with early exit, beside the ANN and quantised ANNs: by hand."""

import jax
import numpy as np
import pytest
from examples import dense_network, random_images, random_variables

from snnjax.analysis import plots
from snnjax.analysis.energy_by_time import (
    Counted,
    find_exits,
    measure_point,
    shown_timesteps,
)
from snnjax.analysis.memory_traffic import (
    Contents,
    Widths,
    access_energy,
    ann_traffic,
    measure_contents,
    spiking_traffic,
)
from snnjax.analysis.quantised_ann import levels_to_try, measure_anns, quantised_energy
from snnjax.analysis.silent_channels import beside_channels, describe_silent
from snnjax.analysis.synapses import find_synapses
from snnjax.analysis.synaptic_operations import make_observer
from snnjax.app.energy_texts import answer_in_words
from snnjax.app.evaluation.energies import Bits, compare_energies
from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.snn.encoding import CONSTANT
from snnjax.snn.simulation import simulate

SHAPE, STEPS, BATCH = (4, 4, 1), 4, 6
NETWORK = dense_network()
IMAGES = random_images(BATCH, SHAPE)
LABELS = np.arange(BATCH) % 3


@pytest.fixture(scope="module")
def network():
    """Parameters, synapses, and a simulation of six images whose operations were counted."""
    params = convert(NETWORK, random_variables(NETWORK, SHAPE))
    found = find_synapses(NETWORK, params, SHAPE)
    watch = beside_channels(make_observer(found, CONSTANT))
    result = jax.device_get(simulate(NETWORK, params, IMAGES, num_steps=STEPS, record=watch))
    counted = result._replace(recording=result.recording["counts"])
    return params, found, Counted(found, counted, LABELS, CONSTANT), result


def test_channels_that_are_silent_on_some_images_fire_on_others(network):
    *_, result = network
    fired = {path: of.any(0) for path, of in result.recording["fired"].items()}
    assert {path: of.shape for path, of in fired.items()} == dict.fromkeys(fired, (BATCH, 8))
    events = result.recording["counts"]["events"]
    for path, of in fired.items():
        np.testing.assert_array_equal(of.any(1), events[path].any(0))
    path = "02_activation"
    shown, other = np.array([[1, 0, 0], [1, 1, 0]], bool), np.array([[1, 1, 0], [0, 0, 1]], bool)
    found = describe_silent({path: shown}, {path: other})
    assert found == {"channels": {path: 3}, "silent": {path: 1}, "fire_on_others": 0.5}
    assert describe_silent({path: shown}, {path: shown})["fire_on_others"] == 0


def test_an_access_costs_what_horowitz_has_and_bits_share_a_word():
    assert [access_energy(64, 2**k) for k in (10, 13, 15, 20)] == [10, 10, 20, 100]
    assert access_energy(16, (2**13 + 2**15) / 2) == pytest.approx(15 / 4)
    beyond = 100 + 80 * 2**20 / (2**20 - 2**15)
    assert access_energy(64, 2**21) == pytest.approx(beyond)


def test_memory_accesses_by_hand(network):
    """8 pixels to 4 neurons to 2: every number is in a memory of 8 KB, of 10 pJ."""
    layers = (arch.Flatten(), arch.Dense(4), arch.Activation(), arch.Dense(2))
    small = arch.Network("hand", layers)
    params = {"layers": {"01_dense": {"kernel": np.ones((8, 4))},
                         "03_dense": {"kernel": np.ones((4, 2))}}}  # fmt: skip
    found = find_synapses(small, params, (8, 1, 1))
    _, _, counted, _ = network
    row = next(iter(counted.operations(1).values()))._replace(accumulates=0.0, macs=0.0)
    rows = {"01_dense": row._replace(macs=32.0), "03_dense": row._replace(accumulates=6.0)}
    contents, widths = Contents(weights=40, neurons=6, largest=8), Widths(4, 2, 8, 16)
    traffic = spiking_traffic(found, rows, contents, widths, spikes=3.0, steps=2.0)
    bits = 32 * 4 + 8 * 8 + 6 * (4 + 2 * 16) + 2 * 3 * 3 + 3 * 16 * 6 * 2
    assert traffic * 1000 == pytest.approx(bits * 10 / 64)
    products = {"01_dense": 32.0, "03_dense": 5.0}
    bits = (32 + 5) * 4 + 8 * 8 + 4 * 2 + 6 * (16 + 2)
    assert ann_traffic(found, products, contents, widths) * 1000 == pytest.approx(bits * 10 / 64)
    own, whole = quantised_energy(found, products, contents, levels=2, weight_bits=4, sum_bits=8)
    assert own * 1000 == pytest.approx(32 * (0.1 + 0.03) + 5 * (0.1 * 2 / 8 + 0.03))
    assert whole > own
    one, _ = quantised_energy(found, products, contents, levels=1, weight_bits=4, sum_bits=8)
    assert one * 1000 == pytest.approx(32 * 0.13 + 5 * 0.03)


def test_an_ann_of_one_level_multiplies_what_one_timestep_adds(network):
    params, found, counted, _ = network
    one, smooth = measure_anns(
        NETWORK, params, found, IMAGES, LABELS, levels=[1, None], batch_size=BATCH
    )
    first = counted.operations(1)["03_dense"].accumulates
    assert one.products["03_dense"] == pytest.approx(first)
    assert 0 < first < smooth.products["03_dense"] <= found["03_dense"].dense
    assert one.products["01_dense"] == found["01_dense"].dense
    (dark,) = measure_anns(
        NETWORK, params, found, np.where(IMAGES > 0.5, IMAGES, 0), LABELS, levels=[1],
        batch_size=BATCH, skip_pixels=True,
    )  # fmt: skip
    assert dark.products["01_dense"] == pytest.approx((IMAGES > 0.5).sum() * 8 / BATCH)
    answers = np.asarray(counted.simulation.values[0]).argmax(-1)
    assert one.accuracy == np.mean(answers == LABELS)


def test_with_early_exit_each_image_costs_what_its_own_timesteps_cost(network):
    params, _, counted, _ = network
    contents = measure_contents(NETWORK, params, SHAPE, 3)
    exits = np.array([1, 3, 3, 4, 1, 2])
    bits = {"weight_bits": 8, "sum_bits": 32}
    mixed = measure_point(counted, exits, contents, **bits)
    alone = []
    for place, t in enumerate(exits):
        kept = counted.simulation._replace(
            values=counted.simulation.values[:, [place]],
            recording={
                "wires": {p: {n: of[:, [place]] for n, of in row.items()}
                          for p, row in counted.simulation.recording["wires"].items()},
                "events": {p: of[:, [place]]
                           for p, of in counted.simulation.recording["events"].items()},
            },
        )  # fmt: skip
        part = counted._replace(simulation=kept, labels=LABELS[[place]])
        alone.append(measure_point(part, np.array([t]), contents, **bits))
    np.testing.assert_allclose(mixed, np.mean(alone, 0), rtol=1e-6)
    assert mixed.operations_nj < mixed.memory_nj


def test_images_stop_where_simulate_until_stops_them():
    values = np.array([[[9.0, 0], [0, 1]], [[0, 2], [3, 0]], [[0, 1], [0, 0]]])  # [T, N, K]
    assert find_exits(values, 3.0).tolist() == [1, 2]
    assert find_exits(values, 3.0, before=1).tolist() == [3, 2]
    assert shown_timesteps(1, 16) == [1, 2, 3, 4, 6, 8, 12, 16]
    assert shown_timesteps(3, 5) == [3, 4, 5]
    assert shown_timesteps(1, 1) == [1]


def test_a_quantised_ann_is_the_cheapest_that_is_as_accurate(network):
    params, found, counted, _ = network
    contents = measure_contents(NETWORK, params, SHAPE, 3)
    ann, *rivals = measure_anns(
        NETWORK, params, found, IMAGES, LABELS, levels=[None, 1, 2], batch_size=BATCH
    )
    best = counted.simulation.values.shape[1] * [STEPS]
    how = {"first": 1, "exits": np.array(best)}
    high, low = rivals[0]._replace(accuracy=1.0), rivals[1]._replace(accuracy=0.0)
    compared = compare_energies(counted, contents, Bits(), ann=ann, quantised=[high, low], **how)
    assert {row["to_quantised_ann"]["memory"]["levels"] for row in compared["timesteps"]} == {1}
    early, last = compared["early_exit"], compared["timesteps"][-1]
    assert early["memory_nj"] == pytest.approx(last["memory_nj"])
    none = compare_energies(counted, contents, Bits(), ann=ann, quantised=[low], **how)
    sure = [row for row in none["timesteps"] if row["accuracy"] > 0.001]
    assert sure and all(row["to_quantised_ann"]["memory"] is None for row in sure)


def test_networks_of_staircases_are_compared_in_eight_bits():
    layers = (arch.Dense(2), arch.Activation(step=0.5, alpha=0.0, theta=float("inf")))
    assert levels_to_try(arch.Network("steps", layers), 0) == (255,)
    assert levels_to_try(NETWORK, 5) == (1, 2, 3, 4, 5, 6, 8, 15, 255)


def row(steps, accuracy, to_ann, to_rival):
    rivals = {name: {"levels": 2, "ratio": r} for name, r in zip(NAMES, to_rival, strict=True)}
    energies = {"operations_nj": 100.0, "memory_nj": 400.0}
    return {
        "steps": steps, "accuracy": accuracy, "to_ann": dict(zip(NAMES, to_ann, strict=True)),
        "to_quantised_ann": rivals, **energies,
    }  # fmt: skip


NAMES = ("operations", "memory")


def test_the_answer_names_the_timesteps_also_where_there_are_none():
    ann = {"accuracy": 0.9, "operations_nj": 50.0, "memory_nj": 60.0}
    rows = [row(1, 0.5, (0.2, 0.9), (0.9, 1 - 1e-9)), row(2, 0.8995, (0.4, 1.1), (1.1, 2))]
    said = answer_in_words({"timesteps": rows, "ann": ann, "early_exit": None}, is_finetuned=True)
    assert "the accuracy of the ANN with its fine-tuned weights (" in said
    said = answer_in_words({"timesteps": rows, "ann": ann, "early_exit": None})
    assert said == (
        "This spiking network needs less energy than its ANN in 32-bit floats at every T up to 2 in"
        " operations and up to T = 1 with memory traffic; it needs less than the quantised ANN of"
        " the same accuracy up to T = 1 in operations and at no T with memory traffic. It first"
        " reaches the accuracy of its ANN (90.00 %, within 0.05 points) at T = 2."
    )
    worse = [row(t, 0.5, (3, 3), (2, 2)) for t in (1, 2)]
    worse[0]["to_quantised_ann"] = dict.fromkeys(NAMES)
    early = row(1.5, 0.6, (2, 2), (2, 4))
    early["to_quantised_ann"]["memory"] = None
    said = answer_in_words({"timesteps": worse, "ann": ann, "early_exit": early})
    assert "floats at no T, with and without memory traffic; it needs less than" in said
    assert "traffic (at T = 1 none of these is as accurate). It does" in said
    assert "not reach the accuracy of its ANN (90.00 %, within 0.05 points) up to T = 2." in said
    assert "after 1.50 timesteps on average, it is right on 60.00 % and needs 100.0 nJ in" in said
    assert "(ANN 50.0, quantised ANN 50.0)" in said
    assert "400.0 nJ with memory traffic (ANN 60.0, quantised ANN none as accurate)." in said


def test_every_point_of_accuracy_against_energy_is_drawn_and_named():
    points = [("1", 10.0, 90.0), ("2", 20.0, 95.0)]
    panels = {"a": {"SNN": points, "ANN": [("", 1e3, 96.0)]}, "b": {"SNN": points}}
    figure = plots.accuracy_against_energy(panels, lines=["SNN"], title="t")
    left, right = figure.axes
    np.testing.assert_array_equal(left.lines[0].get_xydata(), [[10, 90], [20, 95]])
    assert [line.get_linestyle() for line in left.lines] == ["-", "None"]
    assert [text.get_text() for text in right.texts] == ["1", "2"]
    assert left.get_xscale() == "log"
