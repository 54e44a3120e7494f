"""Figures 8 and 9: accuracy under noise for all readouts, leaks, densities and seeds.

`python experiments/noise_robustness/run.py` trains each readout on clean training images and
evaluates all test images with salt-and-pepper noise, in two protocols. It adds a row for each
network, protocol and seed to `results/noise.json`. A run that was stopped continues with the next
row. `--smoke --output DIR` runs all steps on mnist5k; `--speed` compares the time of
the compiled sweep with a Python loop over the same simulations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import cyclopts
import jax
import jax.numpy as jnp
import numpy as np
from cyclopts import Parameter
from jax.sharding import Mesh, PartitionSpec
from tqdm import tqdm

from snnjax.analysis import figures, plots
from snnjax.analysis.robustness import correct_answers_under_noise
from snnjax.app import comparison, pipeline
from snnjax.app.comparison import Line
from snnjax.app.configurations import ConvertConfig, recorded_training
from snnjax.io import datasets, records
from snnjax.runtime import cores, sharding
from snnjax.runtime.allocator import keep_freed_memory
from snnjax.snn.encoding import ENCODINGS, RATE
from snnjax.snn.noise import Noise, make_noise, salt_and_pepper
from snnjax.snn.readout import CURRENT, LEAKY, leaky_layer, output_spikes
from snnjax.snn.simulation import simulate
from snnjax.training import readout_learning
from snnjax.training.class_assignment import with_assigned_classes
from snnjax.training.output_recording import RecordingSettings, record_output_currents
from snnjax.training.plasticity_rules import LEARNING_RULES, make_plasticity

HERE = Path(__file__).parent
TRAINED = HERE.parent

LEAKS = (1.0, 0.98, 0.95, 0.9, 0.8)
DENSITIES = tuple(round(0.05 * i, 2) for i in range(7))
LEARNING_IMAGES, LABELLED_IMAGES = 10_000, 1_000
NEURONS = 30
SMOKE_LEARNING_IMAGES, SMOKE_TEST_IMAGES = 400, 100
LITERAL_EPOCHS = 10
"""Epochs of the rule without competition; its weights need more of them to diverge."""
SEEDS = (0, 1, 2)
WITHOUT_LAYER = ("ann", "ann_mean", "count")
"""Results that need no leaky layer."""


class Input(NamedTuple):
    """Input of a network.

    encoding: name of the encoding.
    num_steps: T of an evaluation.
    learning_steps: T while a readout learns.
    batch: images at a time on each device, each at all densities.
    """

    encoding: str
    num_steps: int
    learning_steps: int
    batch: int


INPUTS = {"net2": Input("rate", 16, 32, 100), "resnet20": Input("constant", 8, 16, 10)}
"""Bernoulli spikes for Net2, as in the paper. ResNet-20 gets a constant input, for as many
timesteps as it needs to reach its ANN; from 16 frames of Bernoulli spikes it recognises little.
"""


class Protocol(NamedTuple):
    """Timesteps with noise: `steps` of every `out_of`, each with its own noisy pixels."""

    steps: int
    out_of: int


PROTOCOLS = {"2 of 5 steps": Protocol(2, 5), "every step": Protocol(1, 1)}
"""The protocol of the paper, and one with noise in every timestep."""


def trained_file(network: str, seed: int) -> Path:
    """Return the file of a trained network: one per seed of Net2, the same for all of ResNet-20."""
    if network == "net2":
        return TRAINED / "mnist_latency" / "parameters" / f"net2-seed{seed}.safetensors"
    folder = TRAINED / "cifar10_latency"
    line = Line(network, "sth_exact", "constant", 0)
    trained = comparison.training_of(folder / "results" / "comparison.json", line)
    return folder / "parameters" / f"{comparison.network_label(trained)}.safetensors"


def batches(
    mesh: Mesh, images: np.ndarray, labels: np.ndarray, size: int, title: str
) -> Iterator[tuple[int, jax.Array, jax.Array]]:
    """Yield the index of the first image, and padded images and labels shared among the devices."""
    for i in tqdm(range(0, len(images), size), title, mininterval=1):
        x = images[i : i + size].astype(np.float32) / 255
        yield i, *sharding.shard_padded(mesh, x, labels[i : i + size])


@cache
def record_training_currents(
    name: str, seed: int, output: Path, smoke: bool
) -> tuple[jax.Array, jax.Array]:
    """Return the last layer's currents `[T, N, K]` for clean training images, and the labels."""
    given, (network, params, config) = INPUTS[name], load_converted(name, seed, output)
    data = datasets.load("mnist5k" if smoke else config.dataset)
    kept, _ = pipeline.hold_out_validation(config, data)
    images, labels = datasets.first(kept, SMOKE_LEARNING_IMAGES if smoke else LEARNING_IMAGES)
    mesh, found = sharding.make_mesh(), []
    params, batch = sharding.replicate(mesh, params), 100 * mesh.size
    for i, x, _ in batches(mesh, images, labels, batch, f"{name}, to learn from, {seed}"):
        found.append(np.asarray(simulate(
            network, params, x, num_steps=given.learning_steps, readout=CURRENT, first=i,
            encoding=ENCODINGS[given.encoding], key=jax.random.split(jax.random.key(seed), 3)[0],
        ).values))  # fmt: skip
    return jnp.asarray(np.concatenate(found, 1)[:, : len(images)]), jnp.asarray(labels)


