"""One simulation in a process of its own, for its peak memory, what it takes to compile, and its
seconds on so many cores.

`run.py` starts it; it prints a JSON.
"""

from __future__ import annotations

import json
import os
from typing import Any

import cases
import cyclopts
import jax
import jax.numpy as jnp
from peer.answering import in_a_row, peak_bytes

from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.networks import known_networks
from snnjax.networks.ann import ANN
from snnjax.runtime.allocator import keep_freed_memory
from snnjax.runtime.cores import use_cores


def constant(network: arch.Network, images: jax.Array) -> dict[str, Any]:
    """Parameters of one number: what is measured does not depend on it, and nothing is computed
    to make them.
    """
    shapes = jax.eval_shape(ANN(network.layers).init, jax.random.key(0), images[:1])
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01, leaf.dtype), dict(shapes))


def main(
    *, network: str, batch: int, num_steps: int, neuron: str, chunk_steps: int = 0, cores: int = 0
) -> None:
    """Compile, run once, and print the figures, in the chosen order where `chunk_steps` is 0; with
    `cores`, seconds on these alone, each a device.
    """
    jax.config.update("jax_enable_compilation_cache", False)
    if cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
        keep_freed_memory()
        use_cores()
    found = known_networks.find(network)
    images = cases.draw_images(found, batch)
    params = convert(found, constant(found, images))
    if cores:
        params, images = cases.on_cores(params, images)
    begun = peak_bytes()
    program = cases.build_simulation(
        found,
        params,
        images,
        num_steps=num_steps,
        neuron=neuron,
        chunk_steps=chunk_steps or None,
    )
    compiled = peak_bytes()
    program.run()
    print(json.dumps({
        "peak_bytes": peak_bytes(),
        "peak_bytes_before_compiling": begun,
        "peak_bytes_before_running": compiled,
        "memory_bytes": program.memory_bytes,
        "trace_seconds": round(program.trace_seconds, 3),
        "compile_seconds": round(program.compile_seconds, 3),
        **({"seconds": in_a_row(program.run, 1.0)} if cores else {}),
    }))  # fmt: skip


if __name__ == "__main__":
    cyclopts.run(main)
