"""What is measured: known networks with random weights, their images, and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.conversion.conversion import convert
from snnjax.conversion.quantisation import quantise
from snnjax.networks import architecture as arch
from snnjax.networks import known_networks
from snnjax.networks.ann import ANN
from snnjax.runtime import sharding
from snnjax.snn.fast.chunks import (
    choose_chunk,
    count_weights,
    prepare_kernels,
    skips_silent_inputs,
)
from snnjax.snn.neurons import NEURONS
from snnjax.snn.rates import limit
from snnjax.snn.simulation import simulate

NETWORKS = ("net1", "net2", "vgg16", "resnet20")
BATCHES = (1, 16, 128)
STEPS = (8, 16, 64)
NEURON_NAMES = ("exact-charge", "double-threshold")
PRODUCTS = {"float32": 0, "bfloat16x3": 3, "integer-bfloat16": 1}
"""bfloat16 numbers for a weight that multiplies spikes, 0 for float32; the last for an integer
network."""
MOST_FRAMES = 256
"""Timesteps by images up to which the order layer by layer is measured; beyond, it fills memory."""

Variables = dict[str, Any]


class Case(NamedTuple):
    """A network, images at a time, and timesteps."""

    network: str
    batch: int
    num_steps: int


class Effort(NamedTuple):
    """repeats: rounds at least; seconds: how long short calls are repeated; limit: seconds after
    which a case ends with fewer repeats.
    """

    repeats: int = 5
    seconds: float = 1.0
    limit: float = 120.0


class Program(NamedTuple):
    """run: the compiled program on its arguments, until the result is there.

    trace_seconds, compile_seconds: JAX's part and XLA's. memory_bytes: arguments, results and
    temporaries by XLA's own analysis.
    """

    run: Callable[[], Any]
    trace_seconds: float
    compile_seconds: float
    memory_bytes: int


def image_shape(network: arch.Network) -> tuple[int, int, int]:
    """Of MNIST for Net1 and Net2, of CIFAR-10 for the others."""
    return (28, 28, 1) if network.name in ("net1", "net2") else (32, 32, 3)


def draw_images(network: arch.Network, count: int, seed: int = 0) -> jax.Array:
    """Pixels drawn from [0, 1]."""
    return jax.random.uniform(jax.random.key(seed), (count, *image_shape(network)))


def draw_inputs(network: arch.Network, count: int, products: str) -> jax.Array:
    """Pixels drawn from [0, 1], for an integer network bytes divided by 255."""
    images = draw_images(network, count)
    return jnp.round(255 * images) / 255 if products.startswith("integer") else images


def on_cores(params: Variables, images: jax.Array) -> tuple[Variables, jax.Array]:
    """Parameters on each core, and the images shared among as many cores as can do so evenly."""
    mesh = sharding.make_mesh(batch_size=len(images))
    return sharding.replicate(mesh, params), sharding.shard(mesh, np.asarray(images))


@cache
def draw(network: arch.Network, seed: int = 0) -> Variables:
    """Random weights, biases and gains; means and variances of batches are those of 32 random
    images, so that every layer has something to say.
    """

    def exact(layer: arch.Layer) -> arch.Layer:
        return replace(layer, momentum=0.0) if isinstance(layer, arch.BatchNorm) else layer

    images = draw_images(network, 32, seed + 1)
    model = ANN(arch.changed(network.layers, exact))
    variables = jax.jit(model.init)(jax.random.key(seed), images[:1])
    normal = np.random.default_rng(seed).standard_normal

    def jitter(leaf: jax.Array) -> jax.Array:
        return leaf if leaf.ndim > 1 else leaf + 0.1 * jnp.asarray(normal(leaf.shape), leaf.dtype)

    params = jax.tree.map(jitter, variables["params"])
    given = {**variables, "params": params}
    _, measured = jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]))(given, images)
    return {"params": params, **measured}


@cache
def draw_params(network: arch.Network, products: str = "float32", num_steps: int = 1) -> Variables:
    """Converted random weights, as an integer network where the products are of one: of 8 bits, or
    as many as keep the sums of all timesteps exact.
    """
    params = convert(network, draw(network))
    if not products.startswith("integer"):
        return params
    whole = (quantise(network, params, bits) for bits in (8, 7, 6))
    return next(found for found in whole if found["integer"]["steps"] >= num_steps)


@cache
def moved(case: Case, neuron: str, products: str, count: int = 64) -> float:
    """Spikes of so many images at another place than with float32 products, to all spikes."""
    network = known_networks.find(case.network)

    @jax.jit
    def differences(params: Variables, images: jax.Array) -> tuple[Any, Any]:
        exact, other = (
            simulate(
                network, params, images, num_steps=case.num_steps, neuron=NEURONS[neuron],
                record=True, kernel_parts=parts,
            ).recording
            for parts in (0, PRODUCTS[products])
        )  # fmt: skip
        apart = jax.tree.map(lambda one, two: jnp.abs(one - two).sum(), exact, other)
        return apart, jax.tree.map(lambda spikes: jnp.abs(spikes).sum(), exact)

    found = differences(
        draw_params(network, products, case.num_steps), draw_inputs(network, count, products)
    )
    apart, sent = (sum(map(float, by_path.values())) for by_path in found)
    return float(f"{apart / max(sent, 1.0):.3g}")


def build(function: Callable[..., Any], *arguments: Any) -> Program:
    """Compile a function for its arguments; nothing is taken from a cache of programs."""
    begun = time.perf_counter()
    lowered = jax.jit(function).lower(*arguments)
    traced = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()
    memory = compiled.memory_analysis()
    parts = ("argument", "output", "temp")
    held = sum(getattr(memory, f"{part}_size_in_bytes") for part in parts)
    return Program(
        lambda: jax.block_until_ready(compiled(*arguments)), traced - begun, done - traced, held
    )


def build_simulation(
    network: arch.Network,
    params: Variables,
    images: jax.Array,
    *,
    num_steps: int,
    neuron: str,
    chunk_steps: int | None = None,
    answers_alone: bool = False,
    products: str = "float32",
) -> Program:
    """`simulate` for constant input, with all that it returns or its values alone."""

    def run(params: Variables, images: jax.Array) -> Any:
        found = simulate(
            network, params, images, num_steps=num_steps, neuron=NEURONS[neuron],
            chunk_steps=chunk_steps, kernel_parts=PRODUCTS[products],
        )  # fmt: skip
        return found.values if answers_alone else found

    return build(run, params, images)


def build_ann(network: arch.Network, params: Variables, images: jax.Array) -> Program:
    """The forward pass of the same network with its activations, batch norm folded."""
    return build(partial(limit, network), params, images)


def orders(case: Case) -> dict[str, int]:
    """How many timesteps each layer computes at once, by name; equal ones once."""
    network = known_networks.find(case.network)
    params = draw_params(network)
    chosen = choose_chunk(
        case.batch, case.num_steps, count_weights(params),
        skips_inputs=skips_silent_inputs(network, params, case.batch),
    )  # fmt: skip
    found = {"step by step": 1}
    if chosen != 1:
        found["chosen"] = chosen
    if case.batch * case.num_steps <= MOST_FRAMES and case.num_steps not in found.values():
        found["layer by layer"] = case.num_steps
    return found


def timed(run: Callable[[], Any]) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def alternate(
    calls: Mapping[str, Callable[[], float]], effort: Effort = Effort(), *, rest: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of each call, by turns and never at the same time, after a round to warm up.

    Args:
      calls: by name; each runs once and says how long it took.
      effort: when it is enough.
      rest: seconds before each turn.
    """
    begun = time.perf_counter()
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    rounds, started = 0, time.perf_counter()
    while True:
        for name, call in calls.items():
            time.sleep(rest)
            found[name].append(call())
        rounds, now = rounds + 1, time.perf_counter()
        if now - begun > effort.limit:
            return found
        if rounds >= effort.repeats and now - started > effort.seconds:
            return found