def learn_layers(
    params: dict[str, Any], currents: jax.Array, labels: jax.Array, key: jax.Array
) -> dict[str, Any]:
    """Return the layer that each rule learns from clean images, by name, stacked over the leaks."""
    _, start, order = jax.random.split(key, 3)  # the first is for the input spikes
    spikes, classes = output_spikes(params, currents), currents.shape[-1]

    def stacked(weights: jax.Array, places: jax.Array) -> dict[str, Any]:
        return jax.vmap(lambda leak: leaky_layer(weights, leak=leak, labels=places))(
            jnp.asarray(LEAKS)
        )

    def learnt(first: dict[str, Any], rule: str, epochs: int) -> dict[str, Any]:
        learn = partial(readout_learning.learn, rule=LEARNING_RULES[rule], epochs=epochs)
        plasticity = make_plasticity()
        return jax.vmap(lambda layer: learn(layer, spikes, labels, order, plasticity))(first)

    identity = stacked(jnp.eye(classes), jnp.arange(classes))
    weights = readout_learning.random_weights(start, classes, NEURONS)
    random = learnt(stacked(weights, jnp.arange(NEURONS) % classes), "stdp", 3)
    named = [
        with_assigned_classes(
            params, jax.tree.map(lambda leaf, i=i: leaf[i], random), currents[:, :LABELLED_IMAGES],
            labels[:LABELLED_IMAGES],
        )
        for i in range(len(LEAKS))
    ]  # fmt: skip
    return {
        "leaky, W = I": identity,
        "literal STDP": learnt(identity, "literal", LITERAL_EPOCHS),
        "STDP + WTA from I": learnt(identity, "stdp", 1),
        "STDP + WTA from random": jax.tree.map(lambda *leaves: jnp.stack(leaves), *named),
        "teacher": learnt(identity, "teacher", 1),
    }


def load_converted(name: str, seed: int, output: Path) -> tuple[Any, dict[str, Any], Any]:
    """Return the converted network, its parameters, and the settings of its training."""
    snn = pipeline.convert(
        trained_file(name, seed), ConvertConfig(), output / "runs" / f"{name}-{seed}"
    )
    network, params, metadata = pipeline.load_network(snn)
    return network, params, recorded_training(metadata["trained"])


