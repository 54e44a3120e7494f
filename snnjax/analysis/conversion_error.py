"""Why a spiking network says something else than its ANN: the error of every layer, in parts.

A neuron's rate is its net count of spikes over T. It misses the ANN's activation, in spikes per
timestep, for five reasons, which add up:

| part | what | from ... to |
| --- | --- | --- |
| inherited | the layers before it err, so its mean current is another | f(z) to f(z') |
| clipping | a neuron sends one spike a timestep at most | f(z') to c = clip(f(z'), -1, 1) |
| quantisation | counts are whole | c to e, the rate under the mean current at every step |
| unevenness | the current comes in another order | e to g(sent) / T |
| mixed signs | a pair of opposite spikes does not cancel | g(sent) / T to the rate |

Here z is the ANN's pre-activation and z' the mean current, in units of v_p, f the ANN's
activation, and g(Q) = Q / v_p above zero and Q / v_n below the count that a charge Q is worth.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.snn import simulation, spiking
from snnjax.snn.encoding import CONSTANT, Encoding
from snnjax.snn.neuron import DOUBLE_THRESHOLD, EXACT_CHARGE, NeuronModel, NeuronParams

__all__ = ["OWN", "PARTS", "Diagnosis", "LayerDiagnosis", "diagnose"]

Params = dict[str, Any]

OWN = ("clipping", "quantisation", "unevenness", "mixed_signs")
"""The parts that are a layer's own."""

PARTS = ("inherited", *OWN)


class LayerDiagnosis(NamedTuple):
    """One layer of neurons, over all of its neurons and images.

    neurons: how many for an image; ann: mean activation in spikes per timestep; size: its root
    mean square; rate: mean net count over T; spikes: of either sign, per neuron and timestep.
    correlation: between ANN and rates; NaN where one of them does not vary.
    error: root of the mean square of rate less ANN.
    parts: by name, root mean square and mean of each part of that error.
    residue: largest difference between the error and the sum of its parts.
    silent: share of the neurons that sent nothing for any image; saturated: share of neurons
    and images that sent a spike at every timestep.
    advice: what to change, or "".
    """

    neurons: int
    ann: float
    size: float
    rate: float
    spikes: float
    correlation: float
    error: float
    parts: dict[str, tuple[float, float]]
    residue: float
    silent: float
    saturated: float
    advice: str


class Diagnosis(NamedTuple):
    """layers: by path; agreement: share of the images with the ANN's answer; images, num_steps."""

    layers: dict[str, LayerDiagnosis]
    agreement: float
    images: int
    num_steps: int


def diagnose(
    network: arch.Network,
    params: Params,
    images: ArrayLike,
    *,
    num_steps: int,
    neuron: NeuronModel = EXACT_CHARGE,
    encoding: Encoding = CONSTANT,
    key: jax.Array | None = None,
    batch_size: int = 100,
) -> Diagnosis:
    """Compare every layer of a spiking network with its ANN.

    Source: clipping and quantisation as in Li et al. 2021, unevenness as in Bu et al. 2022; the
    part of mixed signs from the charge balance of a neuron with two thresholds,
    sum of currents = `v_p n_+ - v_n n_-` + change of the potential.
    Choice: the ANN has its smooth activation, so levels it was trained with count as error.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      images: floats `[N, H, W, C]`.
      num_steps: T.
      neuron: DOUBLE_THRESHOLD or EXACT_CHARGE; others have no balance of charge and count.
      encoding: how images become input.
      key: for an encoding that draws.
      batch_size: images at a time.

    Raises:
      ValueError: if there are no images, `num_steps` or `batch_size` is below 1, the neuron is
        another, or a key is missing.
    """
    images = np.asarray(images)
    if neuron not in (DOUBLE_THRESHOLD, EXACT_CHARGE):
        raise ValueError("want the double-threshold or the exact-charge neuron, whose charge and"
                         " count are in balance")  # fmt: skip
    if not len(images) or num_steps < 1 or batch_size < 1:
        raise ValueError(
            f"{len(images)} images, num_steps {num_steps}, batch_size {batch_size}; want at least"
            " 1 of each"
        )
    if encoding.needs_key and key is None:
        raise ValueError("this encoding draws spikes at random; pass key=jax.random.key(seed)")
    sums: Any = None
    for first in range(0, len(images), batch_size):
        found = _compared(
            params, images[first : first + batch_size], key, first,
            network=network, num_steps=num_steps, neuron=neuron, encoding=encoding,
        )  # fmt: skip
        found = jax.tree.map(partial(np.asarray, dtype=np.float64), found)
        sums = found if sums is None else _merged(sums, found)
    layers = {
        path: _layer(values, sums["most"][path], num_steps)
        for path, values in sums["layers"].items()
    }
    layers = _advised(layers)
    return Diagnosis(layers, float(sums["agree"] / len(images)), len(images), num_steps)


