"""Figures 4 and 5: rate and temporal coding of a digit, and the measured STDP window.

`python experiments/coding/run.py` encodes one image of mnist5k in 28 timesteps, and
measures the weight change by single pairs of spikes; `plot.py` draws both.
"""

from __future__ import annotations

from pathlib import Path

import cyclopts
import jax
import jax.numpy as jnp
import numpy as np

from snnjax.app.run_files import describe_dataset
from snnjax.io import datasets, records
from snnjax.snn.encoding import DETERMINISTIC, RATE, temporal
from snnjax.snn.stimulus import Stimulus, frame
from snnjax.training import stdp

HERE = Path(__file__).parent
WINDOW = 28
LONGEST_DELAY = 20


def main(*, image: int = 3000, seed: int = 0, output: Path = HERE) -> None:
    """Write `results/coding.json`.

    Parameters
    ----------
    image
        index of the training image
    seed
        of the Bernoulli spikes
    output
        folder for the results
    """
    data = datasets.load("mnist5k")
    digit = data.train.images[image : image + 1].astype(np.float32) / 255
    trains = {}
    for name, encoding in {
        "rate": RATE, "deterministic": DETERMINISTIC, "temporal": temporal(WINDOW),
    }.items():  # fmt: skip
        frames = [
            frame(Stimulus(jnp.asarray(digit), jax.random.key(seed)), 1.0, t, encoding)
            for t in range(WINDOW)
        ]
        spikes = np.asarray(frames).reshape(WINDOW, -1)
        trains[name] = [np.flatnonzero(step).tolist() for step in spikes]
    rule = stdp.make_stdp()
    delays = list(range(-LONGEST_DELAY, LONGEST_DELAY + 1))
    changes = []
    for delay in delays:
        before = jnp.zeros((2 * LONGEST_DELAY + 1, 1)).at[LONGEST_DELAY].set(1.0)
        after = jnp.zeros((2 * LONGEST_DELAY + 1, 1)).at[LONGEST_DELAY + delay].set(1.0)
        changes.append(float(stdp.weight_change(rule, before, after)[0, 0]))
    record = {
        "config": {"image": image, "seed": seed, "window": WINDOW},
        "label": int(data.train.labels[image]),
        "values": [round(float(value), 4) for value in digit.ravel()],
        "spikes": trains,
        "stdp": {name: float(value) for name, value in rule._asdict().items()},
        "delays": delays,
        "changes": changes,
        "dataset": describe_dataset(data),
        **records.provenance(),
    }
    records.write_json(output / "results" / "coding.json", record)


if __name__ == "__main__":
    cyclopts.run(main)
