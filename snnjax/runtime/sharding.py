"""Batches sharded over several devices, and parameters replicated on each of them.

The devices are those of one process or of several.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

__all__ = [
    "check_divides",
    "fetch",
    "global_batch_size",
    "make_mesh",
    "replicate",
    "replicated",
    "shard",
    "shard_padded",
]

AXIS = "images"
"""Name of the mesh axis."""


def make_mesh(count: int = 0, *, batch_size: int = 0) -> Mesh:
    """Return a mesh of one axis over `count` of the visible devices of all processes; 0 for all.

    Args:
      count: number of devices.
      batch_size: if it is given and `count` is 0, as many cores of a CPU are taken as can share it
        evenly. On other devices `check_divides` refuses a batch that they cannot share.

    Raises:
      ValueError: if fewer devices are visible.
    """
    visible = jax.devices()
    if not 0 <= count <= len(visible):
        raise ValueError(f"devices is {count}, and {len(visible)} are visible; want at most those")
    if not count and _are_cores(visible):
        count = math.gcd(len(visible), batch_size)  # all if batch_size is 0
    chosen = visible[: count or None]
    return jax.make_mesh((len(chosen),), (AXIS,), axis_types=(AxisType.Auto,), devices=chosen)


def _are_cores(found: Iterable[jax.Device]) -> bool:
    """Return True if the devices are cores of this machine, which share its memory."""
    return jax.process_count() == 1 and all(device.platform == "cpu" for device in found)


def global_batch_size(mesh: Mesh, batch_size: int) -> int:
    """Number of images on all devices together, a multiple of their number.

    Each device gets `batch_size` images, but the cores of a CPU share that many, since they share
    its memory.
    """
    if _are_cores(mesh.devices.flat):
        return -(-batch_size // mesh.size) * mesh.size
    return batch_size * mesh.size


def check_divides(batch_size: int, mesh: Mesh) -> None:
    """Check that the devices can share a batch evenly.

    Raises:
      ValueError: if they cannot, with the nearest sizes that they can.
    """
    if batch_size % mesh.size:
        less = batch_size // mesh.size * mesh.size
        sizes = " or ".join(str(n) for n in (less, less + mesh.size) if n)
        raise ValueError(
            f"batch_size is {batch_size}, which {mesh.size} devices cannot share evenly; want"
            f" {sizes}, or fewer --devices"
        )


def shard(mesh: Mesh, array: np.ndarray) -> jax.Array:
    """Shard the first axis of an array over the devices; every process passes the whole array."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def shard_padded(mesh: Mesh, images: np.ndarray, labels: np.ndarray) -> list[jax.Array]:
    """Shard images and labels, padded by images with the label -1 to a multiple of the devices."""
    missing = -len(images) % mesh.size
    return [
        shard(mesh, np.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)], constant_values=v))
        for array, v in ((images, 0), (labels, -1))
    ]


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array that is whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Copy a pytree of arrays to every device; every process passes the same one."""
    sharding = replicated(mesh)

    def copy(leaf: Any) -> jax.Array:
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(copy, tree)


def fetch(tree: Any) -> Any:
    """Return a pytree of sharded or replicated arrays as whole NumPy arrays, in every process."""

    def whole(leaf: jax.Array) -> np.ndarray:
        if not leaf.is_fully_addressable:
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(leaf)

    return jax.tree.map(whole, tree)
