"""Figures 8 and 9, and what helps against noise: readouts x leaks x densities x seeds.

`python experiments/noise_robustness/run.py` lets each readout learn from clean training images
and scores all test images under salt and pepper, in two protocols. It adds a row for each
network, protocol and seed to `results/noise.json`, so that a run that was stopped goes on where
it stopped. `--smoke --output DIR` does the whole path on 200 images of mnist5k; `--speed`
measures the compiled sweep against a Python loop over the same simulations.
"""

from __future__ import annotations

import json
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
from snnjax.app.configurations import ConvertConfig
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
LEARN_FROM, LABELLED = 10_000, 1_000
NEURONS = 30
LITERAL_EPOCHS = 10
"""Passes of the rule without competition, which takes longer to show where it leads."""
SEEDS = (0, 1, 2)
PLAIN = ("ann", "ann_mean", "count")
"""What is scored without a leaky layer."""


class Input(NamedTuple):
    """How a network is shown images: `num_steps` to score, `learning_steps` to learn from.

    batch: images at a time on each device, each at all densities.
    """

    encoding: str
    num_steps: int
    learning_steps: int
    batch: int


INPUTS = {"net2": Input("rate", 16, 32, 100), "resnet20": Input("constant", 8, 16, 10)}
"""Bernoulli spikes, the paper's, for Net2. ResNet-20 is shown the images themselves, for as many
timesteps as it needs for its ANN's answers: of 16 drawn frames it makes little.
"""


class Protocol(NamedTuple):
    """Which timesteps are noisy: `steps` of every `out_of`, each with pixels of its own."""

    steps: int
    out_of: int


PROTOCOLS = {"2 of 5 steps": Protocol(2, 5), "every step": Protocol(1, 1)}
"""The paper's, and one in which no timestep is clean."""


def files(network: str, seed: int) -> Path:
    """Where a trained network is: one for each seed of Net2, one for all of ResNet-20."""
    if network == "net2":
        return TRAINED / "mnist_latency" / "parameters" / f"net2-seed{seed}.safetensors"
    folder = TRAINED / "cifar10_latency"
    line = Line(network, "sth_exact", "constant", 0)
    trained = comparison.recipe(folder / "results" / "comparison.json", line)
    return folder / "parameters" / f"{comparison.label(trained)}.safetensors"


def batches(
    mesh: Mesh, images: np.ndarray, labels: np.ndarray, size: int, title: str
) -> Iterator[tuple[int, jax.Array, jax.Array]]:
    """Place of the first image, images and labels, shared among the devices and filled up."""
    for i in tqdm(range(0, len(images), size), title, mininterval=1):
        x = images[i : i + size].astype(np.float32) / 255
        yield i, *sharding.shard_padded(mesh, x, labels[i : i + size])


@cache
def shown(name: str, seed: int, output: Path, smoke: bool) -> tuple[jax.Array, jax.Array]:
    """The last layer's currents `[T, N, K]` for clean training images, and their labels."""
    given, (network, params, config) = INPUTS[name], loaded(name, seed, output)
    kept, _ = pipeline.split_off(config, datasets.load("mnist5k" if smoke else config.dataset))
    images, labels = datasets.first(kept, LEARN_FROM)
    mesh, found = sharding.make_mesh(), []
    params, batch = sharding.replicate(mesh, params), 100 * mesh.size
    for i, x, _ in batches(mesh, images, labels, batch, f"{name}, to learn from, {seed}"):
        found.append(np.asarray(simulate(
            network, params, x, num_steps=given.learning_steps, readout=CURRENT, first=i,
            encoding=ENCODINGS[given.encoding], key=jax.random.split(jax.random.key(seed), 3)[0],
        ).values))  # fmt: skip
    return jnp.asarray(np.concatenate(found, 1)[:, : len(images)]), jnp.asarray(labels)


def layers(
    params: dict[str, Any], currents: jax.Array, labels: jax.Array, key: jax.Array
) -> dict[str, Any]:
    """By name, what each rule has learnt from clean images, stacked over the leaks."""
    _, start, order = jax.random.split(key, 3)  # the first one draws what is shown
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
            params, jax.tree.map(lambda leaf, i=i: leaf[i], random), currents[:, :LABELLED],
            labels[:LABELLED],
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


