"""Export of a converted network to one file that JAX runs without this package.

The file is a line of JSON, followed by a program of `jax.export` that contains the weights. It is
compiled on the machine that runs it. Five lines run it with JAX alone; see docs/deployment.md.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from snnjax import __version__
from snnjax.app.configurations import SimulateConfig, resolve_simulation
from snnjax.app.run_files import image_shape
from snnjax.app.stages.spiking_network import load_for_simulation
from snnjax.io.checkpoint import check_writable, write_whole
from snnjax.networks import architecture as arch
from snnjax.runtime.checks import check_key, check_name
from snnjax.runtime.images import float_images
from snnjax.snn import simulation

__all__ = ["PLATFORMS", "Program", "export", "export_file", "load", "save"]

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
KIND = "snnjax export"


@dataclass(frozen=True)
class Program:
    """Content of a file: `metadata`, its first line, and the program.

    A call takes any number of images `[B, H, W, C]` or `[B, D]`, and a key if the encoding is
    random; it returns the outputs `[T, B, K]` of the readout.
    """

    metadata: Mapping[str, Any]
    exported: jax.export.Exported

    def __call__(self, images: jax.Array | np.ndarray, key: jax.Array | None = None) -> jax.Array:
        """Run the network.

        Raises:
          ValueError: if the images do not have the network's shape, a key is missing or not
            wanted, or the program is for other platforms than this one.
        """
        shape = self.metadata["image_shape"]
        if list(np.shape(images)[1:]) != shape or not len(images):
            raise ValueError(
                f"images have shape {np.shape(images)}; want [B, {', '.join(map(str, shape))}]"
            )
        images = float_images(images)
        if (key is not None) != self.metadata["takes_key"]:
            wanted = "pass key=jax.random.key(seed)" if key is None else "leave the key out"
            raise ValueError(f"the input is {self.metadata['encoding']}; {wanted}")
        if jax.default_backend() not in (known := [_backend(p) for p in self.exported.platforms]):
            raise ValueError(
                f"this device is of the platform {jax.default_backend()}, and the program for"
                f" {', '.join(known)}; export it with --platforms"
            )
        given = (images, *(() if key is None else (check_key(key),)))
        return self.exported.call(*given)


def export(
    network: arch.Network,
    params: dict[str, Any],
    config: SimulateConfig,
    image_shape: Sequence[int],
    *,
    platforms: Sequence[str] = ("cpu",),
    **more: Any,
) -> Program:
    """Export the simulation of one network as a program for any number of images.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned, and the leaky layer where the readout needs it.
      config: how to simulate; open options get their defaults.
      image_shape: `(H, W, C)`.
      platforms: names in PLATFORMS to export for; this machine need not have them.
      more: further entries of the metadata, of types that JSON has.

    Raises:
      ValueError: if a platform is unknown, early exit is asked for, or as
        `simulation.simulate` raises it.
      ImportError: if flatbuffers is missing, which JAX needs to write a program.
    """
    if not platforms:
        raise ValueError(f"no platforms; want some of {', '.join(PLATFORMS)}")
    if config.exits_early:
        raise ValueError("a program runs all timesteps; leave the exit out")
    for platform in platforms:
        check_name("platform", platform, PLATFORMS)
    _need_flatbuffers()
    config = resolve_simulation(config, None)
    how = config.arguments

    def run(images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        return simulation.simulate(network, params, images, key=key, **how).values

    batch = jax.export.symbolic_shape("batch", constraints=["batch >= 1"])
    given: tuple[Any, ...] = (jax.ShapeDtypeStruct((*batch, *image_shape), jnp.float32),)
    if how["encoding"].needs_key:
        given += (jax.eval_shape(lambda: jax.random.key(0)),)
    exported = jax.export.export(jax.jit(run), platforms=tuple(platforms))(*given)
    metadata = {
        "snnjax": __version__,
        "jax": jax.__version__,
        **{name: value for name, value in asdict(config).items() if "exit" not in name},
        "classes": exported.out_avals[0].shape[-1],
        "image_shape": list(map(int, image_shape)),
        "takes_key": how["encoding"].needs_key,
        "platforms": list(platforms),
        **more,
    }
    return Program(metadata, exported)


def save(path: Path, program: Program) -> None:
    """Write a program to a file.

    Raises:
      OSError: if the file cannot be written.
      ImportError: if flatbuffers is missing.
    """
    _need_flatbuffers()
    content = bytes(program.exported.serialize())
    header = {"kind": KIND, **program.metadata, "bytes": len(content), "sha256": _digest(content)}
    write_whole(path, json.dumps(header).encode() + b"\n" + content)


def load(path: Path | str) -> Program:
    """Read a file that `save` wrote; loading runs no code.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if `save` did not write it, it is damaged, or it was written with a newer JAX.
      ImportError: if flatbuffers is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no program at {path}; make one with snnjax export")
    _need_flatbuffers()
    first, _, content = path.read_bytes().partition(b"\n")
    try:
        header = json.loads(first)
        known = header["kind"] == KIND
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise ValueError(
            f"{path} was not made by snnjax export, or is cut short; want a file that it wrote"
        )
    if len(content) != header["bytes"] or _digest(content) != header["sha256"]:
        raise ValueError(
            f"{path} is truncated or damaged ({len(content):,} of {header['bytes']:,} bytes);"
            " export or copy it again"
        )
    if _release(header["jax"]) > _release(jax.__version__):
        raise ValueError(
            f"{path} was exported with jax {header['jax']}, and this is jax {jax.__version__};"
            " update jax, or export it with the older one"
        )
    return Program(header, jax.export.deserialize(bytearray(content)))


def export_file(
    snn: Path, config: SimulateConfig, output: Path, *, platforms: Sequence[str] = ("cpu",)
) -> Program:
    """Export the network in the file `snn` to the file `output`.

    Raises:
      FileNotFoundError: if there is no file `snn`.
      ValueError: as `export`.
      OSError: if `output` cannot be written.
      ImportError: if flatbuffers is missing.
    """
    check_writable(output)
    network, params, metadata, config = load_for_simulation(snn, config)
    trained = metadata["trained"]
    program = export(
        network, params, config, image_shape(metadata), platforms=platforms,
        architecture=network.name, trained_on=trained["dataset"], conversion=metadata["config"],
    )  # fmt: skip
    save(output, program)
    return program


def _need_flatbuffers() -> None:
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError(
            "programs are written and read with flatbuffers, which is not installed; run"
            " pip install 'snnjax[export]'"
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _release(version: str) -> tuple[int, ...]:
    """Major and minor number of a version; older minor releases do not read newer programs."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _backend(platform: str) -> str:
    """Name of a platform's backend in JAX."""
    return "gpu" if platform in ("cuda", "rocm") else platform