def median(seconds: list[float]) -> float:
    """To four digits."""
    return float(f"{np.median(seconds):.4g}")


def figures(seconds: list[float]) -> dict[str, Any]:
    """Of one kind of call: the median, the quartiles, and how many there were."""
    low, high = np.percentile(seconds, (25, 75))
    return {
        "median": median(seconds),
        "quartiles": [float(f"{low:.4g}"), float(f"{high:.4g}")],
        "repeats": len(seconds),
    }


def measure(
    case: Case, neuron: str, order: str, effort: Effort, products: str = "float32"
) -> dict[str, Any]:
    """A row: the simulation by turns with the forward pass of its ANN, and with one that returns
    no more than this does: its answers, without a count of spikes.
    """
    network = known_networks.find(case.network)
    plain, chosen = draw_params(network), draw_params(network, products, case.num_steps)
    if products == "float32":
        chosen = prepare_kernels(network, chosen)
    params, images = on_cores(chosen, draw_inputs(network, case.batch, products))
    chunk = orders(case)[order]
    built = partial(
        build_simulation, network, params, images, num_steps=case.num_steps, neuron=neuron,
        chunk_steps=None if order == "chosen" else chunk, products=products,
    )  # fmt: skip
    ours, ann = built(), build_ann(network, *on_cores(plain, images))
    programs = {"ours": ours, "answers": built(answers_alone=True), "ann": ann}
    seconds = alternate(
        {name: partial(timed, program.run) for name, program in programs.items()}, effort
    )
    to_ann = {name: median(times) / median(seconds["ann"]) for name, times in seconds.items()}
    result = ours.run()
    return {
        **case._asdict(),
        "neuron": neuron,
        "order": order,
        "chunk_steps": chunk,
        "seconds": figures(seconds["ours"]),
        "answers_seconds": figures(seconds["answers"]),
        "ann_seconds": figures(seconds["ann"]),
        "to_ann": round(to_ann["ours"], 3),
        "to_steps_of_ann": round(to_ann["ours"] / case.num_steps, 3),
        "answers_to_steps_of_ann": round(to_ann["answers"] / case.num_steps, 3),
        "trace_seconds": round(ours.trace_seconds, 3),
        "compile_seconds": round(ours.compile_seconds, 3),
        "ann_compile_seconds": round(ann.compile_seconds, 3),
        "memory_bytes": ours.memory_bytes,
        "ann_memory_bytes": ann.memory_bytes,
        "spike_rate": round(
            float(result.spikes[-1].mean())
            / (case.num_steps * sum(int(n) for n in result.neurons.values())), 4,
        ),
    }  # fmt: skip
