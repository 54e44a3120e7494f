"""The spiking simulation: one compiled scan over timesteps."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.networks.architecture import Network
from snnjax.runtime.checks import check_name
from snnjax.snn import plain
from snnjax.snn.encoding import CONSTANT, Encoding
from snnjax.snn.engine import Carry, Loop, Observer, Outputs, SpikingFunction, Task, neuron_shapes
from snnjax.snn.fast.chunks import choose_chunk, count_weights, prepare_kernels_for
from snnjax.snn.fast.loop import make_loop as make_fast_loop
from snnjax.snn.neurons import EXACT_CHARGE, NeuronModel
from snnjax.snn.noise import Noise
from snnjax.snn.readout import ACCUMULATE, Readout
from snnjax.snn.stimulus import Stimulus, make_stimulus

__all__ = [
    "ENGINES",
    "Simulation",
    "check",
    "check_shown_steps",
    "count_pre_steps",
    "run_pre_steps",
    "simulate",
]

Params = dict[str, Any]

ENGINES = {"fast": make_fast_loop, "plain": plain.make_loop}
"""Engines by name, each a function that makes the `engine.Loop` of a simulation."""


class Simulation(NamedTuple):
    """Result of a simulation.

    values: `[T, B, K]` values of the readout after every timestep; `answers.classify` gives the
      answer. Zeros in pre-steps, which give no answer.
    spikes: `[T, B]` spike count of all hidden layers, both signs, up to and including each
      timestep.
    layer_spikes: `[B]` spike count over all timesteps, both signs, by path of the layer.
    neurons: number of hidden neurons, by path of the layer.
    recording: `[T, B, ...]` all spikes by path, or the results of the observer at each timestep;
      None without a recording.
    """

    values: jax.Array
    spikes: jax.Array
    layer_spikes: dict[str, jax.Array]
    neurons: dict[str, jax.Array]
    recording: Any


def simulate(
    network: SpikingFunction,
    params: Params,
    images: ArrayLike,
    *,
    num_steps: int,
    neuron: NeuronModel = EXACT_CHARGE,
    encoding: Encoding = CONSTANT,
    readout: Readout = ACCUMULATE,
    key: jax.Array | None = None,
    first: ArrayLike = 0,
    noise: Noise | None = None,
    pre_steps: int = 0,
    shown_steps: int = 0,
    record: bool | Observer = False,
    chunk_steps: int | None = None,
    engine: Literal["fast", "plain"] = "fast",
) -> Simulation:
    """Show images to a spiking network for `num_steps` timesteps, pre-steps included.

    Apart from the small result `[T, B, K]`, memory does not grow with `num_steps`, unless spikes
    are recorded or `chunk_steps` grows too. All arrays in `params`, the images, the key and
    `first` are traced, so `jax.vmap` runs over them in one compilation.

    Randomness: image i has the key fold_in(key, first + i), and every timestep folds its index
    into that key, so a draw depends on neither the batch size nor the other images.

    Args:
      network: the architecture; static.
      params: what `conversion.convert` returned.
      images: floats `[B, H, W, C]`, in the range that the ANN was trained on.
      num_steps: T, at least 1, and above the number of all pre-steps; static.
      neuron: the neuron of every hidden layer; static.
      encoding: how images become input; static.
      readout: how the last layer's current becomes values; static.
      key: key for random encodings and for noise.
      first: index of the first image among all that share `key`.
      noise: corruption of the images before they are encoded; None for clean ones.
      pre_steps: number of timesteps before the first answer, after which neurons revise their
        initial state: all layers at once, or each layer after its own pre-steps. Static.
      shown_steps: number of timesteps with input and biases; afterwards the network settles and
        stops firing. With constant input and initial = 1/2, the summed current is then
        exactly `shown_steps` times the logits of the ANN with activations quantised to
        `shown_steps` levels; ACCUMULATE divides it by all timesteps. 0 for all timesteps;
        otherwise only for a neuron that settles, such as EXACT_CHARGE. Static.
      record: True to keep all spikes, in memory for T times the neurons; or an observer, whose
        result at each timestep is kept instead.
      chunk_steps: number of timesteps that a layer computes before the next layer does: 1 is
        time-major, `num_steps` layer-major, with the spikes of that many timesteps in memory. The
        spikes are the same, except where rounding decides. Static; None for
        `fast.chunks.choose_chunk`.
      engine: "fast", or "plain", the definition that "fast" is tested against. Static.

    Raises:
      ValueError: if `num_steps` or `chunk_steps` is below 1, no timestep is left after the
        pre-steps, the neuron has no pre-steps or does not settle although `pre_steps` or
        `shown_steps` is given, `params` are not converted, images are not finite floats
        `[B, H, W, C]` or do not fit the parameters, a key or the scale of the readout is
        missing, or the engine is unknown.
    """
    check_name("engine", engine, ENGINES)
    if engine == "fast" and not isinstance(network, Network):
        raise ValueError(
            f"the fast engine simulates a Network of layers, and {network.name!r} is a"
            f" {type(network).__name__}; pass engine='plain'"
        )
    task = Task(network, neuron, encoding, readout, shown_steps)
    check(task, params, images, num_steps=num_steps, pre_steps=pre_steps, key=key)
    task = task._replace(shown_steps=min(int(shown_steps), int(num_steps)))
    if chunk_steps is None:
        chunk_steps = choose_chunk(jnp.shape(images)[0], num_steps, count_weights(params["layers"]))
    if chunk_steps < 1:
        raise ValueError(f"chunk_steps is {chunk_steps}; want at least 1 timestep at once")
    return _simulate(
        params, make_stimulus(network, images, key, first, noise),
        Observer(_every_spike) if record is True else record or None,
        task=task, num_steps=int(num_steps), pre_steps=int(pre_steps),
        chunk_steps=int(chunk_steps), engine=engine,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("task", "num_steps", "pre_steps", "chunk_steps", "engine"))
def _simulate(
    params: Params,
    stimulus: Stimulus,
    observe: Observer | None,
    *,
    task: Task,
    num_steps: int,
    pre_steps: int,
    chunk_steps: int,
    engine: str,
) -> Simulation:
    shapes = neuron_shapes(task.network, params["layers"], stimulus.images.shape[1:])
    if engine == "fast":
        params = prepare_kernels_for(task.network, params, stimulus.images.shape[0], num_steps)
    loop = ENGINES[engine](params, stimulus, task, observe)
    carry, outputs = run_pre_steps(loop, task, pre_steps, chunk_steps)
    done = count_pre_steps(task.network, task.neuron, pre_steps, num_steps)
    end = task.shown_steps or num_steps
    for steps, shown in ((range(done, end), True), (range(max(done, end), num_steps), False)):
        carry, more = _in_chunks(loop, carry, steps, shown, chunk_steps)
        outputs += more
    values, spikes, recording = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *outputs)
    sizes = {path: jnp.asarray(math.prod(shape), jnp.int32) for path, shape in shapes.items()}
    return Simulation(values, spikes, carry.counts, sizes, recording)


def _in_chunks(
    loop: Loop, carry: Carry, steps: range, shown: bool, chunk_steps: int
) -> tuple[Carry, list[Outputs]]:
    """Run timesteps in chunks, and the remaining ones in a smaller chunk."""
    whole = len(steps) // chunk_steps * chunk_steps
    times, outputs = jnp.asarray(steps), []
    if whole:
        carry, chunks = jax.lax.scan(
            lambda carry, of: loop.body(carry, of, shown), carry,
            times[:whole].reshape(-1, chunk_steps),
        )  # fmt: skip
        outputs.append(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), chunks))
    if whole < len(steps):
        carry, rest = loop.body(carry, times[whole:], shown)
        outputs.append(rest)
    return carry, outputs


def run_pre_steps(
    loop: Loop, task: Task, pre_steps: int, chunk_steps: int = 1
) -> tuple[Carry, list[Outputs]]:
    """Run all pre-steps; return the carry with revised neurons, and the outputs.

    Every round of pre-steps starts from the initial state of the readout and of the neurons, as
    revised so far; spike counts carry on. Values are zeros.
    """
    sites = tuple(loop.shapes)
    rounds = tuple((path,) for path in sites) if task.neuron.in_turn else (sites,)
    carry, outputs = loop.carry, []
    for number, revised in enumerate(rounds if pre_steps else ()):
        steps = range(number * pre_steps, (number + 1) * pre_steps)
        after, found = _in_chunks(loop, carry, steps, True, chunk_steps)
        outputs += [of._replace(values=jnp.zeros_like(of.values)) for of in found]
        neurons = loop.revise(carry.neurons, after.neurons, revised)
        carry = Carry(neurons, loop.carry.readout, after.counts)
    return carry, outputs


def check(
    task: Task,
    params: Params,
    images: ArrayLike,
    *,
    num_steps: int,
    pre_steps: int,
    key: jax.Array | None,
) -> None:
    """Check the arguments of `simulate`.

    Raises:
      ValueError: as in `simulate`, except for shapes that do not fit the parameters.
    """
    if not isinstance(num_steps, int | np.integer) or num_steps < 1:
        raise ValueError(f"num_steps is {num_steps!r}; want a whole number of at least 1")
    if not {"gain", "layers", "output_leak"} <= set(params):
        raise ValueError(
            f"params holds {', '.join(sorted(params))}; want gain, layers and output_leak, which"
            " convert returns"
        )
    if _lacks_leak(params["layers"]):
        raise ValueError(
            "a layer of neurons has no leak; use snnjax.snn.engine.with_leaks on the layers of a"
            " file"
        )
    count_pre_steps(task.network, task.neuron, pre_steps, num_steps)
    check_shown_steps(task.neuron, task.shown_steps)
    if task.encoding.needs_key and key is None:
        raise ValueError("this encoding draws spikes at random; pass key=jax.random.key(seed)")
    _check_images(images)


def _lacks_leak(layers: Params) -> bool:
    """True if the parameters of some neurons have no `leak`, not even None."""
    inner = [value for value in layers.values() if isinstance(value, dict)]
    return ("positive" in layers and "leak" not in layers) or any(map(_lacks_leak, inner))


def _check_images(images: ArrayLike) -> None:
    shape, dtype = jnp.shape(images), jnp.result_type(images)
    if len(shape) != 4 or 0 in shape:
        raise ValueError(f"images have shape {shape}; want [B, H, W, C] with no empty axis")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"images are {dtype}; want floats, so divide bytes by 255")
    finite = (jnp if isinstance(images, jax.Array) else np).isfinite(images).all()  # no transfer
    if not isinstance(finite, jax.core.Tracer) and not finite:
        raise ValueError("images hold NaN or Inf; want finite pixels")


def check_shown_steps(neuron: NeuronModel, shown_steps: int) -> None:
    """Check that a neuron can do without input after `shown_steps` timesteps.

    Raises:
      ValueError: if `shown_steps` is negative, or not 0 for a neuron that does not settle.
    """
    if shown_steps < 0 or (shown_steps and not neuron.settles):
        raise ValueError(
            f"shown_steps is {shown_steps}; want 0, or at least 1 with the exact-charge neuron,"
            " whose counts settle when the input has ended"
        )


def count_pre_steps(
    network: SpikingFunction, neuron: NeuronModel, pre_steps: int, num_steps: int
) -> int:
    """Number of timesteps before the first answer.

    Raises:
      ValueError: if `pre_steps` is negative, the neuron has no pre-steps, or no timestep is
        left.
    """
    if pre_steps < 0 or (pre_steps and neuron.revise is None):
        raise ValueError(
            f"pre_steps is {pre_steps}; want 0, or at least 1 with a neuron that revises its"
            " initial state, such as residual-mask or offset"
        )
    before = pre_steps * (len(network.sites) if neuron.in_turn else 1)
    if before >= num_steps:
        raise ValueError(
            f"num_steps is {num_steps}, and {before} of them are pre-steps; want more timesteps"
        )
    return before


def _every_spike(frame: jax.Array, spikes: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Observer that keeps every spike."""
    del frame
    return spikes
