"""Seconds that `trace` takes to read two Flax models.

`python experiments/tracing_time/run.py` reads ResNet-18 of width 64 and MobileNetV2, each with one
and with 64 example images of 32 x 32, every time in a process of its own, so that nothing is
compiled before.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cyclopts
import jax
import jax.numpy as jnp
import numpy as np
from models import MODELS

import snnjax
from snnjax.io import records

HERE = Path(__file__).parent


def measure(model: str, images: int) -> dict[str, float]:
    """Processor seconds of all threads, and seconds of the clock."""
    module, draw = MODELS[model], np.random.default_rng(0)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    variables = jax.tree.map(
        lambda leaf: draw.uniform(0.01, 0.1, leaf.shape).astype(np.float32), shapes
    )
    example = draw.random((images, 32, 32, 3), np.float32)
    processor, clock = time.process_time(), time.perf_counter()
    snnjax.trace(module.apply, variables, example)
    return {"processor": time.process_time() - processor, "clock": time.perf_counter() - clock}


def main(*, repeats: int = 3, model: str = "", images: int = 1, output: Path = HERE) -> None:
    """Write `results/tracing_time.json`.

    Parameters
    ----------
    repeats
        processes for each model and number of images
    model
        measure this model alone, in this process, and print the seconds as JSON
    images
        of the example, for `--model`
    output
        folder for the results
    """
    if model:
        print(json.dumps(measure(model, images)))
        return
    rows = []
    for name in MODELS:
        for count in (1, 64):
            command = [sys.executable, __file__, "--model", name, "--images", str(count)]
            runs = [
                json.loads(
                    subprocess.run(command, capture_output=True, text=True, check=True).stdout
                )
                for _ in range(repeats)
            ]
            median = {kind: statistics.median(run[kind] for run in runs) for kind in runs[0]}
            rows.append({"model": name, "images": count, **median})
            print(rows[-1])
    path = output / "results" / "tracing_time.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write_json(path, {"rows": rows, "repeats": repeats, **records.provenance()})


if __name__ == "__main__":
    cyclopts.run(main)
