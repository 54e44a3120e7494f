"""Spyx: its IF neuron in its Sequential, run by its scan.

Its neuron fires by the potential before the input of a step, so every layer is a step late. The
logits are therefore those of as many steps more as there are layers of neurons, without the first
ones, from potentials that make up for the bias of those. What is timed is a run of T steps.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import spyx.nn
from answering import Run, answer_all, versions
from flax import nnx


def modules(
    spec: list[dict[str, Any]], arrays: dict[str, np.ndarray], x: jax.Array
) -> tuple[list[Any], list[Any]]:
    """Its modules in order, and the potential of each that makes up for being late."""
    rngs = nnx.Rngs(0)
    made: list[Any] = []
    start: list[Any] = []
    late, bias = 0, jnp.zeros(())
    for layer in spec:
        start.append(None)
        match layer["kind"]:
            case "conv" | "dense":
                kernel, bias = (arrays[f"{layer['path']}/{kind}"] for kind in ("kernel", "bias"))
                if layer["kind"] == "dense":
                    module = nnx.Linear(*kernel.shape, rngs=rngs)
                else:
                    module = nnx.Conv(
                        *kernel.shape[2:], kernel.shape[:2], strides=tuple(layer["strides"]),
                        padding=layer["padding"], rngs=rngs,
                    )  # fmt: skip
                module.kernel[...], module.bias[...] = kernel, bias
            case "pool":
                module = partial(
                    nnx.avg_pool,
                    window_shape=tuple(layer["window"]),
                    strides=tuple(layer["strides"]),
                )
            case "flatten":
                module = spyx.nn.Flatten()
            case "neurons":
                module = spyx.nn.IF(x.shape[1:])
                start[-1] = jnp.broadcast_to(-late * bias, x.shape)
                late += 1
            case kind:
                raise ValueError(f"Spyx has no {kind} here; want a chain of layers")
        if layer["kind"] != "neurons":
            x = module(x)
        made.append(module)
    return made, start


def prepare(
    arrays: dict[str, np.ndarray], *, spec: list[dict[str, Any]], num_steps: int
) -> tuple[Run, dict[str, Any]]:
    images = jnp.asarray(arrays["images"])
    made, start = modules(spec, arrays, images)
    graph, variables = nnx.split(spyx.nn.Sequential(*made))
    late = sum(state is not None for state in start)

    def forward(variables: Any, images: jax.Array, steps: int, state: Any = None) -> jax.Array:
        shown = jnp.broadcast_to(images, (steps, *images.shape))
        return spyx.nn.run(nnx.merge(graph, variables), shown, state)[0]

    def mean(variables: Any, images: jax.Array) -> jax.Array:
        return forward(variables, images, num_steps).mean(0)

    logits = jax.jit(forward, static_argnums=2)(variables, images, num_steps + late, start)
    begun = time.perf_counter()
    compiled = jax.jit(mean).lower(variables, images).compile()
    seconds = time.perf_counter() - begun
    return lambda: jax.block_until_ready(compiled(variables, images)), {
        "logits": logits[late:].mean(0).tolist(),
        "trace_and_compile_seconds": round(seconds, 3),
        "versions": versions("spyx", "jax", "flax"),
    }


if __name__ == "__main__":
    answer_all(prepare)
