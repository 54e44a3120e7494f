"""Learning of the leaky readout: STDP without labels, as printed and with competition.

All rules see the spikes of the last layer and change the weights of the leaky layer behind
it, once after every batch. `compete` is the one to use. `pair` is the paper's text taken
literally, and `teach` knows the labels; both are there to be compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.runtime.checks import check_value
from snnjax.snn import simulation
from snnjax.snn.encoding import CONSTANT, Encoding
from snnjax.snn.neuron import DOUBLE_THRESHOLD, EXACT_CHARGE, NeuronModel
from snnjax.snn.readout import CURRENT, leaky_layer, leaky_neuron, output_spikes, responses
from snnjax.training.stdp import STDP, init_traces, make_stdp, step_traces

__all__ = [
    "RULES",
    "Rates",
    "assign_labels",
    "compete",
    "labelled",
    "learn",
    "learn_on_images",
    "make_rates",
    "pair",
    "random_weights",
    "show",
    "teach",
]

Params = dict[str, Any]

LOWEST, HIGHEST = -0.9, 1.0
"""Bounds of what homeostasis adds to a threshold, as a share of it."""


class Rates(NamedTuple):
    """The numbers of learning; `make_rates` checks them.

    stdp: gains, losses and time constants of a pair of spikes.
    homeostasis: how far a batch moves a threshold, as a share of it.
    target: spikes per timestep of all neurons together, below which all thresholds fall.
    teaching: step of the rule that knows the labels.
    margin: in spikes per timestep; that rule is content with a winner so far ahead.
    """

    stdp: STDP
    homeostasis: jax.Array
    target: jax.Array
    teaching: jax.Array
    margin: jax.Array


class Learner(NamedTuple):
    """weights: `[K, M]`; offset: `[M]`, what homeostasis adds to a threshold, as a share of it."""

    weights: jax.Array
    offset: jax.Array


Rule = Callable[[Learner, Params, jax.Array, jax.Array, Rates], Learner]


def make_rates(
    *,
    a_plus: ArrayLike = 0.02,
    a_minus: ArrayLike = 0.002,
    tau_plus: ArrayLike = 5.0,
    tau_minus: ArrayLike = 5.0,
    homeostasis: ArrayLike = 0.05,
    target: ArrayLike = 0.3,
    teaching: ArrayLike = 0.05,
    margin: ArrayLike = 0.1,
) -> Rates:
    """The numbers of learning as arrays.

    Choice: the paper gives none. A loss of a tenth of the gain makes learning one of the
    winner's input, as in Diehl and Cook 2015, where it is a hundredth; times are in timesteps.

    Args:
      a_plus: see `stdp.make_stdp`, like the next three.
      a_minus: loss of a pair.
      tau_plus: time constant of the gain.
      tau_minus: time constant of the loss.
      homeostasis: at least 0.
      target: above 0.
      teaching: at least 0.
      margin: at least 0.

    Raises:
      ValueError: naming the number that is out of its range.
    """
    stdp = make_stdp(a_plus=a_plus, a_minus=a_minus, tau_plus=tau_plus, tau_minus=tau_minus)
    for name, value in (("homeostasis", homeostasis), ("teaching", teaching), ("margin", margin)):
        check_value(name, value, lambda x: np.isfinite(x) & (x >= 0), "it finite and at least 0")
    check_value("target", target, lambda x: np.isfinite(x) & (x > 0), "it finite and above 0")
    return Rates(
        stdp, *(jnp.asarray(x, jnp.float32) for x in (homeostasis, target, teaching, margin))
    )


def compete(
    learner: Learner, layer: Params, spikes: jax.Array, labels: jax.Array, rates: Rates
) -> Learner:
    """STDP where at each timestep the furthest above its threshold fires alone.

    The winner's spike also sets the potentials of all neurons back. The incoming weights of a
    neuron keep their sum and their sign: they go to the nearest such weights, so that what
    all inputs gain alike is taken from all alike, and the strongest remain. The threshold of
    a neuron that wins more than its share rises, and falls of one that wins less, between a
    tenth of it and twice; where all win less than `target` together, all fall.

    Source: He et al. 2024, section 4, for STDP; competition and homeostasis are those of Diehl
    and Cook 2015, who keep sums by division.
    Choice: division would let weak inputs that are always there grow at the cost of the strong
    one; without competition all neurons learn the same (see `pair`).

    Args:
      learner: weights and offsets before the batch.
      layer: from `readout.leaky_layer`, for its leak and threshold.
      spikes: of the last layer, `[T, B, K]`.
      labels: not looked at.
      rates: the numbers of learning.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    del labels
    threshold = layer["threshold"] * (1 + learner.offset)

    def winner(m: jax.Array) -> tuple[jax.Array, jax.Array]:
        above = m - threshold
        first = jax.nn.one_hot(jnp.argmax(above, -1), above.shape[-1])
        fired = first * (above >= 0)
        return jnp.where(fired.any(-1, keepdims=True), 0.0, m), fired

    change, fired = _plastic(learner.weights, layer["leak"], spikes, rates.stdp, winner)
    nearest = jax.vmap(optax.projections.projection_simplex)
    weights = nearest((learner.weights + change).T, learner.weights.sum(0)).T
    share = fired / jnp.maximum(fired.mean(), 1e-6)
    push = share - 1 - (fired.sum() < rates.target)
    return Learner(weights, jnp.clip(learner.offset + rates.homeostasis * push, LOWEST, HIGHEST))


