"""Figures of one spiking function on test images."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np
from forms import FORMS
from tqdm import tqdm

from snnjax.analysis.function_operations import count_function_operations
from snnjax.conversion.spiking import Spiking
from snnjax.io.datasets import Split
from snnjax.runtime.images import unit_images

__all__ = ["count_operations", "measure"]


def measure(
    spiking: Spiking, form: str, test: Split, *, num_steps: int, batch_size: int
) -> dict[str, Any]:
    """Return accuracy and spikes at every timestep, and the comparison with both ANNs.

    Args:
      spiking: the spiking function.
      form: one of `forms.FORMS`.
      test: images of the test set, and labels.
      num_steps: T.
      batch_size: images at a time.
    """
    begun, count = time.perf_counter(), len(test.labels)
    right, spikes = np.zeros(num_steps), np.zeros(num_steps)
    sites: dict[str, float] = {}
    ann = quantised = differing = last = 0
    largest = 0.0
    for start in tqdm(range(0, count, batch_size), form, mininterval=30):
        images, labels = (part[start : start + batch_size] for part in test)
        images = unit_images(images)
        found = FORMS[form](spiking, images, num_steps=num_steps)
        smooth, exact = map(np.asarray, _ann_outputs(spiking, images))
        values, sent = np.asarray(found.values), np.asarray(found.spikes, np.float64)
        answers = values.argmax(-1)
        right += (answers == labels).sum(1)
        spikes += sent.sum(1)
        for name, of in found.layer_spikes.items():
            sites[name] = sites.get(name, 0.0) + float(of.sum()) / int(found.neurons[name])
        ann += int((smooth.argmax(-1) == labels).sum())
        quantised += int((exact.argmax(-1) == labels).sum())
        differing += int((exact.argmax(-1) != answers[-1]).sum())
        largest = max(largest, float(np.abs(exact - values[-1]).max()))
        last = max(last, _last_spike(sent))
    return {
        "ann": ann / count,
        "quantised_ann": quantised / count,
        "snn": (right / count).tolist(),
        "spikes": (spikes / count).tolist(),
        "neurons": sum(int(of) for of in found.neurons.values()),
        "spikes_per_neuron": {name: total / count for name, total in sites.items()},
        "last_spike": last,
        "settled": last < num_steps,
        "other_answers_than_quantised": differing,
        "largest_difference_to_quantised": largest,
        "images": count,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def _last_spike(sent: np.ndarray) -> int:
    """Last timestep with a spike of any image; `sent` is the count so far, `[T, B]`."""
    new = np.diff(sent, axis=0, prepend=0).sum(1)
    return int(np.flatnonzero(new)[-1]) + 1 if new.any() else 0


@jax.jit
def _ann_outputs(spiking: Spiking, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    smooth = spiking.function.apply(spiking.params["params"], images)
    return smooth, spiking.quantised(spiking.params, images)


def count_operations(spiking: Spiking, images: np.ndarray, *, num_steps: int) -> dict[str, Any]:
    """Operations per image in `num_steps` timesteps of the package's own form.

    Args:
      spiking: the spiking function.
      images: a few of the test set, as floats.
      num_steps: T.
    """
    counted = count_function_operations(spiking, images, num_steps=num_steps)
    energy, ann_energy = counted.energy()
    return {
        **counted._asdict(),
        "images": len(images),
        "num_steps": num_steps,
        "spiking_share": counted.spiking_share,
        "energy_nj": energy,
        "ann_energy_nj": ann_energy,
    }
