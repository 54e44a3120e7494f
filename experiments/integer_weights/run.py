"""Accuracy of integer networks by bits of their weights: Net2 on MNIST, three seeds.

`python experiments/integer_weights/run.py` quantises the networks of `mnist_latency/parameters`,
to the unit of the largest weight and to the unit of least error, evaluates all test images after
each of 4 timesteps, and writes `results/integer_weights.json`. `--max-images 1000` is a check.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cyclopts
import numpy as np

from snnjax import quantise
from snnjax.app.configurations import SimulateConfig
from snnjax.app.evaluation import evaluate
from snnjax.app.run_files import load_trained
from snnjax.conversion.conversion import convert
from snnjax.io import datasets, records
from snnjax.runtime.allocator import keep_freed_memory
from snnjax.runtime.images import unit_images

HERE = Path(__file__).parent
NETWORKS = HERE.parent / "mnist_latency" / "parameters"
BITS = (8, 6, 5, 4, 3, 2)


def measure(seed: int, calibration: int, max_images: int | None) -> list[dict[str, Any]]:
    """Rows of one network: float, and every number of bits with both rules of the unit.

    Args:
      seed: of the training.
      calibration: number of training images on which the unit of least error is chosen.
      max_images: number of test images; None for all.
    """
    network, variables, _ = load_trained(NETWORKS / f"net2-seed{seed}.safetensors")
    data = datasets.load("mnist")
    images = unit_images(datasets.first(data.train, calibration).images)
    test = datasets.first(data.test, max_images)
    floats = convert(network, variables)
    cases = [{"bits": 32, "unit": "float", "params": floats}]
    for bits in BITS:
        for unit, some in (("largest weight", None), ("least error", images)):
            params = quantise(network, floats, bits, some)
            cases.append({"bits": bits, "unit": unit, "params": params})
    rows = []
    for case in cases:
        found = evaluate(
            network, case.pop("params"), test, SimulateConfig(num_steps=4), batch_size=250,
            ceiling=False, progress=False,
        )  # fmt: skip
        rows.append({"seed": seed, **case, "images": len(test.images), **found})
        accuracy = np.round(100 * np.asarray(found["snn"]), 2)
        print(seed, case["bits"], case["unit"], *accuracy, flush=True)
    return rows


def main(
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    calibration: int = 256,
    max_images: int | None = None,
    output: Path = HERE,
) -> None:
    """Quantise and evaluate the networks, and write `results/integer_weights.json`.

    Parameters
    ----------
    seeds
        of the trained networks
    calibration
        training images on which the unit of least error is chosen
    max_images
        test images; all without it
    output
        folder for the results
    """
    keep_freed_memory()
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        rows += measure(seed, calibration, max_images)
        record = {"calibration": calibration, "rows": rows, **records.provenance()}
        records.write_json(output / "results" / "integer_weights.json", record)


if __name__ == "__main__":
    cyclopts.run(main)
