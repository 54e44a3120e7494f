"""Scans over timesteps, and their backward passes: what these cannot pass, and their memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax

from snnjax.snn.engine import Task
from snnjax.snn.readout import ACCUMULATE, CURRENT, Readout

__all__ = [
    "check_readout",
    "check_recording",
    "choose_recomputed",
    "scan_in_chunks",
    "scan_recomputed",
    "unroll",
]

KEPT = 8
"""Timesteps up to which all values are kept for the backward pass."""


def check_readout(readout: Readout) -> None:
    """Check that gradients pass a readout.

    Raises:
      ValueError: if it has neurons of its own.
    """
    if readout not in (ACCUMULATE, CURRENT):
        raise ValueError(
            "this readout counts spikes of its own, which have no surrogate gradient; want"
            " ACCUMULATE or CURRENT"
        )


def choose_recomputed(num_steps: int) -> int:
    """Number of timesteps that a backward pass computes once more at a time.

    Up to KEPT timesteps nothing is computed twice; beyond, memory grows with the square root of T:
    one state is kept for every chunk, and all values of one chunk.

    Source: checkpoints of Chen et al. 2016. With T / c states of size s and c timesteps of size v,
    memory T s / c + c v is least for c = sqrt(T s / v).
    Choice: s / v = 1 / 4, which is about that of Net2.

    Args:
      num_steps: T.

    Raises:
      Nothing.
    """
    return num_steps if num_steps <= KEPT else math.ceil(math.sqrt(num_steps) / 2)


def unroll(task: Task, count: int) -> bool:
    """True if a layer's neurons take their timesteps written out.

    A backward pass is then twice as fast and takes half the memory, since a loop keeps every
    value between its operations.

    Args:
      task: of the simulation.
      count: number of timesteps.

    Raises:
      Nothing.
    """
    return task.gradient and count <= KEPT


def scan_in_chunks(
    chunk: Callable[[Any, jax.Array], tuple[Any, Any]],
    carry: Any,
    times: jax.Array,
    chunk_steps: int,
) -> tuple[Any, list[Any]]:
    """Run timesteps in chunks, and the remaining ones in a smaller chunk.

    Args:
      chunk: `(carry, times [n]) -> (carry, outputs [n, ...])`.
      carry: before the first timestep.
      times: the timesteps, `[T]`.
      chunk_steps: timesteps of a chunk.

    Returns:
      The carry after the last timestep, and parts of the outputs, `[n, ...]` each, T in all.

    Raises:
      Nothing.
    """
    whole, outputs = len(times) // chunk_steps * chunk_steps, []
    if whole:
        carry, chunks = jax.lax.scan(chunk, carry, times[:whole].reshape(-1, chunk_steps))
        outputs.append(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), chunks))
    if whole < len(times):
        carry, rest = chunk(carry, times[whole:])
        outputs.append(rest)
    return carry, outputs


def scan_recomputed(
    chunk: Callable[[Any, jax.Array], tuple[Any, Any]],
    carry: Any,
    times: jax.Array,
    chunk_steps: int,
) -> tuple[Any, list[Any]]:
    """Run timesteps in chunks whose values the backward pass computes once more.

    Arguments and results are those of `scan_in_chunks`. With `chunk_steps` of T or more, nothing is
    computed twice.

    Raises:
      Nothing.
    """
    if 0 < len(times) <= chunk_steps:
        carry, outputs = chunk(carry, times)
        return carry, [outputs]
    return scan_in_chunks(jax.checkpoint(chunk), carry, times, chunk_steps)


def check_recording(shapes: Mapping[str, tuple[int, ...]], batch: int, num_steps: int) -> None:
    """Check that all spikes of a simulation and their gradients fit into memory.

    Args:
      shapes: of the neurons of one image, by path.
      batch: number of images.
      num_steps: T.

    Raises:
      ValueError: if they do not.
    """
    neurons = sum(math.prod(shape) for shape in shapes.values())
    needed, memory = 8 * batch * num_steps * neurons, _memory()
    if needed > memory:
        raise ValueError(
            f"all spikes of {neurons:,} neurons for {batch} images in {num_steps} timesteps and"
            f" their gradients take {needed / 2**30:,.1f} GiB, and there are"
            f" {memory / 2**30:,.1f}; record an observer that sums them, or take fewer images"
        )


def _memory() -> int:
    """Bytes of memory of the first device."""
    stats = jax.devices()[0].memory_stats() or {}
    return stats.get("bytes_limit") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