def pair(
    learner: Learner, layer: Params, spikes: jax.Array, labels: jax.Array, rates: Rates
) -> Learner:
    """STDP of pairs and nothing else: no competition, no bounds, no sums kept.

    Source: He et al. 2024, eqs. 19 and 20 with their signs mended, taken literally.

    Args:
      learner: weights before the batch; offsets stay as they are.
      layer: from `readout.leaky_layer`, for its leak and threshold.
      spikes: of the last layer, `[T, B, K]`.
      labels: not looked at.
      rates: the numbers of learning.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    del labels

    def each(m: jax.Array) -> tuple[jax.Array, jax.Array]:
        fired = (m >= layer["threshold"]).astype(m.dtype)
        return m - fired * layer["threshold"], fired

    change, _ = _plastic(learner.weights, layer["leak"], spikes, rates.stdp, each)
    return Learner(learner.weights + change, learner.offset)


def teach(
    learner: Learner, layer: Params, spikes: jax.Array, labels: jax.Array, rates: Rates
) -> Learner:
    """Move weights where the labelled class is not ahead by the margin.

    Of an image whose class is not so far ahead, the mean input joins the weights of the
    class's neuron and leaves, in equal parts, those of the neurons that are too close.

    Source: a perceptron with a margin on the rates of spikes; an upper bound for learning
    without labels, not a method of the paper.

    Args:
      learner: weights before the batch, from K classes to one neuron each.
      layer: from `readout.leaky_layer`, for its leak and threshold.
      spikes: of the last layer, `[T, B, K]`.
      labels: int `[B]`.
      rates: the numbers of learning.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    neuron = leaky_neuron(layer)
    start = DOUBLE_THRESHOLD.init(neuron, (spikes.shape[1], learner.weights.shape[1]))
    sent = jax.lax.scan(
        partial(DOUBLE_THRESHOLD.step, neuron), start, _into(learner.weights, spikes)
    )[1].mean(0)
    right = jax.nn.one_hot(labels, sent.shape[-1])
    ahead = jnp.sum(sent * right, -1, keepdims=True) - sent
    close = (ahead < rates.margin) * (1 - right)
    count = close.sum(-1, keepdims=True)
    error = jnp.where(count > 0, right - close / jnp.maximum(count, 1), 0.0)
    change = jnp.einsum("bk,bm->km", spikes.mean(0), error) / len(labels)
    return Learner(learner.weights + rates.teaching * change, learner.offset)


RULES: dict[str, Rule] = {"stdp": compete, "literal": pair, "teacher": teach}
"""The rules by name."""


def _into(weights: jax.Array, spikes: jax.Array) -> jax.Array:
    return jnp.dot(spikes, weights, precision=jax.lax.Precision.HIGHEST)


