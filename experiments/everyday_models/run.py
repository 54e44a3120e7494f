"""Spiking networks of everyday models.

`python experiments/everyday_models/run.py` makes each model spiking, simulates it until it has
settled and compares its outputs with those of the function with quantised values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import convolutional
import cyclopts
import jax
import jax.numpy as jnp
import libraries
import numpy as np
import sequences

import snnjax
from snnjax.io import records

HERE = Path(__file__).parent
LARGEST_DIFFERENCE = 1e-5
"""Settled outputs may differ by this share of the largest output, by rounding."""


class Case(NamedTuple):
    """apply and params of a model, and the shape of one of its images."""

    apply: Callable[[Any, jax.Array], Any]
    params: Any
    shape: tuple[int, ...]


def drawn(shapes: Any, *, outputs_first: bool = False) -> Any:
    """Parameters that are multiples of 1/64, with statistics that are not trivial.

    outputs_first: True for kernels of Equinox.
    """
    draw = np.random.default_rng(0)

    def fill(path: Any, leaf: Any) -> Any:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        name = jax.tree_util.keystr(path).lower()
        if "var" in name:
            value = draw.uniform(0.5, 2, leaf.shape)
        elif "scale" in name or "gamma" in name:
            value = draw.uniform(0.5, 1.5, leaf.shape)
        elif leaf.ndim < 2:
            value = draw.normal(0, 0.2, leaf.shape)
        else:
            inputs = np.prod(leaf.shape[1:] if outputs_first else leaf.shape[:-1])
            value = draw.normal(0, np.sqrt(2 / inputs), leaf.shape)
        return jnp.asarray(np.round(value * 64) / 64, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def flax_case(name: str) -> Case:
    module, shape = {**convolutional.MODELS, **sequences.MODELS}[name]
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((2, *shape)))
    return Case(module.apply, drawn(shapes), shape)


def nnx_case() -> Case:
    apply, state = libraries.nnx_model()
    return Case(apply, drawn(state), (16, 16, 3))


def equinox_case() -> Case:
    apply, params = libraries.equinox_model()
    return Case(apply, drawn(params, outputs_first=True), (3, 16, 16))


def plain_case() -> Case:
    sizes = (48, 24, 16, 10)
    layers = [{"w": np.zeros(ends, np.float32), "b": np.zeros(ends[1], np.float32)}
              for ends in pairwise(sizes)]  # fmt: skip
    return Case(libraries.plain_mlp, drawn(layers), (4, 4, 3))


OTHERS: Mapping[str, Callable[[], Case]] = {
    "NNX CNN": nnx_case, "Equinox CNN, channels first": equinox_case, "plain MLP": plain_case,
}  # fmt: skip
NAMES = (*convolutional.MODELS, *sequences.MODELS, *OTHERS)


def find(name: str) -> Case:
    return OTHERS[name]() if name in OTHERS else flax_case(name)


def images(shape: tuple[int, ...], count: int) -> np.ndarray:
    """Images whose pixels are multiples of 1/64; one-hot rows for the model of tokens."""
    draw = np.random.default_rng(1)
    if shape == sequences.MODELS["tokens, one-hot"][1]:
        return np.eye(shape[1], dtype=np.float32)[draw.integers(0, shape[1], (count, shape[0]))]
    return (draw.integers(0, 65, (count, *shape)) / 64).astype(np.float32)


def measure(name: str, *, levels: int, count: int) -> dict[str, Any]:
    """Return what became of a model: settled, or the reason of its refusal."""
    case = find(name)
    x = images(case.shape, count)
    begun = time.process_time()
    try:
        spiking = snnjax.spike(case.apply, case.params, x, levels=levels)
    except ValueError as error:
        return {"model": name, "settled": False, "refused": str(error)}
    sites = spiking.function.sites
    num_steps = 2 * levels + 2 * len(sites)
    result = snnjax.simulate(spiking, x, num_steps=num_steps)
    wanted = leaves(jax.jit(spiking.quantised)(spiking.params, x))
    unquantised = leaves(jax.jit(case.apply)(case.params, x))
    differences = np.max(
        [
            np.abs(a - b).reshape(num_steps, -1).max(1)
            for a, b in zip(leaves(result.values), wanted, strict=True)
        ],
        axis=0,
    )
    largest = max(np.abs(leaf).max() for leaf in wanted)
    far = np.flatnonzero(differences > LARGEST_DIFFERENCE * max(largest, 1))
    neurons = sum(int(of) for of in result.neurons.values())
    return {
        "model": name,
        "settled": not far.size or int(far[-1]) < num_steps - 1,
        "settled_after": int(far[-1]) + 2 if far.size else 1,
        "difference": float(differences[-1]),
        "largest_output": float(largest),
        "quantisation_error": float(
            max(np.abs(a - b).max() for a, b in zip(unquantised, wanted, strict=True))
        ),
        "sites": len(sites),
        "neurons": neurons,
        "spikes_per_neuron": float(np.mean(result.spikes[-1])) / neurons,
        "names": list(sites),
        "seconds": time.process_time() - begun,
    }


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def main(
    *, models: tuple[str, ...] = NAMES, levels: int = 16, count: int = 4, output: Path = HERE
) -> None:
    """Write `results/everyday_models.json` and the same as a table.

    Parameters
    ----------
    models
        names
    levels
        of each value, and timesteps with input
    count
        number of images
    output
        folder for the results
    """
    rows = []
    for name in models:
        rows.append(measure(name, levels=levels, count=count))
        print({key: value for key, value in rows[-1].items() if key != "names"}, flush=True)
    folder = output / "results"
    folder.mkdir(parents=True, exist_ok=True)
    record = {"rows": rows, "levels": levels, "images": count, **records.provenance()}
    records.write_json(folder / "everyday_models.json", record)
    (folder / "everyday_models.md").write_text(table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| model | settled | after timestep | difference | largest output | sites | neurons |"
        " spikes per neuron |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['model']} | refused: {row['refused']} | | | | | | |")
            continue
        cells = (
            row["model"], "yes" if row["settled"] else "no", row["settled_after"],
            f"{row['difference']:.1e}", f"{row['largest_output']:.2f}", row["sites"],
            f"{row['neurons']:,}", f"{row['spikes_per_neuron']:.1f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    cyclopts.run(main)
