"""Steps of training, ours by turns with another library's: the same network, start, batches and
recipe, without augmentation and dropout, which would be drawn differently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import cases
import jax
import numpy as np
import optax
import peers
from cases import Case, Effort, alternate, figures, median
from peer.answering import in_a_row

from snnjax import surrogates
from snnjax.app.configurations import TrainConfig
from snnjax.conversion.conversion import convert
from snnjax.conversion.threshold_balancing import measure_scales
from snnjax.networks import architecture as arch
from snnjax.networks import known_networks
from snnjax.networks.ann import ANN
from snnjax.runtime import sharding
from snnjax.snn.encoding import CONSTANT
from snnjax.snn.neurons import NEURONS
from snnjax.training.fine_tuning import FineTuned, ThroughTime, split_weights
from snnjax.training.gradient_step import TrainingRun, init_train_state, train_step

SLOPE = 2.0
"""Of the arctan, which SpikingJelly calls ATan and `alpha`."""


class Batches(NamedTuple):
    """images: bytes `[N, H, W, C]`; labels: `[N]`; places: `[steps, B]`, images of each step."""

    images: np.ndarray
    labels: np.ndarray
    places: np.ndarray


def draw_batches(steps: int, batch: int) -> Batches:
    """Random images like MNIST's."""
    draw, count = np.random.default_rng(0), steps * batch
    return Batches(
        draw.integers(0, 256, (count, 28, 28, 1), np.uint8),
        draw.integers(0, 10, count).astype(np.int32),
        np.arange(count).reshape(steps, batch),
    )


def epoch_of(
    apply: Callable[..., Any], variables: Mapping[str, Any], config: TrainConfig, data: Batches
) -> Callable[[], list[Any]]:
    """Our steps, which go on from the last ones; it returns the loss of each."""
    steps, batch = data.places.shape
    mesh = sharding.make_mesh(batch_size=batch)
    run = TrainingRun(apply, config, steps, mesh)
    state = [sharding.replicate(mesh, init_train_state(variables, config, steps))]
    on_device = sharding.replicate(mesh, (data.images, data.labels))

    def epoch() -> list[Any]:
        losses = []
        for at, places in enumerate(data.places):
            state[0], loss = train_step(
                state[0], *on_device, sharding.shard(mesh, places), jax.random.key(at), run=run
            )
            losses.append(loss)
        return jax.block_until_ready(losses)

    return epoch


def beside(
    python: Path, script: str, epoch: Callable[[], list[Any]], config: TrainConfig, data: Batches,
    weights: tuple[list[dict[str, Any]], dict[str, np.ndarray]], options: dict[str, Any],
    effort: Effort,
) -> dict[str, Any]:  # fmt: skip
    """Seconds of our epoch by turns with a peer's, and how far their first losses are apart.

    Args:
      weights: from `peers.describe`, before the first step.
      options: what the peer is told beside the recipe.
    """
    steps, batch = data.places.shape
    ours, (spec, arrays) = np.array(epoch()), weights
    schedule = optax.cosine_onecycle_schedule(max(steps, 2), config.learning_rate)
    recipe = {name: getattr(config, name) for name in ("weight_decay", "label_smoothing")}
    rates = [float(schedule(at)) for at in range(steps)]
    with TemporaryDirectory() as folder, peers.start(python, script) as peer:
        path = Path(folder) / "given.npz"
        np.savez(path, **arrays, images=data.images, labels=data.labels)
        try:
            about = peer.ask(
                "prepare", given=str(path), spec=spec, rates=rates, batch=batch, **recipe, **options
            )
            theirs = np.array(about.pop("losses"))
            seconds = alternate(
                {"ours": partial(in_a_row, epoch), "peer": peer.seconds}, effort, rest=peers.REST
            )
        except peers.PeerError as error:
            return {"reason": str(error)}
    return {
        "seconds": figures(seconds["ours"]),
        "peer_seconds": figures(seconds["peer"]),
        "peer_to_ours": round(median(seconds["peer"]) / median(seconds["ours"]), 3),
        "first_losses_difference": float(np.abs(ours[:5] - theirs[:5]).max()),
        "about": about,
    }


def train(python: Path | None, steps: int, batch: int, effort: Effort) -> dict[str, Any]:
    """Steps of training the quantised Net2, by turns with torch's."""
    config = TrainConfig(batch_size=batch, dropout=0.0, max_shift=0)
    network, data = config.architecture(), draw_batches(steps, batch)
    variables = cases.draw(network)
    epoch = epoch_of(ANN(network.layers).apply, variables, config, data)
    key = {"steps": steps, "batch": batch, "recipe": "Net2, AdamW, 4 levels, no augmentation"}
    if python is None:
        epoch()
        calls = {"ours": partial(in_a_row, epoch)}
        return {**key, "seconds": figures(alternate(calls, effort)["ours"])}
    options = {name: getattr(config, name) for name in ("alpha", "theta", "levels")}
    weights = peers.describe(network.layers, variables["params"])
    found = beside(python, "with_torch.py", epoch, config, data, weights, options, effort)
    return {**key, **found}


def train_through_time(python: Path, case: Case, steps: int, effort: Effort) -> dict[str, Any]:
    """Steps of training a converted network through its simulation, by turns with SpikingJelly's.

    Both have integrate-and-fire neurons with soft reset from v(0) = 0, whose reset has a gradient
    too, an arctan as the surrogate, and the mean of the last layer's currents as the answer.
    """
    network = arch.with_activation(known_networks.find(case.network), peers.RELU)
    drawn = cases.draw(known_networks.find(case.network))
    scales = measure_scales(network, drawn, np.asarray(cases.draw_images(network, 32, seed=2)))
    params = convert(network, drawn, scales=scales, initial=0.0)
    config = TrainConfig(batch_size=case.batch, dropout=0.0, max_shift=0)
    data = draw_batches(steps, case.batch)
    simulated = ThroughTime(
        case.num_steps, NEURONS["integrate-and-fire"], CONSTANT, surrogates.arctan(SLOPE)
    )
    last = tuple(float(t == case.num_steps - 1) for t in range(case.num_steps))
    apply = FineTuned(network, simulated, last)
    epoch = epoch_of(apply, split_weights(network, params, {}), config, data)
    options = {"num_steps": case.num_steps, "alpha": SLOPE}
    weights = peers.describe(network.layers, params["layers"])
    return beside(
        python, "with_spikingjelly_training.py", epoch, config, data, weights, options, effort
    )