def _plastic(
    weights: jax.Array,
    leak: ArrayLike,
    spikes: jax.Array,
    stdp: STDP,
    fire: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
) -> tuple[jax.Array, jax.Array]:
    """Change of the weights by a batch, and spikes per timestep of each neuron: means over B."""

    def body(carry: Any, sent: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        v, traces, change = carry
        x, inward = sent
        v, fired = fire(leak * v + inward)
        traces, by_pairs = step_traces(stdp, traces, x, fired)
        return (v, traces, change + by_pairs.mean(0)), fired.mean(0)

    _, images, classes = spikes.shape
    start = init_traces((images, classes), (images, weights.shape[1]))
    carry = (start.post, start, jnp.zeros_like(weights))
    (_, _, change), fired = jax.lax.scan(body, carry, (spikes, _into(weights, spikes)))
    return change, fired.mean(0)


@partial(jax.jit, static_argnames=("rule", "epochs", "batch_size"))
def learn(
    layer: Params,
    spikes: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    rates: Rates,
    *,
    rule: Rule = compete,
    epochs: int = 1,
    batch_size: int = 50,
) -> Params:
    """The layer with learnt weights; leak, threshold and labels are kept.

    Epoch e draws the order of the images from fold_in(key, e); images that fill no whole
    batch are left out. All arrays are traced, so `jax.vmap` runs over leaks and keys.

    Args:
      layer: from `readout.leaky_layer`.
      spikes: of the last layer, `[T, N, K]`, from `readout.output_spikes`.
      labels: int `[N]`; only `teach` looks at them.
      key: for the order of the images.
      rates: the numbers of learning.
      rule: one of RULES; static.
      epochs: passes over the images.
      batch_size: images whose mean change is applied at once.

    Raises:
      ValueError: if there are fewer images than a batch, or `epochs` is below 1.
    """
    count = spikes.shape[1] // batch_size if batch_size > 0 else 0
    if not count or epochs < 1:
        raise ValueError(
            f"{spikes.shape[1]} images, batches of {batch_size}, {epochs} epochs; want at least"
            " one batch and one epoch"
        )

    def batch(learner: Learner, places: jax.Array) -> tuple[Learner, None]:
        return rule(learner, layer, spikes[:, places], labels[places], rates), None

    def order(epoch: jax.Array) -> jax.Array:
        drawn = jax.random.permutation(jax.random.fold_in(key, epoch), spikes.shape[1])
        return drawn[: count * batch_size].reshape(count, batch_size)

    places = jax.vmap(order)(jnp.arange(epochs)).reshape(-1, batch_size)
    start = Learner(layer["weights"], jnp.zeros(layer["weights"].shape[1]))
    return {**layer, "weights": jax.lax.scan(batch, start, places)[0].weights}


@partial(
    jax.jit,
    static_argnames=("network", "num_steps", "neuron", "encoding", "pre_steps", "batch_size"),
)
def show(
    network: arch.Network,
    params: Params,
    images: jax.Array,
    key: jax.Array,
    *,
    num_steps: int,
    neuron: NeuronModel = EXACT_CHARGE,
    encoding: Encoding = CONSTANT,
    pre_steps: int = 0,
    batch_size: int = 100,
) -> jax.Array:
    """The currents `[T, N, K]` of the last layer for all images, batch by batch.

    Args:
      network: the architecture; static.
      params: what `conversion.convert` returned.
      images: uint8 `[N, H, W, C]`.
      key: for an encoding that draws.
      num_steps: T.
      neuron: of the hidden layers.
      encoding: how images become input.
      pre_steps: as in `simulation.simulate`; the current is 0 in them.
      batch_size: images at a time.

    Raises:
      ValueError: if there are no images, or as `simulation.simulate`.
    """
    if not len(images) or batch_size < 1:
        raise ValueError(f"{len(images)} images in batches of {batch_size}; want at least 1 each")

    def one(first: jax.Array) -> jax.Array:
        places = jnp.minimum(first + jnp.arange(batch_size), len(images) - 1)
        return simulation.simulate(
            network, params, images[places].astype(jnp.float32) / 255, num_steps=num_steps,
            neuron=neuron, encoding=encoding, readout=CURRENT, key=key, first=first,
            pre_steps=pre_steps,
        ).values  # fmt: skip

    currents = jax.lax.map(one, jnp.arange(0, len(images), batch_size))  # [N / B, T, B, K]
    return jnp.moveaxis(currents, 1, 0).reshape(num_steps, -1, currents.shape[-1])[:, : len(images)]


@partial(jax.jit, static_argnames=("network", "num_steps", "rule", "epochs", "how"))
def learn_on_images(
    network: arch.Network,
    params: Params,
    layer: Params,
    images: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    rates: Rates,
    *,
    num_steps: int,
    rule: Rule = compete,
    epochs: int = 1,
    how: tuple[tuple[str, Any], ...] = (),
) -> tuple[Params, jax.Array]:
    """Show the images once and learn from their spikes, as one compiled program.

    Args:
      network: the architecture; static.
      params: what `conversion.convert` returned, with an output_scale.
      layer: from `readout.leaky_layer`.
      images: uint8 `[N, H, W, C]`.
      labels: int `[N]`; only `teach` looks at them.
      key: for the order of the images and for an encoding that draws.
      rates: the numbers of learning.
      num_steps: T.
      rule: one of RULES; static.
      epochs: passes over the spikes.
      how: further arguments of `show`, as pairs; static.

    Returns:
      The layer with learnt weights, and the currents `[T, N, K]`.

    Raises:
      ValueError: as `show` and `learn`.
    """
    drawn, ordered = jax.random.split(key)
    currents = show(network, params, images, drawn, num_steps=num_steps, **dict(how))
    spikes = output_spikes(params, currents)
    return learn(layer, spikes, labels, ordered, rates, rule=rule, epochs=epochs), currents


def random_weights(key: jax.Array, classes: int, neurons: int) -> jax.Array:
    """Uniform weights `[K, M]` whose sum into each neuron is 1, as that of the identity.

    Raises:
      ValueError: if there are fewer neurons than classes.
    """
    if neurons < classes:
        raise ValueError(f"{neurons} neurons cannot stand for {classes} classes; want at least one")
    weights = jax.random.uniform(key, (classes, neurons))
    return weights / weights.sum(0)


def labelled(params: Params, layer: Params, currents: jax.Array, labels: ArrayLike) -> Params:
    """The layer with the classes of its neurons by what they respond to; see `assign_labels`.

    Args:
      params: what `conversion.convert` returned, with an output_scale.
      layer: one that has learnt.
      currents: of the labelled images, `[T, N, K]`.
      labels: int `[N]`.

    Raises:
      ValueError: as `assign_labels`, or if a class ends without a neuron.
    """
    found = assign_labels(
        {**params, "readout": layer}, currents, labels, classes=currents.shape[-1]
    )
    return leaky_layer(
        layer["weights"], leak=layer["leak"], threshold=layer["threshold"], labels=found
    )


def assign_labels(
    params: Params, currents: jax.Array, labels: ArrayLike, *, classes: int
) -> jax.Array:
    """The class `[M]` to whose images each neuron of the leaky layer responds most.

    Source: Diehl and Cook 2015: the largest mean response over a labelled subset.

    Args:
      params: converted parameters with a leaky layer under "readout"; its labels play no part.
      currents: of the labelled images, `[T, N, K]`.
      labels: int `[N]`.
      classes: K.

    Raises:
      ValueError: if there are no images, or none of some class.
    """
    found = np.bincount(np.asarray(labels), minlength=classes)
    if not len(np.asarray(labels)) or (found == 0).any():
        missing = ", ".join(map(str, np.flatnonzero(found == 0)))
        raise ValueError(
            f"the labelled subset has {len(np.asarray(labels))} images and none of class {missing};"
            " want some of each"
        )
    of_class = jax.nn.one_hot(labels, classes)
    mean = jnp.dot((of_class / of_class.sum(0)).T, responses(params, currents), precision="highest")
    return jnp.argmax(mean, 0)
