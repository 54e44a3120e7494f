"""Second stage of rate-norm training: lower the bounds of the layers, for faster inference.

The rate of a neuron is its clipped pre-activation divided by the bound of its layer, a share p of
the largest output. The first stage, ordinary training, leaves every p near 1; the second trains
nothing but p.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from tqdm import trange

from snnjax.runtime.images import check_dataset_images, unit_images

__all__ = ["rate_inference_loss", "train_shares"]

Variables = dict[str, Any]

INITIAL_LOGIT = 4.0
"""Initial inverse sigmoid of every share; at the 10 of the first stage its gradient vanishes."""

OPTIMISER = optax.sgd(0.01, momentum=0.9)


def rate_inference_loss(
    target: jax.Array, logits: jax.Array, rates: list[jax.Array], weight: float
) -> jax.Array:
    """1 - cos(target, logits) + weight * mean_l |r_l|_1 / |r_l|_2^2.

    Source: Ding et al. 2021; the second term bounds the time that the spikes of a layer need to
    represent its rates.

    Args:
      target: `[B, K]` logits with all shares at 1.
      logits: `[B, K]` logits with the shares that are trained.
      rates: of each layer, `[B, ...]` in [0, 1].
      weight: lambda of the paper.

    Raises:
      Nothing.
    """
    cosine = jnp.mean(optax.losses.cosine_similarity(logits, target, epsilon=1e-6))
    slowness = [jnp.sum(r) / (jnp.sum(jnp.square(r)) + 1e-5) for r in rates]
    return 1 - cosine + weight * jnp.mean(jnp.stack(slowness))


def train_shares(
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
    """Train the share p of each layer, whose bound is p times its largest output.

    Smaller bounds mean larger rates, which need fewer timesteps. Weights and largest outputs stay
    the same.

    Source: RNL, Ding et al. 2021, the second stage, with SGD, a momentum of 0.9 and a learning
    rate of 0.01 as in the published code.
    Choice: the cosine compares with the logits at shares of 1, as in the paper; the published
    code compares the logits with themselves. Shares start at sigmoid(4) in every layer.

    Args:
      apply: `apply` of a Flax module whose activations are rate-norm layers.
      variables: result of the first stage.
      images: bytes (uint8) `[N, H, W, C]` or `[N, D]`, or floats in the range of the network.
      weight: of the second term of the loss, at least 0.
      epochs: passes over the images, at least 1.
      batch_size: images per batch.
      seed: for the order of the images.
      progress: show a progress bar.

    Raises:
      ValueError: if a number is out of its range, there are too few images for a batch, or the
        network has no rate-norm layer.
    """
    images = check_dataset_images(images)
    if weight < 0 or epochs < 1 or not 1 <= batch_size <= len(images):
        raise ValueError(
            f"weight is {weight}, epochs {epochs}, batch_size {batch_size} of {len(images)} images;"
            " want a weight of at least 0, an epoch or more, and at most as many images per batch"
            " as there are"
        )
    params = traverse_util.flatten_dict(variables["params"])
    shares = {
        path: jnp.full_like(leaf, INITIAL_LOGIT)
        for path, leaf in params.items()
        if path[-1] == "share"
    }
    if not shares:
        raise ValueError("the network has no rate-norm layer; want one with learn='rate'")
    moments = OPTIMISER.init(shares)
    steps_per_epoch = len(images) // batch_size
    generator = np.random.default_rng(seed)
    bar = trange(
        epochs * steps_per_epoch, desc="second stage", mininterval=1, unit="step",
        disable=not progress,
    )  # fmt: skip
    for step in bar:
        if step % steps_per_epoch == 0:
            order = generator.permutation(len(images))
        batch = order[step % steps_per_epoch * batch_size :][:batch_size]
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
    """Return the inverse sigmoids of the shares and the momentum after one step."""
    x = unit_images(images)
    params = traverse_util.flatten_dict(variables["params"])

    def logits_and_rates(shares: Variables) -> tuple[jax.Array, list[jax.Array]]:
        merged = {**variables, "params": traverse_util.unflatten_dict({**params, **shares})}
        logits, collections = apply(merged, x, mutable=["intermediates"])
        sown = traverse_util.flatten_dict(collections["intermediates"])
        return logits, [leaf for path, (leaf,) in sown.items() if path[-1] == "rate"]

    at_one = jax.tree.map(lambda share: jnp.full_like(share, jnp.inf), shares)
    target, _ = logits_and_rates(at_one)

    def loss(shares: Variables) -> jax.Array:
        logits, rates = logits_and_rates(shares)
        return rate_inference_loss(target, logits, rates, weight)

    updates, moments = OPTIMISER.update(jax.grad(loss)(shares), moments)
    return optax.apply_updates(shares, updates), moments
