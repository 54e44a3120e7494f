"""Seconds and memory of spiking functions beside those of the functions themselves.

`python experiments/transformers/speed.py` measures networks of `models.py` with random weights, a
ViT-Tiny of 12 blocks on images of 224 x 224 among them, each in a process of its own, and writes
`results/speed.json` and `results/speed.md`. Net2 is simulated both as a network of layers
and as a function. `--smoke --output DIR` measures the tiny ViT.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cyclopts
import jax
import jax.numpy as jnp
import numpy as np
from models import MODELS

import snnjax
from snnjax.app.printing import markdown_table
from snnjax.conversion.spiking import Spiking
from snnjax.io import records
from snnjax.runtime.allocator import keep_freed_memory

HERE = Path(__file__).parent
LEVELS = 8
NUM_STEPS = 16
SHAPES = {"cct": (32, 32, 3), "vit-tiny": (224, 224, 3)}
"""Shapes of an image; all others are 28 x 28 x 1."""
CASES = (
    *((name, batch) for name in ("lenet", "vit", "net2") for batch in (16, 128)),
    *((name, 16) for name in ("cct", "vit-tiny")),
)
FEW_REPEATS = {"vit-tiny": 3}
"""Calls of networks that take half a minute."""
SHORT, LONG = 8, 64
"""Timesteps of the two simulations whose memory is compared."""


def rounded(spiking: Spiking, params: dict[str, Any], images: jax.Array) -> jax.Array:
    """Outputs of the function with values rounded as in quantised networks without spikes.

    Source: LSQ (Esser et al. 2020), in inference.
    """

    def at(name: str, value: jax.Array) -> jax.Array:
        step = params["thetas"][name] / spiking.levels
        return step * jnp.clip(jnp.round(value / step), -spiking.levels, spiking.levels)

    return spiking.function.begin(params, images)(at)


def smooth(spiking: Spiking, params: dict[str, Any], images: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        return spiking.function.apply(params["params"], images)


def simulated(spiking: Spiking, images: jax.Array, *, num_steps: int) -> Any:
    """Values and spike counts; `Simulation` as a plain tuple, which a program may return."""
    return tuple(snnjax.simulate(spiking, images, num_steps=num_steps))


class Program:
    """A compiled function and its arguments.

    trace_seconds, compile_seconds: of making it; bytes: that it needs beside arguments and results.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        begun = time.perf_counter()
        lowered = jax.jit(function).lower(*arguments)
        traced = time.perf_counter()
        self.compiled, self.arguments = lowered.compile(), arguments
        self.trace_seconds = traced - begun
        self.compile_seconds = time.perf_counter() - traced
        self.bytes = self.compiled.memory_analysis().temp_size_in_bytes

    def seconds(self) -> float:
        """Seconds of one call."""
        begun = time.perf_counter()
        jax.block_until_ready(self.compiled(*self.arguments))
        return time.perf_counter() - begun


def measure(name: str, batch: int, *, repeats: int) -> dict[str, Any]:
    """Return one row: medians of calls by turns, and the costs of tracing and compiling."""
    module, shape = MODELS[name], SHAPES.get(name, (28, 28, 1))
    images = np.random.default_rng(0).random((batch, *shape), np.float32)
    params = jax.jit(module.init)(jax.random.key(0), images[:1])
    begun = time.perf_counter()
    spiking = snnjax.spike(module.apply, params, images[:16], levels=LEVELS)
    spike_seconds = time.perf_counter() - begun
    programs = {
        "ann": Program(partial(smooth, spiking), spiking.params, images),
        "rounded": Program(partial(rounded, spiking), spiking.params, images),
        "simulation": Program(partial(simulated, num_steps=NUM_STEPS), spiking, images),
    }
    median = by_turns(programs, repeats)
    step = median["simulation"] / NUM_STEPS
    memory = {
        steps: Program(partial(simulated, num_steps=steps), spiking, images).bytes
        for steps in (SHORT, LONG)
    }
    simulation = programs["simulation"]
    return {
        "network": name,
        "batch": batch,
        "levels": LEVELS,
        "num_steps": NUM_STEPS,
        "sites": len(spiking.function.sites),
        "ann_ms": 1e3 * median["ann"],
        "rounded_ann_ms": 1e3 * median["rounded"],
        "timestep_ms": 1e3 * step,
        "beside_ann": step / median["ann"],
        "beside_rounded_ann": step / median["rounded"],
        "spike_seconds": spike_seconds,
        "trace_seconds": simulation.trace_seconds,
        "compile_seconds": simulation.compile_seconds,
        "memory_bytes": {str(steps): of for steps, of in memory.items()},
        "repeats": repeats,
    }