def make_counter(mesh: Mesh, correct: Callable[..., dict[str, jax.Array]]) -> Callable[..., Any]:
    """Return a compiled function that counts correct images, each device only its own.

    If the compiler divided the work, every device would compute all images, because the axis of
    the densities comes before that of the images. The images that pad a batch have no class, so
    they are never correct.
    """
    shared, whole = PartitionSpec(sharding.AXIS), PartitionSpec()

    def of_part(
        params: dict[str, Any], layers: dict[str, Any], images: jax.Array, labels: jax.Array,
        noise: Noise, key: jax.Array, firsts: jax.Array,
    ) -> dict[str, jax.Array]:  # fmt: skip
        right = correct(params, layers, images, labels, noise, key, first=firsts[0])
        return jax.tree.map(lambda leaf: jax.lax.psum(leaf.sum(-1), sharding.AXIS), right)

    return jax.jit(jax.shard_map(
        of_part, mesh=mesh, out_specs=whole, check_vma=False,
        in_specs=(whole, whole, shared, shared, whole, whole, shared),
    ))  # fmt: skip


def score(
    name: str, seed: int, protocols: dict[str, Protocol], output: Path, smoke: bool
) -> list[dict[str, Any]]:
    """Return the rows of one network and seed, one for each protocol."""
    given = INPUTS[name]._replace(**({"num_steps": 4} if smoke else {}))
    network, params, config = load_converted(name, seed, output)
    data = datasets.load("mnist5k" if smoke else config.dataset)
    started = time.perf_counter()
    # All seeds of ResNet-20 are one network, with the same answers to a constant input.
    drawn = seed if ENCODINGS[given.encoding].needs_key else 0
    currents, told = record_training_currents(name, drawn, output, smoke)
    found = learn_layers(params, currents, told, jax.random.key(seed))
    learning_seconds = round(time.perf_counter() - started, 1)
    images, labels = datasets.first(data.test, SMOKE_TEST_IMAGES if smoke else 0)
    mesh = sharding.make_mesh()
    params, batch = sharding.replicate(mesh, params), given.batch * mesh.size
    count = make_counter(mesh, partial(
        correct_answers_under_noise, network, num_steps=given.num_steps,
        levels=config.finest_levels or None, encoding=ENCODINGS[given.encoding],
    ))  # fmt: skip
    rows = []
    for protocol, chosen in protocols.items():
        started, right = time.perf_counter(), {}
        noise = make_noise(np.array(DENSITIES), **chosen._asdict())
        for i, x, y in batches(mesh, images, labels, batch, f"{name}, {protocol}, {seed}"):
            firsts = sharding.shard(mesh, np.arange(i, i + len(x), len(x) // mesh.size))
            counts = count(params, found, x, y, noise, jax.random.key(seed), firsts)
            right = (
                jax.tree.map(np.add, right, counts) if right else jax.tree.map(np.asarray, counts)
            )
        rows.append({
            "network": name,
            "protocol": protocol,
            "seed": seed,
            "noisy": chosen._asdict(),
            "densities": DENSITIES,
            "leaks": LEAKS,
            "num_steps": given.num_steps,
            "learning_steps": given.learning_steps,
            "learning_images": len(told),
            "encoding": given.encoding,
            "accuracy": {k: (right[k] / len(images)).tolist() for k in (*WITHOUT_LAYER, *found)},
            "weights": {k: [float(f(v["weights"])) for f in (jnp.min, jnp.max)]
                        for k, v in found.items()},
            "dataset": pipeline.describe_dataset(data),
            "images": len(images),
            "learning_seconds": learning_seconds,
            "seconds": round(time.perf_counter() - started, 1),
            **records.provenance(),
        })  # fmt: skip
    return rows


def draw_examples(images: np.ndarray, path: Path) -> None:
    """Draw figure 8: images of one noisy timestep at four densities of noise."""
    key, rows = jax.random.key(0), {}
    for density in (0.0, 0.1, 0.2, 0.3):
        noisy = salt_and_pepper(key, jnp.asarray(images), density)
        rows[f"{100 * density:.0f} %"] = list(np.asarray(noisy))
    figures.save(plots.image_grid(rows), path)


def measure_speed(output: Path, given: Input = INPUTS["net2"], count: int = 100) -> None:
    """Write `speed.json`: seconds for a batch of the sweep and for learning.

    The batch is computed in one compiled program and in a Python loop. 10,000 images are simulated
    with and without learning from them.
    """
    network, params, config = load_converted("net2", 0, output)
    data = datasets.load(config.dataset)
    images, labels = datasets.first(data.test, count)
    x, key = images.astype(np.float32) / 255, jax.random.key(0)
    weights = jnp.eye(10)
    stacked = jax.vmap(lambda leak: leaky_layer(weights, leak=leak, labels=jnp.arange(10)))(
        jnp.asarray(LEAKS)
    )

    def at_once() -> Any:
        return correct_answers_under_noise(
            network, params, {"leaky": stacked}, x, labels, make_noise(np.array(DENSITIES)), key,
            num_steps=given.num_steps, levels=config.finest_levels,
        )  # fmt: skip

    def one(density: float, leak: float) -> jax.Array:
        layered = {**params, "readout": leaky_layer(weights, leak=leak)}
        return simulate(
            network, layered, x, num_steps=given.num_steps, encoding=RATE, readout=LEAKY, key=key,
            noise=make_noise(density),
        ).values  # fmt: skip

    def one_by_one() -> Any:
        return [one(density, leak) for density in DENSITIES for leak in LEAKS]

    many, told = datasets.first(data.train, LEARNING_IMAGES)
    recording = RecordingSettings(given.learning_steps)
    showing = partial(record_output_currents, network, params, many, key, recording)
    learnt = partial(
        readout_learning.learn_on_images, network, params, leaky_layer(weights), many,
        jnp.asarray(told), key, make_plasticity(), recording=recording,
    )  # fmt: skip
    seconds = {
        "compiled sweep": timed(at_once, 5),
        "Python loop": timed(one_by_one, 5),
        "showing": timed(showing, 3),
        "showing and learning": timed(learnt, 3),
    }
    record = {
        "seconds": seconds, "images": count, "num_steps": given.num_steps, "densities": DENSITIES,
        "leaks": LEAKS, "learning_images": len(many), "learning_steps": given.learning_steps,
        **records.provenance(),
    }  # fmt: skip
    records.write_json(output / "results" / "speed.json", record)
    print({name: f"{times[len(times) // 2]:.2f} s" for name, times in seconds.items()})


def timed(run: Callable[[], Any], repeats: int) -> list[float]:
    """Return the sorted seconds of all calls except the first, which compiles."""
    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - started)
    return sorted(times)


def main(
    *,
    networks: Annotated[tuple[Literal[*INPUTS], ...], Parameter(consume_multiple=True)] = ("net2",),
    protocols: Annotated[tuple[Literal[*PROTOCOLS], ...], Parameter(consume_multiple=True)] = tuple(
        PROTOCOLS
    ),
    smoke: bool = False,
    speed: bool = False,
    output: Path = HERE,
) -> None:
    """Evaluate the rows that are missing.

    Parameters
    ----------
    networks
        one or several
    protocols
        one or several
    smoke
        learn from 400 images of mnist5k and test on 100, one seed, 4 timesteps, one protocol
    speed
        only compare the time of the sweep with that of a loop
    output
        folder for the results
    """
    keep_freed_memory()
    if speed:
        measure_speed(output)
        return
    cores.use_cores()
    path = output / "results" / "noise.json"
    rows = comparison.read_rows(path) if path.is_file() else []
    wanted = protocols[:1] if smoke else protocols
    for name in networks:
        for seed in SEEDS[:1] if smoke else SEEDS:
            there = {
                row["protocol"] for row in rows if (row["network"], row["seed"]) == (name, seed)
            }
            missing = {p: PROTOCOLS[p] for p in wanted if p not in there}
            if missing:
                rows += score(name, seed, missing, output, smoke)
                records.write_json(path, {"rows": rows})
        data = datasets.load("mnist5k" if smoke else load_converted(name, 0, output)[2].dataset)
        shown = data.test.images[:8].astype(np.float32) / 255
        draw_examples(shown, output / "figures" / f"{name}-images.png")


if __name__ == "__main__":
    cyclopts.run(main)
