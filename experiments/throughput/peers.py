"""Other simulators in processes of their own, on the same weights, by turns with ours."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import cases
import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, Effort, alternate, figures, median
from peer.answering import in_a_row

from snnjax.conversion.conversion import convert
from snnjax.conversion.folding import fold
from snnjax.conversion.threshold_balancing import measure_scales
from snnjax.networks import architecture as arch
from snnjax.networks import known_networks
from snnjax.snn.fast.chunks import prepare_kernels
from snnjax.snn.simulation import Simulation

HERE = Path(__file__).parent / "peer"
CHAINS = ("net1", "net2")
"""What a peer without a converter is given: layers in a row, images as they are."""


class Kind(NamedTuple):
    """The script of a peer, what it is told beside the network, and the networks it gets."""

    script: str
    options: dict[str, str]
    networks: tuple[str, ...]


KINDS = {
    "SpikingJelly, step by step": Kind("with_spikingjelly.py", {"mode": "s"}, cases.NETWORKS),
    "SpikingJelly, layer by layer": Kind("with_spikingjelly.py", {"mode": "m"}, cases.NETWORKS),
    "Spyx": Kind("with_spyx.py", {}, CHAINS),
    "jaxpike": Kind("with_jaxpike.py", {}, CHAINS),
}
RELU = arch.Activation(0.0, math.inf)
TOLERANCE = 0.02
"""Up to which two simulations agree: the mean difference of the logits in their standard
deviation, and the difference of the layers' spikes in their sum. Rounding makes a neuron fire a
step sooner or later; a wrong reset or start is far beyond."""
REST = 0.05
"""Seconds between two turns, in which the threads of the last one stop waiting for more."""
HEAP = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000:glibc.malloc.arena_max=1"
"""For the peers what `keep_freed_memory` is for us."""


class PeerError(RuntimeError):
    """A peer said that it cannot, or ended."""


@dataclass
class Peer:
    """A running process that answers a line for each line."""

    process: subprocess.Popen[str]

    def ask(self, do: str, **question: Any) -> dict[str, Any]:
        """Send a question and wait for the answer.

        Raises:
          PeerError: with the peer's own words, or where it ended.
        """
        streams = self.process.stdin, self.process.stdout
        assert streams[0] is not None and streams[1] is not None
        try:
            streams[0].write(json.dumps({"do": do, **question}) + "\n")
            streams[0].flush()
            line = streams[1].readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerError(f"the process ended with {self.process.wait()} when asked to {do}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def seconds(self) -> float:
        """How long a call among others in a row takes, by the peer's clock."""
        return self.ask("measure")["seconds"]

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()


def check(python: Path) -> None:
    """Refuse an environment that is not there, before anything is measured.

    Raises:
      FileNotFoundError: if there is no such Python.
    """
    if not python.is_file():
        raise FileNotFoundError(
            f"--peers is {python}, which is no file; run `make peers` and give the Python that it"
            " makes, .venv-peers/bin/python"
        )


def start(python: Path, script: str) -> Peer:
    """Start a peer; what it says beside its answers is dropped."""
    return Peer(subprocess.Popen(
        [str(python), str(HERE / script)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "GLIBC_TUNABLES": HEAP, "PYTHONPATH": ""},
    ))  # fmt: skip