class _Watched(NamedTuple):
    """inner: state of the neuron; up, down: counts; charge: all that came in."""

    inner: Any
    up: jax.Array
    down: jax.Array
    charge: jax.Array


def _watched(model: NeuronModel) -> NeuronModel:
    """The same neuron, with counts of either sign and its charge kept."""

    def init(params: NeuronParams, shape: tuple[int, ...]) -> _Watched:
        nothing = jnp.zeros(shape)
        return _Watched(model.init(params, shape), nothing, nothing, nothing)

    def step(params: NeuronParams, state: _Watched, current: jax.Array) -> Any:
        inner, spikes = model.step(params, state.inner, current)
        up, down = state.up + (spikes > 0), state.down + (spikes < 0)
        return _Watched(inner, up, down, state.charge + current), spikes

    return NeuronModel(init, step)


@partial(jax.jit, static_argnames=("network", "num_steps", "neuron", "encoding"))
def _compared(
    params: Params,
    images: jax.Array,
    key: jax.Array | None,
    first: ArrayLike,
    *,
    network: arch.Network,
    num_steps: int,
    neuron: NeuronModel,
    encoding: Encoding,
) -> dict[str, Any]:
    """Sums over the neurons and images of a batch, by path, and under "most" what is largest."""
    layers, watched = params["layers"], _watched(neuron)
    shapes = spiking.neurons(network, layers, images.shape[1:])
    wanted, logits = spiking.rates(network, params, images)

    def body(carry: Any, t: jax.Array) -> tuple[Any, None]:
        state, total = carry
        x = simulation.frame(key, images, params["gain"], t, encoding=encoding, first=first)
        state, current, _ = spiking.step(network, layers, watched, state, x)
        return (state, total + current), None

    start = (spiking.init(shapes, layers, watched, len(images)), jnp.zeros_like(logits))
    (state, total), _ = jax.lax.scan(body, start, jnp.arange(num_steps))
    specs = arch.activations(network)
    compared = {}
    for path, rates in wanted.items():
        seen = jax.tree.map(lambda x, rates=rates: x.reshape(rates.shape), state[path])
        compared[path] = _parts(
            specs[path], spiking.inside(layers, path), rates, seen, num_steps, neuron
        )
    return {
        "layers": {path: values for path, (values, _) in compared.items()},
        "most": {path: most for path, (_, most) in compared.items()},
        "agree": jnp.sum(jnp.argmax(total, -1) == jnp.argmax(logits, -1)),
    }


