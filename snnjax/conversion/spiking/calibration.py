"""Thetas of a function's sites, measured on images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.conversion.ann_outputs import image_batches
from snnjax.conversion.spiking.function import SpikingApply
from snnjax.conversion.spiking.quantised import settled
from snnjax.runtime.images import FUNCTION_RANKS

__all__ = ["BATCH_SIZE", "describe_values", "largest", "least_error", "measure"]

BATCH_SIZE = 32
"""Images that are calibrated at once."""

FRACTIONS = np.linspace(0.05, 1.0, 39)
"""Candidates for theta, as shares of the largest magnitude."""

Rule = Callable[[SpikingApply, Any, np.ndarray, dict[str, Any]], dict[str, Any]]
"""rule(function, params, images, ranges) -> theta by site.

params: "params", the user's, and "levels"; ranges: what `measure` returned.
"""


def measure(function: SpikingApply, params: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the smallest and the largest value of every site on images, `[2]` by site.

    Args:
      function: with neurons at its sites; its thetas are not used.
      params: "params", the user's.
      images: `[N, ...]`; they are computed in batches.

    Raises:
      ValueError: if a site has a value that is not finite, or zeros only.
    """
    found = [describe_values(function, params, batch)[0] for batch in _batches(images)]
    ranges = {
        name: np.array([min(f[name][0].min() for f in found), max(f[name][1].max() for f in found)])
        for name in function.sites
    }
    for name, ends in ranges.items():
        if not np.isfinite(ends).all():
            raise ValueError(f"site {name} has NaN or Inf on the example; want finite activations")
        if not ends.any():
            raise ValueError(
                f"site {name} is 0 on all {len(images)} images of the example, so that nothing"
                " tells the size of its spikes; pass images on which it is active"
            )
    return ranges


def largest(
    function: SpikingApply, params: Any, images: np.ndarray, ranges: dict[str, Any]
) -> dict[str, Any]:
    """Thetas that no value of the images exceeds.

    Source: data-based normalisation, Diehl et al. 2015.
    """
    del function, params, images
    return {name: np.float32(np.abs(ends).max()) for name, ends in ranges.items()}


def least_error(
    function: SpikingApply, params: Any, images: np.ndarray, ranges: dict[str, Any]
) -> dict[str, Any]:
    """Thetas with the least mean squared error between values and quantised values.

    Choice: one of 39 shares of the largest magnitude; the values are those of the function
    without quantisation.
    """
    tops = largest(function, params, images, ranges)
    errors = [_errors(function, params, batch, tops) for batch in _batches(images)]
    total = jax.tree.map(lambda *of: np.sum(of, axis=0), *errors)
    return {
        name: np.float32(top * FRACTIONS[int(np.argmin(total[name]))]) for name, top in tops.items()
    }


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    return image_batches(
        images, name="thetas", purpose=" to measure on", batch_size=BATCH_SIZE, progress=True,
        ranks=FUNCTION_RANKS,
    )  # fmt: skip


@partial(jax.jit, static_argnums=0)
def describe_values(
    function: SpikingApply, params: Any, images: jax.Array
) -> tuple[dict[str, jax.Array], Any]:
    """Return smallest, largest and mean value of every site, `[3, B]`, and the outputs.

    Args:
      function: with neurons at its sites; its thetas are not used.
      params: "params", the user's.
      images: `[B, ...]`.
    """
    found = {}

    def at(name: str, value: jax.Array) -> jax.Array:
        rows = value.reshape(len(value), -1).astype(jnp.float32)
        found[name] = jnp.stack([rows.min(1), rows.max(1), rows.mean(1)])
        return value

    outputs = function.begin(params, images)(at)
    return found, outputs


@partial(jax.jit, static_argnums=0)
def _errors(
    function: SpikingApply, params: Any, images: jax.Array, tops: dict[str, Any]
) -> dict[str, jax.Array]:
    """Sum of squared errors with each candidate, `[39]` by site."""
    found = {}

    def at(name: str, value: jax.Array) -> jax.Array:
        def error(share: jax.Array) -> jax.Array:
            thetas = {site: share * top for site, top in tops.items()}
            neurons = function.neurons(params | {"thetas": thetas})[name]
            quantised = settled(value, neurons, function.input_steps)
            return jnp.sum(jnp.square(quantised - value), dtype=jnp.float32)

        found[name] = jax.lax.map(error, jnp.asarray(FRACTIONS, jnp.float32))
        return value

    function.begin(params, images)(at)
    return found
