"""Surrogate gradients: derivatives for spikes, which have none.

A spike is a step of the distance x of a potential from its threshold, in thresholds. Its value
stays that step; its derivative becomes that of a smooth curve.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_value
from snnjax.snn.neurons import NEURONS, NeuronModel
from snnjax.snn.neurons.crossing import HARD, Compare, Crossing

__all__ = [
    "SURROGATES",
    "Surrogate",
    "arctan",
    "differentiable",
    "fast_sigmoid",
    "straight_through",
    "triangle",
]


Slope = Callable[[jax.Array], jax.Array]
"""slope(x) -> derivative of a comparison at a distance of x thresholds."""


class Surrogate(NamedTuple):
    """Derivative of a spike; hashable, and equal ones share a compilation.

    curve: `curve(x, size) -> derivative` with respect to x, the distance of the potential from its
      threshold, in thresholds.
    size: width or slope of the curve.
    """

    curve: Callable[[jax.Array, float], jax.Array]
    size: float

    def __call__(self, x: jax.Array) -> jax.Array:
        """Derivative at a distance of `x` thresholds."""
        return self.curve(x, self.size)


def straight_through(width: float = 1.0) -> Surrogate:
    """Return the derivative 1 / width within width / 2 of the threshold, and 0 elsewhere.

    With a width of 1 the net count of a neuron has the gradient of the charge that it stands for,
    within the bounds of what it can send: at one timestep that of the quantised activation.

    Source: Bengio et al. 2013; the rectangle of Wu et al. 2018.

    Args:
      width: in thresholds, above 0.

    Raises:
      ValueError: if `width` is not above 0.
    """
    return _make(_rectangle, "width", width)


def fast_sigmoid(slope: float = 10.0) -> Surrogate:
    """Return the derivative 1 / (1 + slope |x|)^2.

    Source: SuperSpike, Zenke & Ganguli 2018.

    Args:
      slope: per threshold, above 0.

    Raises:
      ValueError: if `slope` is not above 0.
    """
    return _make(_fast_sigmoid, "slope", slope)


def arctan(slope: float = 2.0) -> Surrogate:
    """Return slope / 2 / (1 + (pi / 2 slope x)^2), the derivative of an arctangent.

    Source: Fang et al. 2021, whose alpha is `slope`.

    Args:
      slope: per threshold, above 0.

    Raises:
      ValueError: if `slope` is not above 0.
    """
    return _make(_arctan, "slope", slope)


def triangle(width: float = 1.0) -> Surrogate:
    """Return the derivative (1 - |x| / width) / width within `width` of the threshold, else 0.

    Source: Esser et al. 2016; Bellec et al. 2018.

    Args:
      width: in thresholds, above 0.

    Raises:
      ValueError: if `width` is not above 0.
    """
    return _make(_triangle, "width", width)


def _make(curve: Callable[[jax.Array, float], jax.Array], name: str, size: float) -> Surrogate:
    check_value(name, size, lambda x: (x > 0) & np.isfinite(x), "a finite number above 0")
    return Surrogate(curve, float(size))


def _rectangle(x: jax.Array, width: float) -> jax.Array:
    return jnp.where((x >= -width / 2) & (x < width / 2), 1 / width, 0.0)


def _fast_sigmoid(x: jax.Array, slope: float) -> jax.Array:
    return 1 / jnp.square(1 + slope * jnp.abs(x))


def _arctan(x: jax.Array, slope: float) -> jax.Array:
    return slope / 2 / (1 + jnp.square(jnp.pi / 2 * slope * x))


def _triangle(x: jax.Array, width: float) -> jax.Array:
    return jnp.maximum(1 - jnp.abs(x) / width, 0.0) / width


SURROGATES: dict[str, Callable[..., Surrogate]] = {
    "straight-through": straight_through,
    "fast-sigmoid": fast_sigmoid,
    "arctan": arctan,
    "triangle": triangle,
}
"""Surrogates by name; the command line offers these."""


def differentiable(neuron: NeuronModel, surrogate: Surrogate) -> NeuronModel:
    """Return the same neuron with a surrogate gradient; its spikes are the same.

    Args:
      neuron: with `with_crossing`.
      surrogate: the derivative of its spikes.

    Raises:
      ValueError: if the neuron has no surrogate gradient, or `surrogate` is none.
    """
    if not isinstance(surrogate, Surrogate):
        raise ValueError(
            f"surrogate is {surrogate!r}; want one such as snnjax.surrogates.straight_through()"
        )
    if not isinstance(neuron, NeuronModel):
        raise ValueError(f"neuron is {neuron!r}; want one such as snnjax.EXACT_CHARGE")
    if neuron.with_crossing is None:
        able = [name for name, of in NEURONS.items() if of.with_crossing is not None]
        raise ValueError("this neuron has no surrogate gradient; want one of " + ", ".join(able))
    return _with_slope(neuron, Surrogate(surrogate.curve, float(surrogate.size)))


@lru_cache(maxsize=64)
def _with_slope(neuron: NeuronModel, surrogate: Surrogate) -> NeuronModel:
    """The same neuron, of which equal ones share a compilation."""
    reaches = partial(_compare, HARD.reaches, surrogate)
    is_below = partial(_compare, HARD.is_below, partial(_minus, surrogate))
    assert neuron.with_crossing is not None
    return neuron.with_crossing(Crossing(reaches, is_below))


def _minus(slope: Surrogate, x: jax.Array) -> jax.Array:
    return -slope(x)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _compare(
    hard: Compare, slope: Slope, potential: jax.Array, multiple: ArrayLike, threshold: jax.Array
) -> jax.Array:
    return hard(potential, multiple, threshold)


@_compare.defjvp
def _differentiate(hard, slope, values, tangents):  # type: ignore[no-untyped-def]
    potential, multiple, threshold = values
    # A threshold of infinity is never reached, and has no gradient.
    unit = jnp.where(jnp.isfinite(threshold), threshold, 1.0)
    ratio = potential / unit
    curve = jnp.where(jnp.isfinite(threshold), slope(ratio - multiple), 0.0)
    along_potential, along_multiple, along_threshold = tangents
    along = (along_potential - ratio * along_threshold) / unit - along_multiple
    return hard(potential, multiple, threshold), curve * along
