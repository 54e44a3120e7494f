"""Which alpha, theta and levels suit which neuron? Net2 on the validation split of MNIST.

`python experiments/mnist_latency/sweep.py` trains every setting for a few epochs, scores it
on the 6,000 validation images after each timestep, and writes `results/sweep.json`. Settings
that are in the file already are not run again.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from snnjax import datasets, pipeline, records
from snnjax.pipeline import ConvertConfig, SimulateConfig, TrainConfig

HERE = Path(__file__).parent
BASE = TrainConfig(dataset="mnist", network="net2", alpha=0.01, levels=4, mix_levels_to=8, epochs=8)
DEFAULTS = dataclasses.asdict(TrainConfig())
NEURONS = (("exact-charge", 0.5), ("double-threshold", 0.0), ("double-threshold", 0.5))


def settings() -> list[TrainConfig]:
    """Alpha by levels, then theta, what is learnt and dropout around the base."""
    changes: list[dict[str, Any]] = [
        {"alpha": alpha, "levels": levels, "mix_levels_to": mix}
        for levels, mix, alphas in (
            (4, 0, (0.01, 0.05, 0.1, 0.25)),
            (8, 0, (0.01, 0.05, 0.1)),
            (4, 8, (0.01, 0.05, 0.1)),
            (0, 0, (0.01, 0.1)),
        )
        for alpha in alphas
    ]
    changes += [{"theta": theta} for theta in (0.5, 2.0, 4.0)]
    changes += [{"learn_theta": "layer"}, {"learn_theta": "channel"}]
    changes += [{"dropout": 0.0}, {"dropout": 0.5}]
    return [dataclasses.replace(BASE, **change) for change in changes]


def score(config: TrainConfig) -> dict[str, Any]:
    """Train one setting and score it on the validation split."""
    start = time.perf_counter()
    folder = HERE.parents[1] / pipeline.default_folder(config)
    ann = pipeline.train(config, folder, progress=False)
    data = datasets.load(config.dataset)
    held = round(config.validation * len(data.train.images))
    _, validation = datasets.hold_out(data.train, held, seed=pipeline.SPLIT_SEED)
    row: dict[str, Any] = {"config": dataclasses.asdict(config), "images": held}
    for neuron, initial in NEURONS:
        snn = pipeline.convert(ann, ConvertConfig(initial_potential=initial), folder)
        network, params, _ = pipeline.load_network(snn)
        scores = pipeline.evaluate(
            network, params, validation, SimulateConfig(neuron=neuron), levels=config.finest_levels,
            batch_size=500, progress=False,
        )  # fmt: skip
        row |= {"ann": scores["ann"], "ann_smooth": scores["ann_smooth"]}
        row[f"{neuron}, v(0) = {initial:g} v_p"] = {
            "snn": scores["snn"], "spike_rate": scores["spike_rate"]
        }  # fmt: skip
    return {**row, "seconds": round(time.perf_counter() - start, 1), **records.provenance()}


def main() -> None:
    path = HERE / "results" / "sweep.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    done = [DEFAULTS | row["config"] for row in rows]
    for config in settings():
        if dataclasses.asdict(config) in done:
            continue
        rows.append(score(config))
        records.write_json(path, {"rows": rows})
        row = rows[-1]
        shown = [f"{k}={v}" for k, v in row["config"].items() if v != getattr(BASE, k)]
        curves = [
            f"{100 * row[key]['snn'][3]:.2f}/{100 * row[key]['snn'][7]:.2f}"
            for key in row
            if "v(0)" in key
        ]
        ann = f"{100 * row['ann']:.2f}/{100 * row['ann_smooth']:.2f}"
        print(
            " ".join(shown) or "base", "| ANN", ann, "| T=4/8", *curves, row["seconds"], flush=True
        )


if __name__ == "__main__":
    main()
