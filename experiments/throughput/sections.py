"""What is measured beside the rows: memory and compilation, thresholds at once, parts of a step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cases
import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, Effort, alternate, build, figures, median, timed
from silent_inputs import train

from snnjax.analysis.synapses import find_synapses
from snnjax.conversion.conversion import convert
from snnjax.networks import architecture as arch
from snnjax.networks import known_networks
from snnjax.runtime import sharding
from snnjax.snn import readout
from snnjax.snn.neurons import NEURONS, NeuronModel, NeuronParams
from snnjax.snn.simulation import simulate

HERE = Path(__file__).parent
ARRAYS = {"exact-charge": 3, "double-threshold": 4}
"""What a neuron reads and writes at a timestep: charge and count, and the count after them; or
current and potential, and the potential and the spike after them."""


def probe(case: Case, neuron: str, **more: int) -> dict[str, Any]:
    """Peak memory of a fresh process, XLA's own count, and seconds to compile."""
    return _in_a_process("probe.py", **case._asdict(), neuron=neuron, **more)


def _in_a_process(script: str, **options: Any) -> dict[str, Any]:
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, str(HERE / script), *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def silent_inputs(
    case: Case, neuron: str, used_cores: int, *, smoke: bool, output: Path
) -> dict[str, Any]:
    """Seconds with dense products and with products that skip silent inputs, by turns, in a fresh
    process; a network that is not trained yet is trained first.
    """
    runs = output / "runs" if smoke else HERE.parents[1] / "runs"
    snn = train(case.network, smoke=smoke, runs=runs)
    effort = {"count": 32, "repeats": 2, "seconds": 0.0} if smoke else {}
    return _in_a_process(
        "silent_inputs.py", **case._asdict(), neuron=neuron, used_cores=used_cores, snn=snn,
        **effort,
    )  # fmt: skip


def cores(case: Case, neuron: str, counts: Sequence[int], repeats: int) -> dict[str, Any]:
    """Seconds on one core and on several, each a device, by turns in processes of their own that
    the system keeps on these cores.
    """
    found: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(repeats):
        for count, seconds in found.items():
            seconds.append(probe(case, neuron, cores=count)["seconds"])
    one = median(found[1])
    return {
        "seconds": {str(count): figures(seconds) for count, seconds in found.items()},
        "one_to": {str(c): round(one / median(seconds), 3) for c, seconds in found.items()},
    }


def thresholds(case: Case, count: int, effort: Effort) -> dict[str, Any]:
    """So many thresholds in one mapped program, by turns with one program called as often; the
    images are shared among the cores in both, and the calls are timed without that too.
    """
    network = known_networks.find(case.network)
    names = list(arch.activations(network))
    plain = cases.draw_images(network, case.batch)
    variables, shared = cases.on_cores(cases.draw(network), plain)
    tried = np.linspace(0.25, 2.0, count, dtype=np.float32)

    def curve(variables: Any, threshold: jax.Array, images: jax.Array) -> jax.Array:
        params = convert(network, variables, scales=dict.fromkeys(names, threshold))
        return simulate(network, params, images, num_steps=case.num_steps).values

    def calls(variables: Any, images: jax.Array) -> Callable[[], Any]:
        single = jax.jit(curve).lower(variables, tried[0], images).compile()
        return lambda: jax.block_until_ready([single(variables, t, images) for t in tried])

    mapped = build(jax.vmap(curve, (None, 0, None)), variables, tried, shared)
    runs = {
        "at once": mapped.run,
        "one by one": calls(variables, shared),
        "one by one, not shared": calls(cases.draw(network), plain),
    }
    results = {name: jnp.stack(list(run())) for name, run in runs.items()}
    seconds = alternate({name: partial(timed, run) for name, run in runs.items()}, effort)
    best = min(median(seconds[name]) for name in runs if name != "at once")
    return {
        "seconds": {name: figures(found) for name, found in seconds.items()},
        "one_by_one_to_at_once": round(best / median(seconds["at once"]), 3),
        "largest_difference": max(
            float(jnp.abs(jax.device_get(found) - jax.device_get(results["at once"])).max())
            for found in results.values()
        ),
    }


def by_products(case: Case, neuron: str, products: str, effort: Effort) -> dict[str, Any]:
    """A row in the order that a user gets, and the share of spikes that its products move."""
    order = "chosen" if "chosen" in cases.orders(case) else "step by step"
    row = cases.measure(case, neuron, order, effort, products)
    network = known_networks.find(case.network)
    whole = cases.draw_params(network, products, case.num_steps).get("integer")
    bits = whole and {"weight_bits": 1 + int(whole["weight"]).bit_length()}
    return {
        **row,
        "products": products,
        "moved": cases.moved(case, neuron, products),
        **(bits or {}),
    }


