"""Draw figures 4 and 5 from `results/coding.json`."""

from __future__ import annotations

import json
from pathlib import Path

import cyclopts
import numpy as np

from snnjax.analysis import figures, plots

HERE = Path(__file__).parent


def main(*, output: Path = HERE) -> None:
    """Draw `figures/coding.png` and `figures/stdp.png`.

    Parameters
    ----------
    output
        folder with the results of `run.py`
    """
    record = json.loads((output / "results" / "coding.json").read_text())
    trains = {}
    values = np.array(record["values"])
    brightest_first = np.argsort(-values, kind="stable")[: np.count_nonzero(values)]
    for name, steps in record["spikes"].items():
        spikes = np.zeros((len(steps), len(values)))
        for t, pixels in enumerate(steps):
            spikes[t, pixels] = 1
        trains[name] = spikes[:, brightest_first]
    title = f"A digit {record['label']} in {record['config']['window']} timesteps"
    picture = plots.spike_raster(trains, title=title, order="pixel, the brightest first")
    figures.save(picture, output / "figures" / "coding.png")
    rule = record["stdp"]
    numbers = f"A+ {rule['a_plus']:g}, A- {rule['a_minus']:g}, tau {rule['tau_plus']:g}"
    picture = plots.stdp_window(
        record["delays"], record["changes"], title=f"Measured from the rule: {numbers}"
    )
    figures.save(picture, output / "figures" / "stdp.png")
    for path in sorted((output / "figures").glob("*.png")):
        print(path)


if __name__ == "__main__":
    cyclopts.run(main)
