"""jaxpike: its layers and its `unroll`, which computes stateless layers for all steps at once.

It has no IF neuron; here is one in its protocol, with reset by subtraction. Its number of steps
in an iteration of the loop is its default or 1, whichever is faster.
"""

from __future__ import annotations

import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxpike
import numpy as np
from answering import Run, answer_all, versions
from jaxpike.conv import Conv2d, Flatten, Pool2d
from jaxpike.layers import Dense, Sequential


class IF(eqx.Module):
    """v = v + x; fires at v >= 1 and loses 1."""

    def init_state(self, input_shape: tuple[int, ...]) -> jax.Array:
        return jnp.zeros(input_shape)

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    def __call__(self, state: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        v = state + x
        spikes = (v >= 1).astype(v.dtype)
        return v - spikes, spikes


def with_weights(layer: Any, kernel: np.ndarray, bias: np.ndarray) -> Any:
    return eqx.tree_at(
        lambda made: (made.weight, made.bias), layer, (jnp.asarray(kernel), jnp.asarray(bias))
    )


def module(layer: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    key = jax.random.key(0)
    match layer["kind"]:
        case "conv" | "dense":
            kernel, bias = (arrays[f"{layer['path']}/{kind}"] for kind in ("kernel", "bias"))
            if layer["kind"] == "dense":
                return with_weights(Dense(*kernel.shape, key=key), kernel.T, bias)
            empty = Conv2d(
                *kernel.shape[2:], kernel.shape[:2], key=key, stride=tuple(layer["strides"]),
                padding=layer["padding"],
            )  # fmt: skip
            return with_weights(empty, kernel, bias)
        case "pool":
            return Pool2d(tuple(layer["window"]), stride=tuple(layer["strides"]))
        case "flatten":
            return Flatten()
        case "neurons":
            return IF()
        case kind:
            raise ValueError(f"jaxpike has no {kind} here; want a chain of layers")


def prepare(
    arrays: dict[str, np.ndarray], *, spec: list[dict[str, Any]], num_steps: int
) -> tuple[Run, dict[str, Any]]:
    images = jnp.asarray(arrays["images"])
    network = Sequential(*(module(layer, arrays) for layer in spec))

    def mean(network: Any, images: jax.Array, unrolled: int | None) -> jax.Array:
        shown = jnp.broadcast_to(images, (num_steps, *images.shape))
        return jaxpike.unroll(network, shown, scan_unroll=unrolled)[0].mean(0)

    runs, took, compiling = {}, {}, {}
    for name, unrolled in (("default", None), ("1", 1)):
        begun = time.perf_counter()
        compiled = jax.jit(mean, static_argnums=2).lower(network, images, unrolled).compile()
        compiling[name] = time.perf_counter() - begun

        def run(compiled: Any = compiled) -> jax.Array:
            return jax.block_until_ready(compiled(network, images))

        run()
        begun = time.perf_counter()
        run()
        runs[name], took[name] = run, time.perf_counter() - begun
    best = min(took, key=took.__getitem__)
    return runs[best], {
        "logits": runs[best]().tolist(),
        "trace_and_compile_seconds": round(compiling[best], 3),
        "scan_unroll": best,
        "versions": versions("jaxpike", "jax", "equinox"),
    }


if __name__ == "__main__":
    answer_all(prepare)
