"""The spiking simulation: one compiled scan over timesteps."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks.architecture import Network
from snnjax.runtime.checks import check_count, check_name
from snnjax.snn import plain
from snnjax.snn.encoding import CONSTANT, Encoding
from snnjax.snn.engine import (
    Carry,
    Loop,
    Observer,
    Outputs,
    Simulation,
    SpikingFunction,
    Task,
    float32_params,
    neuron_shapes,
)
from snnjax.snn.fast.chunks import (
    choose_chunk,
    count_weights,
    prepare_kernels_for,
    skips_silent_inputs,
)
from snnjax.snn.fast.loop import make_loop as make_fast_loop
from snnjax.snn.function_simulation import ParametrisedFunction, function_task, simulate_function
from snnjax.snn.gradients import (
    check_readout,
    check_recording,
    choose_recomputed,
    scan_in_chunks,
    scan_recomputed,
)
from snnjax.snn.neurons import EXACT_CHARGE, NeuronModel
from snnjax.snn.noise import Noise
from snnjax.snn.readout import ACCUMULATE, Readout
from snnjax.snn.simulation_arguments import (
    check_arguments,
    check_network,
    check_shown_steps,
    count_pre_steps,
)
from snnjax.snn.stimulus import Stimulus, make_stimulus
from snnjax.snn.surrogates import Surrogate, differentiable
from snnjax.snn.whole_numbers import mark_inexact

__all__ = [
    "ENGINES",
    "Simulation",
    "check_shown_steps",
    "count_pre_steps",
    "run_pre_steps",
    "simulate",
]

Params = dict[str, Any]

ENGINES = {"fast": make_fast_loop, "plain": plain.make_loop}
"""Engines by name, each a function that makes the `engine.Loop` of a simulation."""


def simulate(
    network: SpikingFunction | ParametrisedFunction,
    params: Params | ArrayLike,
    images: ArrayLike | None = None,
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
    surrogate: Surrogate | None = None,
    kernel_parts: int | None = None,
) -> Simulation:
    """Show images to a spiking network for `num_steps` timesteps, pre-steps included.

    Call it as `simulate(network, params, images)`, or as `simulate(spiking, images)` with what
    `snnjax.spike` returned; then the values are the outputs of the function, any pytree of
    `[T, B, ...]`, the input lasts `spiking.function.input_steps` timesteps, and `readout`,
    `pre_steps`, `shown_steps`, `chunk_steps`, `engine` and `kernel_parts` have no meaning.

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
      surrogate: derivative of a spike, such as `surrogates.straight_through()`, for `jax.grad` with
        respect to `params`, or to the `params` of what `spike` returned; None for no gradient. The
        values of a network are the same to the bit for the same `chunk_steps`, those of what
        `spike` returned and of layers that skip silent inputs without it up to rounding.
        `chunk_steps` is then the number of timesteps that the backward pass keeps at once: memory
        grows with it, and it computes each chunk but the only one twice. None keeps all up to 8
        timesteps, and about half the square root of T beyond. Static.
      kernel_parts: number of bfloat16 numbers for a weight that multiplies spikes: 0 is float32, 1
        is for an integer network with weights up to 256, with the same spikes, and 3 hold any
        weight, but an accelerator may round their sums more than those of float32. Static; None
        for `fast.parts.choose_parts`, by the platform.

    Raises:
      ValueError: if `num_steps` or `chunk_steps` is below 1, no timestep is left after the
        pre-steps, the neuron has no pre-steps or does not settle although `pre_steps` or
        `shown_steps` is given, `params` are not converted, images are not finite floats
        `[B, H, W, C]` or do not fit the parameters, a key or the scale of the readout is
        missing, the engine is unknown, the neuron or the readout has no surrogate gradient, or
        `kernel_parts` is another number, or 1 would round weights.
    """
    observe = Observer(_every_spike) if record is True else record or None
    if surrogate is not None:
        neuron = differentiable(neuron, surrogate)
        check_readout(readout)
    if images is None:
        spiking, images = cast(ParametrisedFunction, network), cast(ArrayLike, params)
        unused = {
            "readout": readout is not ACCUMULATE, "pre_steps": pre_steps != 0,
            "shown_steps": shown_steps != 0, "engine": engine != "fast",
            "chunk_steps": chunk_steps is not None and surrogate is None,
            "kernel_parts": kernel_parts is not None,
        }  # fmt: skip
        task = function_task(spiking, neuron, encoding, unused)
        task = task._replace(gradient=surrogate is not None)
        stimulus = make_stimulus(network, images, key, first, noise)
        arguments = spiking.arguments
        return simulate_function(
            arguments, stimulus, observe, task=task, num_steps=num_steps, chunk_steps=chunk_steps
        )
    network, params = cast(SpikingFunction, network), cast(Params, params)
    check_name("engine", engine, ENGINES)
    check_network(network)
    if engine == "fast" and not isinstance(network, Network):
        raise ValueError(
            f"the fast engine simulates a Network of layers, and {network.name!r} is a"
            f" {type(network).__name__}; pass engine='plain'"
        )
    task, stimulus, num_steps, pre_steps = check_arguments(
        Task(
            network, neuron, encoding, readout, shown_steps, surrogate is not None, kernel_parts
        ), params, make_stimulus(network, images, key, first, noise), num_steps=num_steps,
        pre_steps=pre_steps,
    )  # fmt: skip
    if chunk_steps is None:
        chunk_steps = _choose_chunk(task, params, stimulus.images.shape[0], num_steps)
    return _simulate(
        params, stimulus, observe,
        task=task, num_steps=num_steps, pre_steps=pre_steps,
        chunk_steps=check_count("chunk_steps", chunk_steps), engine=engine,
    )  # fmt: skip


def _choose_chunk(task: Task, params: Params, batch_size: Any, num_steps: int) -> int:
    if task.gradient:
        return choose_recomputed(num_steps)
    return choose_chunk(
        batch_size, num_steps, count_weights(params["layers"]),
        skips_inputs=skips_silent_inputs(task.network, params, batch_size),
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
    params = float32_params(params)
    shapes = neuron_shapes(task.network, params["layers"], stimulus.images.shape[1:])
    if task.gradient and observe is not None and observe.func is _every_spike:
        check_recording(shapes, stimulus.images.shape[0], num_steps)
    if engine == "fast":
        params = prepare_kernels_for(task, params, stimulus.images.shape[0], num_steps)
    loop = ENGINES[engine](params, stimulus, task, observe)
    loop = mark_inexact(loop, params, stimulus.images, task.encoding, num_steps)
    carry, outputs = run_pre_steps(loop, task, pre_steps, chunk_steps)
    scan = scan_recomputed if task.gradient else scan_in_chunks
    done = count_pre_steps(task.network, task.neuron, pre_steps, num_steps)
    end = task.shown_steps or num_steps
    for steps, shown in ((range(done, end), True), (range(max(done, end), num_steps), False)):
        times = jnp.asarray(steps, jnp.int32)
        carry, more = scan(_shown_or_not(loop, shown), carry, times, chunk_steps)
        outputs += more
    values, spikes, recording = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *outputs)
    sizes = {path: jnp.asarray(math.prod(shape), jnp.int32) for path, shape in shapes.items()}
    return Simulation(values, spikes, carry.counts, sizes, recording)


def _shown_or_not(loop: Loop, shown: bool) -> Callable[[Carry, jax.Array], tuple[Carry, Outputs]]:
    """The body of a simulation for timesteps with input, or without."""
    return lambda carry, times: loop.body(carry, times, shown)


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
        times = jnp.arange(number * pre_steps, (number + 1) * pre_steps, dtype=jnp.int32)
        after, found = scan_in_chunks(_shown_or_not(loop, True), carry, times, chunk_steps)
        outputs += [of._replace(values=jnp.zeros_like(of.values)) for of in found]
        neurons = loop.revise(carry.neurons, after.neurons, revised)
        carry = Carry(neurons, loop.carry.readout, after.counts)
    return carry, outputs


def _every_spike(frame: jax.Array, spikes: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Observer that keeps every spike."""
    del frame
    return spikes