def beside_network(batch: int, *, repeats: int) -> dict[str, Any]:
    """Return milliseconds of Net2 as a network and as a function, by turns."""
    network, ann = snnjax.NET2, snnjax.ANN(snnjax.NET2.layers)
    images = np.random.default_rng(0).random((batch, 28, 28, 1), np.float32)
    variables = jax.jit(ann.init)(jax.random.key(0), images[:1])
    spiking = snnjax.spike(ann.apply, variables, images[:16], levels=NUM_STEPS)
    as_network = partial(snnjax.simulate, network, num_steps=NUM_STEPS)
    programs = {
        "network": Program(
            lambda params, x: tuple(as_network(params, x)),
            snnjax.convert(network, variables),
            images,
        ),
        "function": Program(partial(simulated, num_steps=NUM_STEPS), spiking, images),
    }
    median = {of: 1e3 * seconds for of, seconds in by_turns(programs, repeats).items()}
    return {
        "batch": batch,
        "num_steps": NUM_STEPS,
        "network_ms": median["network"],
        "function_ms": median["function"],
        "function_beside_network": median["function"] / median["network"],
        "repeats": repeats,
    }


def by_turns(programs: dict[str, Program], repeats: int) -> dict[str, float]:
    """Return the median seconds of a call of each program."""
    found: dict[str, list[float]] = {of: [] for of in programs}
    for turn in range(repeats + 1):
        for of, program in programs.items():
            seconds = program.seconds()
            if turn:  # the first call fills the caches
                found[of].append(seconds)
    return {of: statistics.median(seconds) for of, seconds in found.items()}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    head = ["network", "B", "sites", "ANN", "rounded ANN", "timestep", "of ANN", "of rounded ANN"]
    head += ["`spike`", "tracing", "compiling", "memory", "at 8 times T"]
    return markdown_table(
        head,
        [
            [
                row["network"], str(row["batch"]), str(row["sites"]),
                *(f"{row[of]:.2f} ms" for of in ("ann_ms", "rounded_ann_ms", "timestep_ms")),
                *(f"{row[of]:.2f}" for of in ("beside_ann", "beside_rounded_ann")),
                *(f"{row[of]:.1f} s"
                  for of in ("spike_seconds", "trace_seconds", "compile_seconds")),
                *(f"{row['memory_bytes'][str(of)] / 2**20:.1f} MiB" for of in (SHORT, LONG)),
            ]
            for row in rows
        ],
    )  # fmt: skip


def main(
    *,
    network: str = "",
    batch: int = 16,
    repeats: int = 9,
    smoke: bool = False,
    output: Path = HERE,
) -> None:
    """Measure every case and write the table.

    Parameters
    ----------
    network
        measure this one alone, in this process, and print the row as JSON
    batch
        images, for `--network`
    repeats
        calls of each program
    smoke
        the tiny ViT, two images, two calls
    output
        folder for the results
    """
    if network:
        keep_freed_memory()
        jax.config.update("jax_enable_compilation_cache", False)  # compile times are to be real
        row = beside_network if network == "net2" else partial(measure, network)
        print(json.dumps(row(batch, repeats=repeats)))
        return
    rows, engines = [], []
    for name, count in (("tiny", 2), ("net2", 2)) if smoke else CASES:
        command = [sys.executable, __file__, "--network", name, "--batch", str(count)]
        command += ["--repeats", str(2 if smoke else FEW_REPEATS.get(name, repeats))]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(row, flush=True)
        (engines if name == "net2" else rows).append(row)
    folder = output / "results"
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(
        folder / "speed.json", {"rows": rows, "engines": engines, **records.provenance()}
    )
    (folder / "speed.md").write_text(table(rows))


if __name__ == "__main__":
    cyclopts.run(main)