def whole(case: Case, count: int, products: str, effort: Effort) -> dict[str, Any]:
    """A whole split, from pixels in the memory of the host to answers there, batch by batch.

    No batch waits for the one before it: the next is on its way while one is computed.
    """
    network = known_networks.find(case.network)
    params = cases.draw_params(network, products, case.num_steps)
    mesh = sharding.make_mesh(batch_size=case.batch)
    copies = sharding.replicate(mesh, params)
    pixels = np.random.default_rng(0).integers(
        0, 256, (count, *cases.image_shape(network)), np.uint8
    )

    @jax.jit
    def answer(params: Any, shown: jax.Array) -> jax.Array:
        images = shown.astype(jnp.float32) / 255
        run = simulate(
            network, params, images, num_steps=case.num_steps,
            kernel_parts=cases.PRODUCTS[products],
        )  # fmt: skip
        return jnp.argmax(run.values[-1], -1)

    def score() -> Any:
        answers = [
            answer(copies, sharding.shard(mesh, pixels[first : first + case.batch]))
            for first in range(0, count, case.batch)
        ]
        return np.concatenate(sharding.fetch(answers))

    seconds = alternate({"whole": partial(timed, score)}, effort)["whole"]
    return {
        "seconds": figures(seconds),
        "images_per_second": float(f"{count / median(seconds):.4g}"),
    }


def _still(params: NeuronParams, shape: tuple[int, ...]) -> jax.Array:
    del params
    return jnp.zeros(shape)


def _delay(
    params: NeuronParams, state: jax.Array, current: jax.Array
) -> tuple[jax.Array, jax.Array]:
    del params
    return current, state


DELAY = NeuronModel(_still, _delay)
"""In the place of a neuron: hands on the last current, so that no product is the same twice."""


def machine(size: int, effort: Effort) -> dict[str, float]:
    """What the machine can do: products per second of a square product, bytes per second of a
    pass over a large array, both compiled as in a simulation.
    """
    square = jnp.full((size, size), 0.5)
    product = build(partial(jnp.dot, precision=jax.lax.Precision.HIGHEST), square, square)
    long = jnp.ones(16 * size**2)
    passed = build(lambda x: x + 1, long)
    seconds = alternate(
        {"product": partial(timed, product.run), "pass": partial(timed, passed.run)}, effort
    )
    return {
        "macs_per_second": size**3 / min(seconds["product"]),
        "bytes_per_second": 2 * long.nbytes / min(seconds["pass"]),
    }


def profile(
    case: Case, neuron: str, effort: Effort, able: dict[str, float], chunk_steps: int = 1
) -> dict[str, Any]:
    """Seconds of a batch with parts left out, and the least that they could take.

    The floor of products is their number at the machine's best rate; that of neurons is the
    bytes that they must read and write, as if nothing stayed in a cache, so that small networks
    may be below it.
    """
    network = known_networks.find(case.network)
    params, images = convert(network, cases.draw(network)), cases.draw_images(network, case.batch)

    def built(model: NeuronModel, read: readout.Readout) -> Any:
        run = partial(
            simulate, network, num_steps=case.num_steps, neuron=model, readout=read,
            chunk_steps=chunk_steps,
        )  # fmt: skip
        return partial(timed, build(run, params, images).run)

    def called() -> Any:
        return jax.block_until_ready(simulate(
            network, params, images, num_steps=case.num_steps, neuron=NEURONS[neuron],
            chunk_steps=chunk_steps,
        ))  # fmt: skip

    seconds = alternate(
        {
            "whole": built(NEURONS[neuron], readout.ACCUMULATE),
            "without readout": built(NEURONS[neuron], readout.CURRENT),
            "without neurons and readout": built(DELAY, readout.CURRENT),
            "whole, called from Python": partial(timed, called),
        },
        effort,
    )
    took = {name: median(found) for name, found in seconds.items()}
    found = find_synapses(network, params, images.shape[1:])
    macs = case.batch * sum(s.dense * (1 if s.in_stem else case.num_steps) for s in found.values())
    shapes = simulate(network, params, images, num_steps=1).neurons
    cells = case.batch * case.num_steps * sum(int(count) for count in shapes.values())
    traffic = 4 * cells * ARRAYS[neuron]
    return {
        "seconds": {name: figures(times) for name, times in seconds.items()},
        "parts": {
            "products": took["without neurons and readout"],
            "neurons": round(took["without readout"] - took["without neurons and readout"], 6),
            "readout": round(took["whole"] - took["without readout"], 6),
        },
        "macs": macs,
        "neuron_bytes": traffic,
        "floors": {
            "products": float(f"{macs / able['macs_per_second']:.4g}"),
            "neurons": float(f"{traffic / able['bytes_per_second']:.4g}"),
        },
        **{name: float(f"{value:.4g}") for name, value in able.items()},
    }