def describe(
    layers: tuple[arch.Layer, ...], params: Mapping[str, Any], prefix: str = ""
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """A network without normalisations as plain words, and its weights by path."""
    spec: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for name, layer in arch.named(layers):
        path = prefix + name
        match layer:
            case arch.Conv() | arch.Dense():
                kind = "conv" if isinstance(layer, arch.Conv) else "dense"
                spec.append({"kind": kind, "path": path})
                if isinstance(layer, arch.Conv):
                    spec[-1] |= {"strides": layer.strides, "padding": layer.padding}
                kernel = np.asarray(params[name]["kernel"])
                bias = params[name].get("bias", np.zeros(kernel.shape[-1], np.float32))
                arrays |= {f"{path}/kernel": kernel, f"{path}/bias": np.asarray(bias)}
            case arch.AvgPool(window, strides):
                spec.append({"kind": "pool", "window": window, "strides": strides or window})
            case arch.Flatten() | arch.Activation():
                kind = "flatten" if isinstance(layer, arch.Flatten) else "neurons"
                spec.append({"kind": kind})
            case arch.Residual():
                spec.append({"kind": "residual"})
                for branch, inside in layer.branches.items():
                    inner = params[name].get(branch, {})
                    spec[-1][branch], more = describe(inside, inner, f"{path}/{branch}/")
                    arrays |= more
            case arch.BatchNorm():
                pass  # folded
            case _:
                raise ValueError(f"{path} is {layer!r}; want a layer that the peers know")
    return spec, arrays


def without_normalise(
    network: arch.Network, variables: Mapping[str, Any], images: jax.Array
) -> tuple[arch.Network, dict[str, Any], jax.Array]:
    """The network behind its Normalise, with images that are normalised already: zeros around
    them are then what a peer's own padding is.
    """
    first = network.layers[0]
    if not isinstance(first, arch.Normalise):
        return network, dict(variables), images
    renamed = {
        kind: {f"{int(name[:2]) - 1:02d}{name[2:]}": inner for name, inner in tree.items()}
        for kind, tree in variables.items()
    }
    images = (images - jnp.array(first.mean)) / jnp.array(first.std)
    return arch.Network(network.name, network.layers[1:]), renamed, images


def compare(ours: Simulation, theirs: Mapping[str, Any]) -> dict[str, Any]:
    """How far two simulations are from each other: in mean logits, and in the spikes of each
    layer where the peer counts them.
    """
    logits, answer = np.asarray(ours.values[-1]), np.asarray(theirs["logits"])
    spikes = [int(layer.sum()) for _, layer in sorted(ours.layer_spikes.items())]
    found = {
        "logits": float(f"{np.abs(logits - answer).mean() / logits.std():.3g}"),
        "same_answer": float((logits.argmax(-1) == answer.argmax(-1)).mean()),
        "last_layer_spikes": spikes[-1],
    }
    apart = [found["logits"]]
    if "spikes" in theirs:
        apart.append(sum(abs(a - b) for a, b in zip(spikes, theirs["spikes"], strict=True)))
        apart[-1] /= max(sum(spikes), 1)
        found["spikes"] = float(f"{apart[-1]:.3g}")
    return {**found, "agrees": bool(max(apart) <= TOLERANCE)}


def measure(case: Case, name: str, python: Path, effort: Effort) -> dict[str, Any]:
    """A row: one-sided neurons with soft reset from v(0) = 0, ours by turns with a peer's, both
    for their answers alone.

    The peer is asked for its logits first. A peer that cannot, or does not agree, is a row that
    says so.
    """
    network = arch.with_activation(known_networks.find(case.network), RELU)
    drawn, images = (
        cases.draw(known_networks.find(case.network)),
        cases.draw_images(network, case.batch),
    )
    calibration = cases.draw_images(network, 32, seed=2)
    scales = measure_scales(network, drawn, np.asarray(calibration))
    params = convert(network, drawn, scales=scales, initial=0.0)
    built = partial(
        cases.build_simulation, network, *cases.on_cores(prepare_kernels(network, params), images),
        num_steps=case.num_steps, neuron="integrate-and-fire",
    )  # fmt: skip
    program = built(answers_alone=True)
    script, options, _ = KINDS[name]
    bare, variables, shown = without_normalise(network, drawn, images)
    # SpikingJelly has a converter of its own; the others get the weights of ours.
    given = (
        fold(bare.layers, variables["params"], variables.get("batch_stats", {}))
        if "mode" in options
        else params["layers"]
    )
    spec, arrays = describe(bare.layers, given)
    _, _, examples = without_normalise(network, drawn, calibration)
    with TemporaryDirectory() as folder, start(python, script) as peer:
        path = Path(folder) / "given.npz"
        np.savez(path, **arrays, images=np.asarray(shown), calibration=np.asarray(examples))
        try:
            about = peer.ask(
                "prepare", given=str(path), spec=spec, num_steps=case.num_steps, **options
            )
            agreement = compare(built().run(), about)
            seconds = alternate(
                {"ours": partial(in_a_row, program.run), "peer": peer.seconds}, effort, rest=REST
            )
            peak = peer.ask("memory")["peak_bytes"]
        except PeerError as error:
            return {"reason": str(error)}
    return {
        "seconds": figures(seconds["ours"]),
        "peer_seconds": figures(seconds["peer"]),
        "peer_to_ours": round(median(seconds["peer"]) / median(seconds["ours"]), 3),
        "agreement": agreement,
        "memory_bytes": program.memory_bytes,
        "peer_peak_bytes": peak,
        "about": {key: value for key, value in about.items() if key not in ("logits", "spikes")},
    }
