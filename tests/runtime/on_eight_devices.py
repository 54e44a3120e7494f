"""Run by test_sharding with eight virtual devices: the same work on one of them and on all."""

import json
import sys
from functools import partial

import jax
import numpy as np
from examples import compact_network, dense_network, random_images, random_variables

from snnjax.analysis.synapses import find_synapses, share_synapses
from snnjax.app import evaluation
from snnjax.app.configurations import SimulateConfig
from snnjax.conversion.conversion import convert
from snnjax.conversion.quantisation import quantise
from snnjax.io import datasets
from snnjax.networks import architecture as arch
from snnjax.networks.ann import ANN
from snnjax.runtime import sharding
from snnjax.snn.simulation import simulate
from snnjax.training import fitting
from snnjax.training.spike_penalty import penalise_spikes
from snnjax.training.training_config import TrainingConfig

SHAPE = (4, 4, 1)
NETWORK = dense_network()
PARAMS = convert(NETWORK, random_variables(NETWORK, SHAPE), output_scale=4.0)
CONFIG = TrainingConfig(
    epochs=1, batch_size=24, max_shift=1, levels=2, mix_levels_to=4, average=0.9
)


def labelled(count, seed):
    images = (random_images(count, SHAPE, seed) * 255).astype(np.uint8)
    return datasets.Split(images, np.random.default_rng(seed).integers(0, 3, count))


def evaluated(mesh):
    """45 images in batches of 4 or 32: neither divides them."""
    how = {"batch_size": 4, "seed": 3, "progress": False, "mesh": mesh}
    rate = SimulateConfig(num_steps=5, encoding="rate", neuron="double-threshold", readout="count")
    exits = SimulateConfig(num_steps=5, encoding="rate", exit_margin=0.3)
    split = labelled(45, 0)
    return {
        "scores": evaluation.evaluate(NETWORK, PARAMS, split, rate, levels=4, **how),
        "exits": evaluation.evaluate_exits(NETWORK, PARAMS, split, None, exits, **how),
    }


def trained(mesh):
    """With batch norm, dropout, shifts, drawn levels and a spike penalty; 130 images."""
    # No bias before the batch norm: its gradient is 0, and Adam would blow its rounding up.
    first = arch.Dense(8, use_bias=False)
    layers = (arch.Flatten(), first, arch.BatchNorm(), *NETWORK.layers[2:])
    module = ANN(layers, dropout=0.2)
    start = jax.jit(module.init)(jax.random.key(0), np.zeros((1, *SHAPE), np.float32))
    network = arch.Network("normalised", layers)
    shares = share_synapses(find_synapses(network, convert(network, start), SHAPE))
    apply = penalise_spikes(module.apply, network, shares, 1.0)
    fitted = fitting.fit(
        apply, start, labelled(130, 2), labelled(29, 3), CONFIG, progress=False, mesh=mesh
    )
    leaves = {jax.tree_util.keystr(k): np.asarray(v).tolist() for k, v in
              jax.tree_util.tree_leaves_with_path(fitted.variables)}  # fmt: skip
    return {"history": fitted.history, "variables": leaves}


def parts(mesh):
    """What each device has of the answer of a simulation."""
    params = sharding.replicate(mesh, PARAMS)
    values = simulate(NETWORK, params, sharding.shard(mesh, random_images(16, SHAPE)),
                      num_steps=3).values  # fmt: skip
    return [list(part.data.shape) for part in values.addressable_shards]


def whole(mesh):
    """Values, and spikes of every layer, of an integer network with all kinds of layers."""
    network, shape = compact_network(), (6, 6, 3)
    params = quantise(network, convert(network, random_variables(network, shape)), 4)
    images = np.random.default_rng(0).integers(0, 256, (16, *shape)) / np.float32(255)
    found = simulate(
        network, sharding.replicate(mesh, params), sharding.shard(mesh, images), num_steps=3,
        record=True,
    )  # fmt: skip
    return jax.tree.map(lambda of: np.asarray(of).tolist(), [found.values, found.recording])


def gathers(mesh, chunk_steps):
    """Whether a device asks others for images, and so computes what is theirs."""
    params = sharding.replicate(mesh, PARAMS)
    images = sharding.shard(mesh, random_images(16, SHAPE))
    run = jax.jit(partial(simulate, NETWORK, num_steps=6, chunk_steps=chunk_steps))
    return "all-gather" in run.lower(params, images).compile().as_text()


if __name__ == "__main__":
    found = {}
    for count in (1, 8):
        mesh = sharding.make_mesh(count)
        found[count] = {"trained": trained(mesh), **evaluated(mesh), "parts": parts(mesh)}
        found[count]["whole"] = whole(mesh)
    found["gathers"] = [gathers(sharding.make_mesh(), chunk_steps) for chunk_steps in (1, 3, 6)]
    found["all visible"] = sharding.make_mesh().size
    found["sharing 12"] = sharding.make_mesh(batch_size=12).size
    refused = []
    for call in (
        lambda: sharding.make_mesh(9),
        lambda: fitting.fit(
            None,
            {},
            labelled(30, 0),
            labelled(9, 0),
            TrainingConfig(batch_size=12),
            mesh=sharding.make_mesh(),
        ),
    ):
        try:
            call()
        except ValueError as error:
            refused.append(str(error))
    json.dump({**found, "refused": refused}, sys.stdout)
