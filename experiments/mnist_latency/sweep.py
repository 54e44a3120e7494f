"""Sweep of alpha, theta and levels for each neuron on Net2, and of Net1's learning rate; MNIST.

`python experiments/mnist_latency/sweep.py` trains every setting for a few epochs, evaluates it
on the 6,000 validation images after each timestep, and writes `results/sweep.json` and
`results/sweep.md`. Settings that are in the file already are skipped.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from snnjax.app import comparison, pipeline, printing
from snnjax.app.configurations import ConvertConfig, SimulateConfig, TrainConfig
from snnjax.app.evaluation import evaluate
from snnjax.io import checkpoint, datasets, records
from snnjax.runtime.allocator import keep_freed_memory

HERE = Path(__file__).parent
BASE = TrainConfig(dataset="mnist", network="net2", alpha=0.01, levels=4, mix_levels_to=8, epochs=8)
DEFAULTS = dataclasses.asdict(TrainConfig())
NEURONS = (("exact-charge", 0.5), ("double-threshold", 0.0), ("double-threshold", 0.5))


def settings() -> list[TrainConfig]:
    """Return the settings: alpha with levels, theta, dropout; for Net1, the learning rate."""
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
    changes += [
        {"network": "net1", "epochs": 15, "learn_theta": "layer", **change}
        for change in (
            {},
            {"learning_rate": 1e-3},
            {"learning_rate": 1e-3, "max_shift": 1},
            {"learning_rate": 5e-4, "max_shift": 1},
        )
    ]
    return [dataclasses.replace(BASE, **change) for change in changes]


def score(config: TrainConfig) -> dict[str, Any]:
    """Train one setting and evaluate it on the validation split."""
    start = time.perf_counter()
    folder = HERE.parents[1] / pipeline.default_folder(config)
    ann = pipeline.train(config, folder, progress=False)
    data = datasets.load(config.dataset)
    _, validation = pipeline.hold_out_validation(config, data)
    row: dict[str, Any] = {"config": dataclasses.asdict(config), "images": len(validation.images)}
    for neuron, initial in NEURONS:
        snn = pipeline.convert(ann, ConvertConfig(initial_potential=initial), folder)
        network, params, _ = pipeline.load_network(snn)
        scores = evaluate(
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
    rows = comparison.read_rows(path) if path.is_file() else []
    done = [DEFAULTS | row["config"] for row in rows]
    for config in settings():
        if dataclasses.asdict(config) in done:
            continue
        rows.append(score(config))
        records.write_json(path, {"rows": rows})
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    checkpoint.write_whole(HERE / "results" / "sweep.md", table(rows).encode())


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table, with SNN accuracy in % at T = 4 and 8."""
    keep_freed_memory()
    runs = [f"{neuron}, v(0) = {initial:g} v_p" for neuron, initial in NEURONS]
    head = [
        "network",
        "learning rate",
        "shift",
        "alpha",
        "theta",
        "levels",
        "dropout",
        "ANN %",
        *runs,
    ]
    text = []
    for row in rows:
        config = DEFAULTS | row["config"]
        learnt = "" if config["learn_theta"] == "nothing" else f", per {config['learn_theta']}"
        mixed = f" to {config['mix_levels_to']}" if config["mix_levels_to"] else ""
        cells = [
            config["network"].capitalize(),
            f"{config['learning_rate']:g}",
            str(config["max_shift"]),
            f"{config['alpha']:g}",
            f"{config['theta']:g}{learnt}",
            f"{config['levels']}{mixed}" if config["levels"] else "smooth",
            f"{config['dropout']:g}",
            f"{100 * row['ann']:.2f}",
        ]
        cells += [" / ".join(f"{100 * row[run]['snn'][t - 1]:.2f}" for t in (4, 8)) for run in runs]
        text.append(cells)
    return printing.markdown_table(head, text)


if __name__ == "__main__":
    main()