def loaded(name: str, seed: int, output: Path) -> tuple[Any, dict[str, Any], Any]:
    """The converted network, its parameters, and the settings of its training."""
    snn = pipeline.convert(files(name, seed), ConvertConfig(), output / "runs" / f"{name}-{seed}")
    network, params, metadata = pipeline.load_network(snn)
    return network, params, pipeline.recorded(metadata["trained"])


def counting(mesh: Mesh, correct: Callable[..., dict[str, jax.Array]]) -> Callable[..., Any]:
    """How many images are right, from where they are: each device looks at its own alone.

    Divided by the compiler, a map over densities would have every device compute all images: the
    densities come before the images in its products. What fills a batch up has no class, so it
    is never right.
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
    """The rows of one network and seed."""
    given = INPUTS[name]._replace(**({"num_steps": 4} if smoke else {}))
    network, params, config = loaded(name, seed, output)
    data = datasets.load("mnist5k" if smoke else config.dataset)
    begun = time.perf_counter()
    # ResNet-20 is one network for all seeds, and says the same of images as they are.
    drawn = seed if ENCODINGS[given.encoding].needs_key else 0
    currents, told = shown(name, drawn, output, smoke)
    found = layers(params, currents, told, jax.random.key(seed))
    learning_seconds = round(time.perf_counter() - begun, 1)
    images, labels = datasets.first(data.test, 200 if smoke else 0)
    mesh = sharding.make_mesh()
    params, batch = sharding.replicate(mesh, params), given.batch * mesh.size
    count = counting(mesh, partial(
        correct_answers_under_noise, network, num_steps=given.num_steps,
        levels=config.finest_levels or None, encoding=ENCODINGS[given.encoding],
    ))  # fmt: skip
    rows = []
    for protocol, chosen in protocols.items():
        begun, right = time.perf_counter(), {}
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
            "accuracy": {k: (right[k] / len(images)).tolist() for k in (*PLAIN, *found)},
            "weights": {k: [float(f(v["weights"])) for f in (jnp.min, jnp.max)]
                        for k, v in found.items()},
            "dataset": pipeline.describe(data),
            "images": len(images),
            "learning_seconds": learning_seconds,
            "seconds": round(time.perf_counter() - begun, 1),
            **records.provenance(),
        })  # fmt: skip
    return rows


def examples(images: np.ndarray, path: Path) -> None:
    """Figure 8: images at four densities, as they are shown in one noisy timestep."""
    key, rows = jax.random.key(0), {}
    for density in (0.0, 0.1, 0.2, 0.3):
        noisy = salt_and_pepper(key, jnp.asarray(images), density)
        rows[f"{100 * density:.0f} %"] = list(np.asarray(noisy))
    figures.save(plots.image_grid(rows), path)


def measure_speed(output: Path, given: Input = INPUTS["net2"], count: int = 100) -> None:
    """Seconds for one batch of the sweep, compiled as one and as a Python loop, and for showing
    10,000 images with and without learning from them: `speed.json`.
    """
    network, params, config = loaded("net2", 0, output)
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

    many, told = datasets.first(data.train, LEARN_FROM)
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
    """Seconds of each call after the first, which compiles, in rising order."""
    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - begun)
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
    """Score what is not there yet.

    Parameters
    ----------
    networks
        one or several
    protocols
        one or several
    smoke
        200 images of mnist5k, one seed, 4 timesteps, one protocol
    speed
        measure the sweep against a loop, and nothing else
    output
        folder for the results
    """
    keep_freed_memory()
    if speed:
        measure_speed(output)
        return
    cores.use_cores()
    path = output / "results" / "noise.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
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
        data = datasets.load("mnist5k" if smoke else loaded(name, 0, output)[2].dataset)
        shown = data.test.images[:8].astype(np.float32) / 255
        examples(shown, output / "figures" / f"{name}-images.png")


if __name__ == "__main__":
    cyclopts.run(main)
