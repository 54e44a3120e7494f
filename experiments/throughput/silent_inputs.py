"""Dense products beside products that skip silent inputs, in a process of its own on so many cores.

`run.py` starts it with a converted network that was trained, since random weights have another
share of active neurons; it prints a JSON.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import cases
import cyclopts
import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, Effort, alternate, figures, median, timed

from snnjax.app import pipeline
from snnjax.app.configurations import ConvertConfig, TrainConfig
from snnjax.app.run_files import load_network
from snnjax.io import datasets
from snnjax.networks import architecture as arch
from snnjax.runtime import silent_inputs as skipping
from snnjax.runtime.allocator import keep_freed_memory
from snnjax.snn.neurons import NEURONS
from snnjax.snn.simulation import simulate

EPOCHS = 4
"""A tenth of the training of `experiments/mnist_latency`: activity is measured, not accuracy."""

Variables = dict[str, Any]


Run = Callable[[Variables, jax.Array], Any]


def train(network: str, *, smoke: bool, runs: Path) -> Path:
    """Train a network on MNIST as `experiments/mnist_latency` does and convert it, or find it."""
    config = TrainConfig(
        dataset="mnist", network=network, alpha=0.01, learn_theta="layer", levels=4,
        mix_levels_to=8, epochs=EPOCHS, learning_rate=1e-3, max_shift=1,
    )  # fmt: skip
    if smoke:
        config = replace(
            config, dataset="mnist5k", max_images=1000, max_test_images=200, epochs=1
        )  # fmt: skip
    folder = runs / pipeline.default_folder(config).name
    ann = pipeline.train(config, folder)
    return pipeline.convert(ann, ConvertConfig(initial_potential=0.5), folder / "snn")


def compile_simulation(
    network: arch.Network, case: Case, neuron: str, params: Variables, *, skips: bool
) -> tuple[Run, float]:
    """A simulation of a batch with all that it returns, and the seconds to trace and compile it.

    Args:
      skips: False to make every product dense, as in a batch that is too large to skip.
    """

    def run(params: Variables, images: jax.Array) -> Any:
        return simulate(network, params, images, num_steps=case.num_steps, neuron=NEURONS[neuron])

    images, kept = cases.draw_images(network, case.batch), skipping.MOST_IMAGES
    jax.clear_caches()  # equal calls share a compilation, whatever was chosen for it
    skipping.MOST_IMAGES = kept if skips else 0
    try:
        begun = time.perf_counter()
        compiled = jax.jit(run).lower(params, images).compile()
        return compiled, time.perf_counter() - begun
    finally:
        skipping.MOST_IMAGES = kept


def active_shares(
    network: arch.Network, case: Case, neuron: str, params: Variables, images: jax.Array
) -> dict[str, float]:
    """Share of the neurons of each layer that send a spike for an image, by path, on average."""
    spikes = simulate(
        network, params, images, num_steps=case.num_steps, neuron=NEURONS[neuron], record=True
    ).recording
    return {path: float(f"{(of != 0).any(0).mean():.3g}") for path, of in spikes.items()}


def compare(case: Case, neuron: str, snn: Path, count: int, effort: Effort) -> dict[str, Any]:
    """Seconds of both ways by turns, each call on the next of the batches, and their spike counts.

    Args:
      case: network, batch and timesteps.
      neuron: by name.
      snn: file of the converted network.
      count: number of test images.
      effort: of the clock.
    """
    network, params, metadata = load_network(snn)
    params = jax.device_put(params)
    name = metadata["trained"]["config"]["dataset"]
    shown = jnp.asarray(datasets.load(name).test.images[:count], jnp.float32) / 255
    batches = jnp.split(shown, count // case.batch)
    ways = {
        name: compile_simulation(network, case, neuron, params, skips=name == "skipping")
        for name in ("dense", "skipping")
    }
    found = {
        name: [jax.device_get(run(params, images).spikes) for images in batches]
        for name, (run, _) in ways.items()
    }
    apart = np.concatenate(found["dense"], 1) != np.concatenate(found["skipping"], 1)
    calls = {
        name: partial(timed, partial(_call, run, params, cycle(batches)))
        for name, (run, _) in ways.items()
    }
    seconds = alternate(calls, effort)
    return {
        "trained": metadata["trained"]["config"],
        "seconds": {name: figures(times) for name, times in seconds.items()},
        "dense_to_skipping": round(median(seconds["dense"]) / median(seconds["skipping"]), 3),
        "compile_seconds": {name: round(took, 3) for name, (_, took) in ways.items()},
        "active": active_shares(network, case, neuron, params, shown),
        "images": count,
        "images_that_differ": int(apart.any(0).sum()),
    }


def _call(run: Run, params: Variables, batches: Iterator[jax.Array]) -> None:
    jax.block_until_ready(run(params, next(batches)))


def main(
    *, snn: Path, network: str, batch: int, num_steps: int, neuron: str, used_cores: int,
    count: int = 256, repeats: int = 5, seconds: float = 5.0,
) -> None:  # fmt: skip
    """Measure on so many cores, as one device, and print the figures."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:used_cores])
    keep_freed_memory()
    jax.config.update("jax_enable_compilation_cache", False)
    case = Case(network, batch, num_steps)
    print(json.dumps(compare(case, neuron, snn, count, Effort(repeats, seconds))))


if __name__ == "__main__":
    cyclopts.run(main)
