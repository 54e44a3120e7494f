"""Remedies for a conversion error: each is tried on a batch before one of them is advised.

A remedy is another choice of the scales, of v(0), of the neuron or of T. None of them needs a
training. Which one helps depends on the whole network, so the parts of a layer's error do not tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from tqdm import tqdm

from snnjax.analysis.metrics import correct_answers
from snnjax.conversion.conversion import convert
from snnjax.conversion.threshold_balancing import measure_scales
from snnjax.networks import architecture as arch
from snnjax.runtime.images import float_images
from snnjax.snn.answers import classify
from snnjax.snn.encoding import CONSTANT, Encoding
from snnjax.snn.neurons import DOUBLE_THRESHOLD, EXACT_CHARGE, NeuronModel
from snnjax.snn.rates import limit
from snnjax.snn.simulation import simulate

__all__ = ["Remedies", "Setting", "Trial", "try_remedies"]

Params = dict[str, Any]

PERCENTILES = {"largest": 100.0, "percentile": 99.9, "percentile_99": 99.0}
"""Percentiles of the activations that are tried as scales, by the name of their rule."""

LARGE_GAIN = 0.01
"""Choice: a remedy is advised if it wins more than this share of the images."""


class Setting(NamedTuple):
    """Choices of a conversion and of its simulation that need no training.

    scales: as for `conversion.convert`; None for the bound of each activation.
    initial: v(0) / v_p; num_steps: T; neuron: of every hidden layer.
    """

    scales: Mapping[str, ArrayLike] | None
    initial: float
    num_steps: int
    neuron: NeuronModel = EXACT_CHARGE


class Trial(NamedTuple):
    """One setting and its score.

    change: options of the command line that lead to it; "" for the setting that was given.
    num_steps: T; score: share of the images with the right answer after T timesteps.
    """

    change: str
    num_steps: int
    score: float


class Remedies(NamedTuple):
    """Trials of all remedies, the setting that was given first.

    labelled: True if the right answer is the label, False if it is the ANN's answer.
    ann: share of the images with the right answer of the ANN.
    """

    trials: tuple[Trial, ...]
    labelled: bool
    ann: float

    @property
    def best(self) -> Trial:
        """Trial of the highest score, the first of several."""
        return max(self.trials, key=lambda trial: trial.score)

    @property
    def advice(self) -> str:
        """One sentence that names the best of what was tried."""
        given, best = self.trials[0], self.best
        measure = "accuracy" if self.labelled else "agreement with the ANN"
        if best.score - given.score <= LARGE_GAIN:
            text = f"nothing that was tried raises the {measure} by more than a point"
            if best.score < self.ann - LARGE_GAIN:
                text += (
                    "; what is left needs a training, such as with as many --levels as timesteps"
                )
            return text
        text = f"{best.change} raises the {measure} {_from_to(given, best)}"
        same = [trial for trial in self.trials if trial.num_steps == given.num_steps]
        quick = max(same, key=lambda trial: trial.score)
        if quick is not best and quick.score - given.score > LARGE_GAIN:
            text += f"; without more timesteps, {quick.change} raises it {_from_to(given, quick)}"
        return text


def _from_to(given: Trial, found: Trial) -> str:
    return f"from {100 * given.score:.1f} % to {100 * found.score:.1f} %"


def try_remedies(
    network: arch.Network,
    variables: Mapping[str, Any],
    images: ArrayLike,
    setting: Setting,
    *,
    labels: ArrayLike | None = None,
    calibration_images: ArrayLike | None = None,
    make_params: Callable[[Setting], Params] | None = None,
    encoding: Encoding = CONSTANT,
    key: jax.Array | None = None,
    batch_size: int = 100,
    progress: bool = False,
) -> Remedies:
    """Simulate a setting and its remedies on the same images, each changed in one respect.

    The remedies are scales at the bound of the activations and at the 100th, 99.9th and 99th
    percentile, another v(0), the exact-charge neuron in place of the double-threshold one, and
    twice the timesteps. If scales and v(0) both help, the best of both is tried together.

    Args:
      network: the architecture.
      variables: trained parameters and statistics of the ANN.
      images: floats `[N, H, W, C]` to score on.
      setting: the conversion and simulation that are to be better.
      labels: ints `[N]`; None scores agreement with the ANN.
      calibration_images: floats `[M, H, W, C]` to measure scales on; None for `images`.
      make_params: converted parameters of a setting; None for `conversion.convert`.
      encoding: of the images.
      key: for an encoding that draws.
      batch_size: images at a time.
      progress: show a progress bar in a terminal.

    Raises:
      ValueError: as `simulate`, or if there are no images or `labels` are not `[N]`.
    """
    images = np.asarray(float_images(images, purpose=" to score on"))
    if not len(images) or batch_size < 1:
        raise ValueError(f"{len(images)} images, batch_size {batch_size}; want at least 1 of each")
    make = make_params or partial(_convert, network, variables)
    given, size = make(setting), min(batch_size, len(images))
    ann = _ann_answers(network, given, images, size)
    score = _Scorer(
        network, images, ann if labels is None else np.asarray(labels), encoding, key, size
    )
    measured = _measure(
        network, variables, images if calibration_images is None else calibration_images
    )
    settings = {"": setting, **_changed(network, setting, measured)}
    trials = _try_all(settings, make, score, progress)
    if joined := _joined(settings, trials):
        trials += _try_all(joined, make, score, progress)
    trials.sort(key=lambda trial: trial.num_steps)  # more timesteps last: of equals the first wins
    return Remedies(tuple(trials), labels is not None, float(np.mean(ann == score.answers)))


def _convert(network: arch.Network, variables: Mapping[str, Any], setting: Setting) -> Params:
    return convert(network, variables, scales=setting.scales, initial=setting.initial)


def _ann_answers(
    network: arch.Network, params: Params, images: np.ndarray, size: int
) -> np.ndarray:
    """Return the class that the ANN answers for each image."""
    logits = jax.jit(partial(limit, network))
    batches = range(0, len(images), size)
    return np.concatenate(
        [classify(logits(params, jnp.asarray(images[i : i + size]))) for i in batches]
    )


def _measure(
    network: arch.Network, variables: Mapping[str, Any], images: ArrayLike
) -> dict[str, Mapping[str, ArrayLike] | None]:
    """Return scales by the name of their rule, as far as they can be measured."""
    active = arch.activations(network).values()
    bounded = all(spec.step or np.isfinite(spec.theta) for spec in active)
    found: dict[str, Mapping[str, ArrayLike] | None] = {"theta": None} if bounded else {}
    try:
        for name, percentile in PERCENTILES.items():
            found[name] = measure_scales(network, variables, images, percentile=percentile)
    except ValueError:
        pass  # an activation that is zero on every image has no scale
    return found


def _changed(
    network: arch.Network,
    setting: Setting,
    measured: Mapping[str, Mapping[str, ArrayLike] | None],
) -> dict[str, Setting]:
    """Return the settings that differ from the one given in one respect, by their options."""
    found = {f"--scales {name}": setting._replace(scales=x) for name, x in measured.items()}
    other = 0.0 if setting.initial == 0.5 else 0.5
    found[f"--initial-potential {other:g}"] = setting._replace(initial=other)
    two_sided = any(spec.alpha for spec in arch.activations(network).values())
    if setting.neuron is DOUBLE_THRESHOLD and two_sided:
        found["--neuron exact-charge"] = setting._replace(neuron=EXACT_CHARGE)
    steps = 2 * setting.num_steps
    return {**found, f"--num-steps {steps}": setting._replace(num_steps=steps)}


def _joined(settings: Mapping[str, Setting], trials: list[Trial]) -> dict[str, Setting]:
    """Return the best scales with the other v(0), if both score more than the setting given."""
    given, better = trials[0], {}
    for option in ("--scales", "--initial-potential"):
        helping = [x for x in trials if x.change.startswith(option) and x.score > given.score]
        if not helping:
            return {}
        better[option] = max(helping, key=lambda trial: trial.score).change
    scales, initial = (settings[change] for change in better.values())
    return {" ".join(better.values()): scales._replace(initial=initial.initial)}


def _try_all(
    settings: Mapping[str, Setting],
    make: Callable[[Setting], Params],
    score: _Scorer,
    progress: bool,
) -> list[Trial]:
    """Return a trial of every setting that differs from those before it."""
    trials: list[Trial] = []
    seen: list[tuple[Params, Setting]] = []
    bar: Iterable[str] = tqdm(
        settings, "trying remedies", leave=False, disable=None if progress else True
    )
    for change in bar:
        setting = settings[change]
        params = make(setting)
        if any(_is_same(params, setting, *other) for other in seen):
            continue
        seen.append((params, setting))
        trials.append(Trial(change, setting.num_steps, score(params, setting)))
    return trials


def _is_same(params: Params, setting: Setting, others: Params, other: Setting) -> bool:
    """Return True if two settings have one neuron, one T and equal converted parameters."""
    if (setting.neuron, setting.num_steps) != (other.neuron, other.num_steps):
        return False
    close = jax.tree.map(lambda a, b: a.shape == b.shape and np.allclose(a, b), params, others)
    return all(jax.tree.leaves(close))


class _Scorer(NamedTuple):
    """Images with their right answers `[N]`, and how they are shown."""

    network: arch.Network
    images: np.ndarray
    answers: np.ndarray
    encoding: Encoding
    key: jax.Array | None
    batch_size: int

    def __call__(self, params: Params, setting: Setting) -> float:
        """Return the share of right answers after the last timestep."""
        right = 0
        for first in range(0, len(self.images), self.batch_size):
            images = self.images[first : first + self.batch_size]
            answers = self.answers[first : first + self.batch_size]
            missing = self.batch_size - len(images)  # filled up: one shape, one compilation
            shown = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
            values = simulate(
                self.network, params, shown, num_steps=setting.num_steps, neuron=setting.neuron,
                encoding=self.encoding, key=self.key, first=first,
            ).values[-1:, : len(images)]  # fmt: skip
            right += int(jnp.sum(correct_answers(values, answers)))
        return right / len(self.images)
