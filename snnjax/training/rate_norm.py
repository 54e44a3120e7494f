"""The second stage of rate-norm training: shares of the largest outputs, for fast inference."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from tqdm import trange

__all__ = ["rate_inference_loss", "shorten"]

Variables = dict[str, Any]

START = 4.0
"""Of the numbers whose sigmoids are the shares; at the 10 of the first stage nothing moves."""

OPTIMISER = optax.sgd(0.01, momentum=0.9)


def rate_inference_loss(
    whole: jax.Array, logits: jax.Array, rates: list[jax.Array], weight: float
) -> jax.Array:
    """1 - cos(whole, logits) + weight * mean_l |r_l|_1 / |r_l|_2^2.

    Source: Ding et al. 2021; the second term bounds how long a layer takes to show its
    rates.

    Args:
      whole: `[B, K]` logits with all shares 1.
      logits: `[B, K]` logits with the shares that are trained.
      rates: of each layer, `[B, ...]` in [0, 1].
      weight: lambda of the paper.

    Raises:
      Nothing.
    """
    cosine = jnp.mean(optax.losses.cosine_similarity(logits, whole, epsilon=1e-6))
    slowness = [jnp.sum(r) / (jnp.sum(jnp.square(r)) + 1e-5) for r in rates]
    return 1 - cosine + weight * jnp.mean(jnp.stack(slowness))


def shorten(
    apply: Any,
    variables: Variables,
    images: np.ndarray,
    *,
    weight: float = 0.1,
    epochs: int = 1,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
) -> Variables:
    """Lower each layer's bound p * largest, so that rates are larger and come sooner.

    Weights and largest outputs stay; only the shares p are trained.

    Source: RNL, Ding et al. 2021, whose second stage this is, and SGD with momentum 0.9 and
    a rate of 0.01 as in the published code.
    Choice: the cosine is to the logits with all shares 1, as in the paper; in the published
    code both its sides are the same. Shares start at sigmoid(4) in every layer.

    Args:
      apply: a Flax module's `apply`, whose activations learn a rate.
      variables: of the first stage.
      images: uint8 `[N, H, W, C]`.
      weight: of the second term of the loss, at least 0.
      epochs: passes over the images, at least 1.
      batch_size: images at a time.
      seed: of the order of the images.
      progress: show a bar.

    Raises:
      ValueError: if a number is out of its range, or there are too few images for a batch.
    """
    if weight < 0 or epochs < 1 or not 1 <= batch_size <= len(images):
        raise ValueError(
            f"weight is {weight}, epochs {epochs}, batch_size {batch_size} of {len(images)} images;"
            " want a weight of at least 0, an epoch or more, and a batch that the images fill"
        )
    params = traverse_util.flatten_dict(variables["params"])
    shares = {path: jnp.full_like(x, START) for path, x in params.items() if path[-1] == "share"}
    moments = OPTIMISER.init(shares)
    steps = len(images) // batch_size
    draw = np.random.default_rng(seed)
    bar = trange(epochs * steps, desc="shorten", mininterval=1, unit="step", disable=not progress)
    for step in bar:
        if step % steps == 0:
            order = draw.permutation(len(images))
        batch = order[step % steps * batch_size :][:batch_size]
        shares, moments = _step(
            shares, moments, variables, images[batch], apply=apply, weight=weight
        )
    return {**variables, "params": traverse_util.unflatten_dict({**params, **shares})}


@partial(jax.jit, static_argnames=("apply", "weight"))
def _step(
    shares: Variables,
    moments: Any,
    variables: Variables,
    images: jax.Array,
    *,
    apply: Any,
    weight: float,
) -> tuple[Variables, Any]:
    x = images.astype(jnp.float32) / 255
    params = traverse_util.flatten_dict(variables["params"])

    def run(shares: Variables) -> tuple[jax.Array, list[jax.Array]]:
        merged = {**variables, "params": traverse_util.unflatten_dict({**params, **shares})}
        logits, caught = apply(merged, x, mutable=["intermediates"])
        sown = traverse_util.flatten_dict(caught["intermediates"])
        return logits, [leaf for path, (leaf,) in sown.items() if path[-1] == "rate"]

    whole, _ = run(jax.tree.map(lambda share: jnp.full_like(share, jnp.inf), shares))

    def loss(shares: Variables) -> jax.Array:
        logits, outputs = run(shares)
        return rate_inference_loss(whole, logits, outputs, weight)

    updates, moments = OPTIMISER.update(jax.grad(loss)(shares), moments)
    return optax.apply_updates(shares, updates), moments
