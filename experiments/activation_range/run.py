"""Figure 7: the largest output of each activation of VGG16, with and without a bound.

`python experiments/activation_range/run.py` measures two networks: one with sthLeakyReLU, and one
with LeakyReLU that is trained in the same way otherwise. The first is trained with the recorded
settings of `cifar10_latency`, unless that experiment has trained it already.
`--smoke --output DIR` trains both on 256 images.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

import cyclopts
import numpy as np
from tqdm import tqdm

from snnjax.app import comparison, pipeline
from snnjax.app.comparison import Line
from snnjax.app.configurations import TrainConfig
from snnjax.conversion import threshold_balancing
from snnjax.io import checkpoint, datasets, records
from snnjax.runtime import cores
from snnjax.runtime.allocator import keep_freed_memory

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / "cifar10_latency"
LATENCY = HERE.parent / "cifar10_latency" / "results" / "comparison.json"
SMOKE = TrainConfig(
    dataset="cifar10", network="vgg16_quarter", epochs=1, levels=0, learn_theta="layer",
    max_images=256, max_test_images=256,
)  # fmt: skip
IMAGES = 10_000


def largest_outputs(ann: Path, count: int) -> dict[str, float]:
    """Largest output of each activation on the first `count` training images, by path."""
    network, variables, metadata = pipeline.load_trained(ann)
    images = datasets.load(metadata["config"]["dataset"]).train.images[:count]
    largest: dict[str, float] = {}
    for i in tqdm(range(0, len(images), 500), ann.parent.name, mininterval=1):
        batch = images[i : i + 500].astype(np.float32) / 255
        of_batch = threshold_balancing.measure_scales(network, variables, batch)
        largest = {path: max(largest.get(path, 0.0), of_batch[path]) for path in of_batch}
    return largest


def main(*, network: str = "vgg16_quarter", smoke: bool = False, output: Path = HERE) -> None:
    """Write `results/activation_range.json`.

    Parameters
    ----------
    network
        vgg16_quarter, as trained by `cifar10_latency`
    smoke
        train on 256 images for one epoch
    output
        folder for the results
    """
    keep_freed_memory()
    cores.use_cores()
    runs = output / "runs" if smoke else RUNS
    bounded = Line(network, "sth_leaky_relu", "constant", 0)
    config = SMOKE if smoke else comparison.training_of(LATENCY, bounded)
    unbounded = replace(config, activation="leaky_relu", learn_theta="nothing")
    count = 256 if smoke else IMAGES
    training = {"sthLeakyReLU": config, "LeakyReLU": unbounded}
    trained = {
        name: comparison.train_or_reuse(how, runs) / "ann.safetensors"
        for name, how in training.items()
    }
    learnt = {name: checkpoint.load_metadata(path, kind="ann") for name, path in trained.items()}
    start = time.perf_counter()
    record = {
        "largest": {name: largest_outputs(path, count) for name, path in trained.items()},
        "ann": {name: metadata["test_accuracy"]["trained"] for name, metadata in learnt.items()},
        "training": {name: asdict(how) for name, how in training.items()},
        "dataset": learnt["LeakyReLU"]["dataset"],
        "images": count,
        "test_images": learnt["LeakyReLU"]["images"]["test"],
        "seconds": round(time.perf_counter() - start, 1),
        **records.provenance(),
    }
    records.write_json(output / "results" / "activation_range.json", record)


if __name__ == "__main__":
    cyclopts.run(main)
