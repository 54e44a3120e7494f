"""Reasons for the losses of the methods on ResNet-20, and the one change that removes most of each.

`python experiments/deep_networks/sources.py` takes the networks that `run.py` has trained, as their
sources convert them and with one setting changed, and adds one row at a time to
`results/sources.json`. Each row compares three networks without timesteps with the spiking network:
the ANN, the ANN with activations clipped to one spike per timestep, and the spiking network with
the mean current of each neuron at every timestep. Their differences are the losses by the training,
by clipping, by whole spike counts, and by currents that vary over time. A run that was stopped
continues from its last complete row. `--smoke --output DIR` measures three rows on 20 images.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import cyclopts
import jax
import jax.numpy as jnp
import numpy as np
from cyclopts import Parameter

from snnjax.analysis.conversion_error import measure_conversion_error
from snnjax.analysis.error_decomposition import steady_rate
from snnjax.analysis.metrics import correct_answers
from snnjax.app.comparison import measure_missing
from snnjax.app.configurations import ConvertConfig, recorded_training
from snnjax.app.run_files import describe_dataset
from snnjax.app.stages.conversion import Converted, convert_file
from snnjax.conversion.methods import METHODS
from snnjax.io import datasets, records
from snnjax.networks import architecture
from snnjax.runtime import cores
from snnjax.runtime.allocator import keep_freed_memory
from snnjax.snn.answers import classify
from snnjax.snn.encoding import ENCODINGS
from snnjax.snn.engine import neuron_params
from snnjax.snn.neurons import NEURONS, NeuronModel
from snnjax.snn.rates import limit
from snnjax.snn.simulation import simulate
from snnjax.snn.stimulus import Stimulus, frame

HERE = Path(__file__).parent
SPLIT = 50
"""Images on which the errors of layers are split."""
HALF = {"initial_potential": 0.5}
NETWORKS = {"qcfs": "th_relu-levels4", "sth_exact": "sth_leaky_relu-levels4"}
"""Networks of methods that are trained with levels; others are named by their activation."""


class Line(NamedTuple):
    """Fields that identify a row: a method, what is changed in it, the input, and T."""

    method: str
    change: str
    encoding: str
    num_steps: int


class Case(NamedTuple):
    """How a row is measured.

    options: fields of `ConvertConfig` beside those of the method; neuron: another than the
    method's; same: method under whose name `run.py` has simulated it on all test images, or "" to
    simulate it here; layers: split the errors of every layer.
    """

    options: dict[str, Any]
    neuron: str = ""
    same: str = ""
    layers: bool = False


NO_SHIFT = {**HALF, "shift": False}
CASES = {
    Line("th_relu", "", "constant", 1): Case({}, same="th_relu"),
    Line("th_relu", "", "constant", 2): Case({}, same="th_relu"),
    Line("th_relu", "", "constant", 16): Case({}, same="th_relu", layers=True),
    Line("th_relu", "v(0) = v_p / 2, no shift", "constant", 16): Case(NO_SHIFT),
    Line("th_relu", "v(0) = v_p / 2, exact-charge", "constant", 16): Case(NO_SHIFT, "exact-charge"),
    Line("sth_leaky_relu", "", "constant", 16): Case({}, same="sth_leaky_relu", layers=True),
    Line("sth_leaky_relu", "", "constant", 128): Case({}, same="sth_leaky_relu"),
    Line("sth_leaky_relu", "v(0) = v_p / 2", "constant", 16): Case(HALF, same="sth_half"),
    Line("sth_leaky_relu", "v(0) = v_p / 2", "constant", 128): Case(HALF, same="sth_half"),
    Line("sth_leaky_relu", "v(0) = v_p / 2, exact-charge", "constant", 16): Case(
        HALF, "exact-charge"
    ),
    Line("robust_norm", "", "constant", 32): Case({}, same="robust_norm"),
    Line("robust_norm", "", "constant", 128): Case({}, same="robust_norm"),
    Line("rnl", "", "constant", 32): Case({}, same="rnl", layers=True),
    Line("rnl", "", "constant", 128): Case({}, same="rnl"),
    Line("rnl", "v(0) = v_p / 2", "constant", 32): Case(HALF),
    Line("rnl", "v(0) = v_p / 2", "constant", 128): Case(HALF),
    Line("opi", "", "constant", 32): Case({}, same="opi", layers=True),
    Line("opi", "signed-memory", "constant", 32): Case({}, "signed-memory"),
    Line("opi", "99th percentile", "constant", 32): Case({"scales": "percentile_99"}),
    Line("snm", "", "constant", 32): Case({}, same="snm"),
    Line("snm", "v(0) = v_p / 2", "constant", 32): Case(HALF),
    Line("calibration", "", "constant", 32): Case({}, same="calibration", layers=True),
    Line("calibration", "signed-memory", "constant", 32): Case({}, "signed-memory"),
    Line("calibration", "v(0) = v_p / 2, no shift", "constant", 32): Case(NO_SHIFT),
    Line("calibration_advanced", "", "constant", 32): Case({}, same="calibration_advanced"),
    Line("qcfs", "", "constant", 4): Case({}, same="qcfs"),
    Line("qcfs", "", "constant", 8): Case({}, same="qcfs"),
    Line("qcfs", "exact-charge", "constant", 4): Case({}, "exact-charge"),
    Line("sth_exact", "", "rate", 16): Case({}, same="sth_exact"),
    Line("sth_exact", "", "rate", 128): Case({}, same="sth_exact"),
    Line("sth_exact", "", "deterministic", 16): Case({}),
    Line("sth_leaky_relu", "", "rate", 16): Case({}, same="sth_leaky_relu"),
    Line("sth_leaky_relu", "", "rate", 128): Case({}, same="sth_leaky_relu"),
    Line("th_relu", "", "constant", 128): Case({}),
}
SMOKE = (
    Line("th_relu", "", "constant", 2), Line("qcfs", "exact-charge", "constant", 4),
    Line("sth_exact", "", "rate", 16),
)  # fmt: skip


class Network(NamedTuple):
    """What is compiled for a row: the architecture, its neuron, and the levels of its training."""

    network: architecture.Network
    neuron: NeuronModel
    levels: int


@partial(jax.jit, static_argnames=("num_steps", "of"))
def answers_without_time(
    params: dict[str, Any], images: jax.Array, num_steps: int, *, of: Network
) -> dict[str, jax.Array]:
    """Answers `[B]` of the ANN, of the clipped ANN, and of neurons under even currents.

    Args:
      params: what `conversion.convert` returned.
      images: mean input `[B, H, W, C]`.
      num_steps: T of the neurons.
      of: the network.
    """
    specs = architecture.activations(of.network)

    def clipped(path: str, numbers: dict[str, Any], current: jax.Array) -> jax.Array:
        return jnp.clip(specs[path].rate(numbers, current), -1.0, 1.0)

    def even(path: str, numbers: dict[str, Any], current: jax.Array) -> jax.Array:
        mean = current + numbers["shift"]
        return steady_rate(neuron_params(numbers), mean, num_steps, of.neuron)

    x = params["gain"] * images
    values = {
        "ann": limit(of.network, params, images, levels=of.levels or None),
        "clipped": of.network.propagate(params["layers"], x, clipped),
        "even": of.network.propagate(params["layers"], x, even),
    }
    return jax.tree.map(classify, values)


@partial(jax.jit, static_argnames=("encoding",))
def mean_frames(images: jax.Array, first: int, num_steps: int, *, encoding: str) -> jax.Array:
    """Return the mean input over T = `num_steps` timesteps, for a gain of 1."""
    stimulus = Stimulus(images, jax.random.key(0), first)

    def body(t: jax.Array, total: jax.Array) -> jax.Array:
        return total + frame(stimulus, 1.0, t, ENCODINGS[encoding])

    return jax.lax.fori_loop(0, num_steps, body, jnp.zeros_like(images)) / num_steps


def convert_case(line: Line, case: Case) -> Converted:
    """Convert the network of a method by its settings and those of a case."""
    method = METHODS[line.method]
    name = f"resnet20-{NETWORKS.get(line.method, method.activation)}-seed0.safetensors"
    options = {**method.convert, **case.options}
    config = ConvertConfig(for_steps=line.num_steps, **options)
    return convert_file(HERE / "parameters" / name, config)


def score(
    line: Line, case: Case, found: Converted, split: datasets.Split, batch_size: int
) -> dict[str, Any]:
    """Accuracies of a case on all images of a split; "snn" at every timestep."""
    neuron = NEURONS[case.neuron or METHODS[line.method].neuron]
    levels = recorded_training(found.trained).finest_levels
    of = Network(found.network, neuron, levels)
    right: dict[str, Any] = {}
    for first in range(0, len(split.images), batch_size):
        batch = slice(first, first + batch_size)
        images, labels = jnp.asarray(split.images[batch], jnp.float32) / 255, split.labels[batch]
        mean = images
        if line.encoding != "constant":
            mean = mean_frames(images, first, line.num_steps, encoding=line.encoding)
        answers = answers_without_time(found.params, mean, line.num_steps, of=of)
        each = {name: np.sum(np.asarray(answer) == labels) for name, answer in answers.items()}
        if not case.same:
            values = simulate(
                found.network, found.params, images, num_steps=line.num_steps, neuron=neuron,
                encoding=ENCODINGS[line.encoding], key=jax.random.key(0), first=first,
            ).values  # fmt: skip
            each["snn"] = np.asarray(correct_answers(values, labels)).sum(-1)
        right = {name: right.get(name, 0) + count for name, count in each.items()}
    return {name: (count / len(split.images)).tolist() for name, count in right.items()}


def split_errors(
    line: Line, case: Case, found: Converted, images: np.ndarray
) -> dict[str, dict[str, float]]:
    """Parts of the error of every layer by path, and the size of its activations.

    Both are root mean squares in spikes per timestep.
    """
    errors = measure_conversion_error(
        found.network, found.params, images.astype(np.float32) / 255, num_steps=line.num_steps,
        neuron=NEURONS[case.neuron or METHODS[line.method].neuron],
        encoding=ENCODINGS[line.encoding], key=jax.random.key(0), batch_size=len(images),
    )  # fmt: skip
    return {
        path: {"size": layer.size, **{name: square for name, (square, _) in layer.parts.items()}}
        for path, layer in errors.layers.items()
    }


def measure(line: Line, case: Case, images: int, batch_size: int) -> dict[str, Any]:
    """Row of a case: accuracies on the first `images` test images, settings and provenance."""
    start = time.perf_counter()
    found = convert_case(line, case)
    data = datasets.load(recorded_training(found.trained).dataset)
    test = datasets.first(data.test, images)
    scores = score(line, case, found, test, batch_size)
    layers = split_errors(line, case, found, test.images[:SPLIT]) if case.layers else None
    return {
        **line._asdict(),
        "same": case.same,
        **scores,
        "layers": layers,
        "conversion": asdict(found.config),
        "neuron": case.neuron or METHODS[line.method].neuron,
        "training": found.trained["config"],
        "seed": 0,
        "dataset": describe_dataset(data),
        "images": images,
        "seconds": round(time.perf_counter() - start, 1),
        **records.provenance(),
    }


def main(
    *,
    only: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    images: int = 500,
    batch_size: int = 50,
    smoke: bool = False,
    output: Path = HERE,
) -> None:
    """Measure the rows that are missing.

    Parameters
    ----------
    only
        methods; all without it
    images
        test images, from the first
    batch_size
        images at a time
    smoke
        three rows on 20 images
    output
        folder for the results
    """
    keep_freed_memory()
    cores.use_cores()
    wanted = SMOKE if smoke else [line for line in CASES if line.method in (only or METHODS)]
    if smoke:
        images, batch_size = 20, 20
    measure_missing(
        output / "results" / "sources.json",
        wanted,
        lambda line: measure(line, CASES[line], images, batch_size),
    )


if __name__ == "__main__":
    cyclopts.run(main)