def _parts(
    spec: arch.Activation,
    layer: Params,
    ann: jax.Array,
    seen: _Watched,
    num_steps: int,
    neuron: NeuronModel,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sums of one layer, and what is largest."""
    numbers = spiking.neuron_params(layer)
    rate, mean = (seen.up - seen.down) / num_steps, seen.charge / num_steps
    at_mean = spiking.activate(spec, layer, mean)
    kept = jnp.clip(at_mean, -1.0, 1.0)
    even = _even(numbers, mean, num_steps, neuron)
    if neuron is DOUBLE_THRESHOLD:
        sent = numbers.positive * seen.up - _charge_of(numbers.negative, seen.down)
        worth = jnp.where(sent >= 0, sent / numbers.positive, sent / numbers.negative) / num_steps
    else:  # keeps the count apart from the charge
        worth = rate
    parts = {
        "inherited": at_mean - ann,
        "clipping": kept - at_mean,
        "quantisation": even - kept,
        "unevenness": worth - even,
        "mixed_signs": rate - worth,
    }
    error = rate - ann
    whole = jnp.stack(list(parts.values())).sum(0)
    count = seen.up + seen.down
    sums = {
        "samples": jnp.float32(rate.size),
        "moments": jnp.stack(
            [jnp.sum(x) for x in (ann, rate, ann**2, rate**2, ann * rate, error**2, count)]
        ),
        "parts": {name: jnp.stack([jnp.sum(x**2), jnp.sum(x)]) for name, x in parts.items()},
        "saturated": jnp.sum(count >= num_steps),
    }
    return sums, {"residue": jnp.max(jnp.abs(error - whole)), "sent": jnp.max(count, 0)}


def _charge_of(negative: jax.Array, down: jax.Array) -> jax.Array:
    """The charge of spikes of -1; there are none where the threshold is infinite."""
    return jnp.where(down > 0, negative, 0.0) * down


def _even(numbers: NeuronParams, mean: jax.Array, num_steps: int, neuron: NeuronModel) -> jax.Array:
    """The rate under the mean current at every timestep."""

    def body(carry: Any, _: None) -> tuple[Any, None]:
        state, total = carry
        state, spikes = neuron.step(numbers, state, mean)
        return (state, total + spikes), None

    start = (neuron.init(numbers, mean.shape), jnp.zeros_like(mean))
    return jax.lax.scan(body, start, None, num_steps)[0][1] / num_steps


def _merged(a: Any, b: Any) -> Any:
    """Sums of both, and the larger of each "most"."""
    added = jax.tree.map(np.add, {**a, "most": 0}, {**b, "most": 0})
    return {**added, "most": jax.tree.map(np.maximum, a["most"], b["most"])}


def _layer(sums: dict[str, Any], most: dict[str, Any], num_steps: int) -> LayerDiagnosis:
    n = float(sums["samples"])
    ann, rate, ann2, rate2, both, error2, count = sums["moments"] / n
    spread = (ann2 - ann**2) * (rate2 - rate**2)
    return LayerDiagnosis(
        neurons=most["sent"].size,
        ann=float(ann),
        size=math.sqrt(ann2),
        rate=float(rate),
        spikes=float(count / num_steps),
        correlation=float((both - ann * rate) / math.sqrt(spread)) if spread > 0 else math.nan,
        error=math.sqrt(error2),
        parts={name: (math.sqrt(s / n), float(m / n)) for name, (s, m) in sums["parts"].items()},
        residue=float(most["residue"]),
        silent=float(np.mean(most["sent"] == 0)),
        saturated=float(sums["saturated"] / n),
        advice="",
    )


CURES = {
    "clipping": "activations pass what one spike a timestep can carry; convert with a larger scale"
    " for it, such as --scales largest",
    "quantisation": "counts are too coarse; give more timesteps, or train with as many levels as"
    " timesteps",
    "unevenness": "spikes come too late or too early; give more timesteps, an initial potential of"
    " 0.5, or show the input for as many timesteps as the network has levels and let it settle",
    "mixed_signs": "opposite spikes do not cancel; use the exact-charge neuron, or a smaller alpha",
}
BAD, QUIET = 0.1, 0.5
"""Errors as a share of the activations' size, and shares of silent neurons, worth a word."""


def _advised(layers: dict[str, LayerDiagnosis]) -> dict[str, LayerDiagnosis]:
    """Each layer with one sentence, where its error is large."""
    advised, worst = {}, ""
    for path, layer in layers.items():
        own = max(OWN, key=lambda part: layer.parts[part][0])
        advice = ""
        if layer.error > BAD * layer.size:
            if layer.parts["inherited"][0] > layer.parts[own][0]:
                advice = f"its input is wrong already; look at {worst}" if worst else ""
            else:
                advice = CURES[own]
        elif layer.silent > QUIET:
            advice = "most neurons never fire; a smaller scale would use the timesteps better"
        advised[path] = layer._replace(advice=advice)
        worst = path if not worst or layer.error > layers[worst].error else worst
    return advised
