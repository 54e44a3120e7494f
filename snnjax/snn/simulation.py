"""The spiking simulation: one compiled scan over timesteps, one or several at once.

Time goes first in the scan and layers second; with several timesteps at once it is the other way
round inside each of these chunks, with the same spikes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.networks import synapse
from snnjax.snn import spiking
from snnjax.snn.encoding import CONSTANT, Encoding
from snnjax.snn.neuron import EXACT_CHARGE, NeuronModel
from snnjax.snn.noise import Noise, corrupt
from snnjax.snn.readout import ACCUMULATE, Readout

__all__ = [
    "Course",
    "Observer",
    "Simulation",
    "all_pre_steps",
    "before_answers",
    "check",
    "choose_chunk",
    "course",
    "frame",
    "image_keys",
    "light_until",
    "prepare",
    "ready",
    "simulate",
    "weights_of",
]

Params = dict[str, Any]

NOISE = 2**32 - 1
"""Folded into the key of the noise; no image has this place in a data set."""


TOGETHER = 64
"""Frames at once, timesteps by images, up to which larger products win over more memory."""

FEW_IMAGES = 2
"""Images at once up to which every network is faster with several timesteps at once."""

HEAVY = 2**20
"""Weights of a network from which they do not stay in a core's cache."""

MANY = 128
"""Frames in all from which it pays to prepare the layers for them."""

Body = Callable[[Any, jax.Array], tuple[Any, Any]]

Observer = jax.tree_util.Partial
"""observe(frame, spikes by path) -> pytree; its bound arrays are traced, so that two observers of
one function share a compilation."""


class Simulation(NamedTuple):
    """What a network said and did.

    values: `[T, B, K]` the readout after every timestep; the largest is the answer. Zeros
      in pre-steps, which give none.
    spikes: `[T, B]` hidden spikes of either sign up to and with each timestep, all layers.
    layer_spikes: `[B]` spikes of either sign over all timesteps, by path of the layer.
    neurons: number of hidden neurons, by path of the layer.
    recording: `[T, B, ...]` every spike by path, or what an observer made of each timestep;
      None where none was asked for.
    """

    values: jax.Array
    spikes: jax.Array
    layer_spikes: dict[str, jax.Array]
    neurons: dict[str, jax.Array]
    recording: Any


def simulate(
    network: arch.Network,
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
) -> Simulation:
    """Show images to a spiking network for `num_steps` timesteps, pre-steps included.

    Memory does not grow with `num_steps` but for the small `[T, B, K]` of the result, unless
    a recording is asked for, or all timesteps are computed at once. Every number in `params`,
    the images, the key and `first` are traced, so `jax.vmap` runs over them in one compilation.

    Randomness: image i draws from fold_in(key, first + i) and timestep t from its own
    fold of that, so a draw depends on neither the batch size nor the other images.

    Args:
      network: the architecture; static.
      params: what `conversion.convert` returned.
      images: floats `[B, H, W, C]`, in the range that the ANN was trained on.
      num_steps: T, at least 1, and above the number of all pre-steps; static.
      neuron: the neuron of every hidden layer; static.
      encoding: how images become input; static.
      readout: how the last layer's current becomes values; static.
      key: for an encoding that draws, and for noise.
      first: index of the first image among all that share `key`.
      noise: what corrupts the images before they are encoded; None for clean ones.
      pre_steps: timesteps to run before the ones that give an answer, for neurons that then
        revise where they start: once, or for each layer in turn. Static.
      shown_steps: timesteps for which the input and all biases flow; after them the network
        settles and falls silent. With constant input and initial = 1/2 it then says exactly
        what the ANN says with its activations quantised to so many levels. 0 for all
        timesteps. Only with EXACT_CHARGE. Static.
      record: keep every spike, at a cost of T times the neurons; or an observer, whose answer
        to each timestep is kept instead.
      chunk_steps: how many timesteps a layer computes before the next layer does: 1 goes through
        time first, `num_steps` through the layers first, with the spikes of so many timesteps in
        memory. The spikes are the same, but where rounding decides. Static; None for
        `choose_chunk`, and for the layers before `light_until` one by one where there are more than
        two images.

    Raises:
      ValueError: if `num_steps` is below 1 or no step is left behind the pre-steps, these are
        asked of a neuron that revises nothing, `shown_steps` of one that does not settle,
        `params` are not converted, images are no finite floats of four axes or do not fit the
        parameters, a key is missing, the readout lacks its scale, or `chunk_steps` is
        below 1.
    """
    check(
        network, params, images, num_steps=num_steps, neuron=neuron, encoding=encoding, key=key,
        pre_steps=pre_steps, shown_steps=shown_steps,
    )  # fmt: skip
    first_alone, batch = False, jnp.shape(images)[0]
    if chunk_steps is None:
        chunk_steps = choose_chunk(batch, num_steps, weights_of(params["layers"]))
        first_alone = chunk_steps > 1 and batch > FEW_IMAGES
    if chunk_steps < 1:
        raise ValueError(f"chunk_steps is {chunk_steps}; want at least 1 timestep at once")
    return _simulate(
        params, images, key, first, noise,
        Observer(_spikes) if record is True else record or None,
        network=network, num_steps=int(num_steps), neuron=neuron, encoding=encoding,
        readout=readout, pre_steps=int(pre_steps), shown_steps=min(shown_steps, num_steps),
        chunk_steps=int(chunk_steps), first_alone=first_alone,
    )  # fmt: skip


def prepare(network: arch.Network, params: Params) -> Params:
    """The parameters with what is worth computing once for many calls of `simulate`.

    On a CPU these are kernels as Winograd's algorithm needs them, beside the kernels themselves:
    up to 2.8 times the memory. A call of `simulate` computes them for itself where it has enough
    images to show, and else does without; so this is for many calls with a few images. What
    changes a kernel comes before it. The spikes are the same, but where rounding decides.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.

    Raises:
      KeyError: if the parameters are of another network.
    """
    return {**params, "layers": spiking.prepared(network.layers, params["layers"])}


def ready(network: arch.Network, params: Params, batch: Any, num_steps: int) -> Params:
    """The parameters with their layers as `batch` images for `num_steps` timesteps want them."""
    if isinstance(batch, int) and batch * num_steps >= MANY:  # not known yet in an export
        return prepare(network, params)
    return params


def choose_chunk(batch_size: int, num_steps: int, weights: int) -> int:
    """How many timesteps a layer is to compute at once, by batch, T and the size of the network.

    Up to TOGETHER frames at once larger products win, since a small batch reads every weight for
    little work; from there on they gain nothing, and memory grows. So a batch of that size, or
    of one that is not known yet, goes through time step by step. Where the weights stay in a cache
    there is little to win but for one or two images, and more to lose to the spikes, which do not.

    Choice: measured on two CPU cores; `experiments/throughput` measures it again.

    Args:
      batch_size: B.
      num_steps: T.
      weights: how many numbers all kernels hold; see `weights_of`.

    Raises:
      Nothing.
    """
    if not isinstance(batch_size, int):  # in a program that is exported for any batch
        return 1
    if batch_size > FEW_IMAGES and weights < HEAVY:
        return 1
    return max(1, min(num_steps, TOGETHER // batch_size))


def light_until(network: arch.Network, layers: Params, shapes: dict[str, tuple[int, ...]]) -> int:
    """How many layers come before those that have more weights than TOGETHER frames have neurons.

    Several timesteps at once read each weight once for all, and keep the spikes of all: behind
    this place the first are more, before it the second.

    Args:
      network: the architecture.
      layers: the "layers" of `conversion.convert`.
      shapes: of each layer of neurons for one image, by path.

    Raises:
      Nothing.
    """
    place, weights = 0, 0
    for at, (name, _) in enumerate(arch.named(network.layers)):
        weights += weights_of({name: layers.get(name, {})})
        own = [shape for path, shape in shapes.items() if f"{path}/".startswith(f"{name}/")]
        neurons = sum(map(math.prod, own))
        follows = place == at and not weights  # a pooling, or neurons behind a block
        if follows or 0 < weights < TOGETHER * neurons:
            place = at + 1
        if own:
            weights = 0
    return place


def weights_of(params: Params) -> int:
    """How many numbers all kernels of a pytree hold."""
    named = jax.tree_util.tree_flatten_with_path(params)[0]
    names = (getattr(path[-1], "key", getattr(path[-1], "name", "")) for path, _ in named)
    return sum(
        np.size(leaf) for name, (_, leaf) in zip(names, named, strict=True) if name == "kernel"
    )


def check(
    network: arch.Network,
    params: Params,
    images: ArrayLike,
    *,
    num_steps: int,
    neuron: NeuronModel,
    encoding: Encoding,
    key: jax.Array | None,
    pre_steps: int,
    shown_steps: int,
) -> None:
    """Refuse what cannot be simulated; the arguments are those of `simulate`.

    Raises:
      ValueError: as `simulate` raises it, but for shapes that do not fit the parameters.
    """
    if not isinstance(num_steps, int | np.integer) or num_steps < 1:
        raise ValueError(f"num_steps is {num_steps!r}; want a whole number of at least 1")
    if not {"gain", "layers", "output_leak"} <= set(params):
        raise ValueError(
            f"params holds {', '.join(sorted(params))}; want gain, layers and output_leak, which"
            " convert returns"
        )
    all_pre_steps(network, neuron, pre_steps, num_steps)
    if shown_steps < 0 or (shown_steps and neuron is not EXACT_CHARGE):
        raise ValueError(
            f"shown_steps is {shown_steps}; want 0, or at least 1 with the exact-charge neuron,"
            " whose counts settle when the input has ended"
        )
    if encoding.needs_key and key is None:
        raise ValueError("this encoding draws spikes at random; pass key=jax.random.key(seed)")
    _check_images(images)


def all_pre_steps(
    network: arch.Network, neuron: NeuronModel, pre_steps: int, num_steps: int
) -> int:
    """How many of `num_steps` timesteps pass before the first that gives an answer.

    Raises:
      ValueError: if `pre_steps` is negative, the neuron revises nothing, or no timestep is
        left.
    """
    if pre_steps < 0 or (pre_steps and neuron.revise is None):
        raise ValueError(
            f"pre_steps is {pre_steps}; want 0, or at least 1 with a neuron that revises its"
            " start, such as residual-mask or offset"
        )
    before = pre_steps * (len(arch.activations(network)) if neuron.in_turn else 1)
    if before >= num_steps:
        raise ValueError(
            f"num_steps is {num_steps}, and {before} of them are pre-steps; want more than that"
        )
    return before


def image_keys(key: jax.Array, first: ArrayLike, batch_size: int) -> jax.Array:
    """One key for each image, `[B]`: fold_in(key, first + i)."""
    return jax.vmap(partial(jax.random.fold_in, key))(jnp.asarray(first) + jnp.arange(batch_size))


def frame(
    key: jax.Array | None,
    images: jax.Array,
    gain: ArrayLike,
    t: ArrayLike,
    *,
    encoding: Encoding,
    first: ArrayLike = 0,
    noise: Noise | None = None,
) -> jax.Array:
    """What the first layer is shown at timestep t: the images, corrupted and then encoded.

    The noise draws from keys of its own, fold_in(key, NOISE) in the place of `key`.

    Args:
      key: None where nothing is drawn.
      images: `[B, H, W, C]`.
      gain: c of eq. 17.
      t: the timestep, from 0.
      encoding: how an image becomes input.
      first: index of the first image among all that share `key`.
      noise: None for clean images.

    Raises:
      ValueError: if a key is missing for the noise.
    """
    if noise is not None:
        if key is None:
            raise ValueError("noise is drawn at random; pass key=jax.random.key(seed)")
        own = image_keys(jax.random.fold_in(key, NOISE), first, images.shape[0])
        images = corrupt(own, images, noise, t)
    keys = None if key is None else image_keys(key, first, images.shape[0])
    return encoding.encode(keys, images, gain, t)


def _check_images(images: ArrayLike) -> None:
    shape, dtype = jnp.shape(images), jnp.result_type(images)
    if len(shape) != 4 or 0 in shape:
        raise ValueError(f"images have shape {shape}; want [B, H, W, C] with nothing empty")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"images are {dtype}; want floats, so divide bytes by 255")
    finite = (jnp if isinstance(images, jax.Array) else np).isfinite(images).all()  # where they are
    if not isinstance(finite, jax.core.Tracer) and not finite:
        raise ValueError("images hold NaN or Inf; want finite pixels")


@partial(
    jax.jit,
    static_argnames=(
        "network",
        "num_steps",
        "neuron",
        "encoding",
        "readout",
        "pre_steps",
        "shown_steps",
        "chunk_steps",
        "first_alone",
    ),
)
def _simulate(
    params: Params,
    images: jax.Array,
    key: jax.Array | None,
    first: ArrayLike,
    noise: Noise | None,
    observe: Observer | None,
    *,
    network: arch.Network,
    num_steps: int,
    neuron: NeuronModel,
    encoding: Encoding,
    readout: Readout,
    pre_steps: int,
    shown_steps: int,
    chunk_steps: int,
    first_alone: bool,
) -> Simulation:
    params = ready(network, params, images.shape[0], num_steps)
    run = course(
        params, images, key, first, noise, network=network, neuron=neuron, encoding=encoding,
        readout=readout, shown_steps=shown_steps, observe=observe, first_alone=first_alone,
    )  # fmt: skip
    carry, given = before_answers(run, network, neuron, pre_steps, chunk_steps)
    done, end = sum(len(total) for _, total, _ in given), shown_steps or num_steps
    for body, place in ((run.show, range(done, end)), (run.settle, range(end, num_steps))):
        carry, answered = _in_chunks(body, carry, place, chunk_steps)
        given += answered
    values, total, recording = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *given)
    sizes = {path: jnp.asarray(math.prod(shape), jnp.int32) for path, shape in run.shapes.items()}
    return Simulation(values, total, carry[-1], sizes, recording)


def _in_chunks(body: Body, carry: Any, place: range, chunk_steps: int) -> tuple[Any, list[Any]]:
    """Run a body over timesteps, so many at once, and those left over; returns what it gave."""
    whole = len(place) // chunk_steps * chunk_steps
    times, parts = jnp.asarray(place), []
    if whole:
        carry, given = jax.lax.scan(body, carry, times[:whole].reshape(-1, chunk_steps))
        parts.append(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), given))
    if whole < len(place):
        carry, given = body(carry, times[whole:])
        parts.append(given)
    return carry, parts


class Course(NamedTuple):
    """How a simulation goes: where it starts, and what a timestep does.

    layers: numbers of the layers, by name.
    shapes: of each layer of neurons for one image, by path.
    start: neurons, readout and spikes so far, before the first timestep: the carry of a scan.
    show: body of that scan while the input lasts, for timesteps `[T]` at once; it gives the values
      `[T, B, K]`, the hidden spikes of either sign so far `[T, B]`, and what the observer made of
      each timestep or None.
    settle: its body after the input has ended.
    """

    layers: Params
    shapes: dict[str, tuple[int, ...]]
    start: Any
    show: Body
    settle: Body


def course(
    params: Params,
    images: jax.Array,
    key: jax.Array | None,
    first: ArrayLike,
    noise: Noise | None,
    *,
    network: arch.Network,
    neuron: NeuronModel,
    encoding: Encoding,
    readout: Readout,
    shown_steps: int,
    observe: Observer | None = None,
    first_alone: bool = False,
) -> Course:
    """What `simulate` runs; its arguments are those of `simulate`, `observe` for its `record`.

    With `first_alone`, of several timesteps at once the layers before `light_until` compute one
    after the other.
    """
    layers, batch = params["layers"], images.shape[0]
    if shown_steps:
        layers = spiking.bounded(layers, shown_steps)
    shapes = spiking.neurons(network, layers, images.shape[1:])
    seen = partial(
        frame, key, images, params["gain"], encoding=encoding, first=first, noise=noise
    )  # fmt: skip

    by_counts, kept = spiking.goes_by_counts(network, layers, neuron), neuron.late or neuron
    start, still = 0, None  # type: int, Any
    if not encoding.varies and noise is None:  # the first current is the same at every step
        start = spiking.split_stem(network.layers)
        stem = arch.Network(network.name, network.layers[:start])
        _, still, _ = spiking.step(stem, layers, neuron, {}, seen(0))

    place = light_until(network, layers, shapes) if first_alone else 0

    def run(
        part: arch.Network, begin: int, of_now: Params, state: Any, x: jax.Array, elapsed: jax.Array
    ) -> tuple[Any, jax.Array, Any]:
        if by_counts:
            state, x, spikes = spiking.steps_by_counts(
                part, of_now, neuron, state, x, elapsed, start=begin
            )
        else:
            state, x, spikes = spiking.steps(part, of_now, kept, state, x, start=begin)
        counts = {path: _count(of) for path, of in spikes.items()}
        return state, x, (counts, spikes if observe is not None else {})

    def through(of_now: Params, state: Any, x: jax.Array, elapsed: jax.Array) -> Any:
        if place <= start or len(x) == 1:
            return run(network, start, of_now, state, x, elapsed)
        front = arch.Network(network.name, network.layers[:place])

        def alone(state: Any, at: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
            state, *given = run(front, start, of_now, state, *(of[None] for of in at))
            return state, jax.tree.map(lambda of: of[0], given)

        before = {path: state[path] for path in arch.activations(front)}
        behind = {path: of for path, of in state.items() if path not in before}
        before, (x, found) = jax.lax.scan(alone, before, (x, elapsed))
        behind, x, more = run(network, place, of_now, behind, x, elapsed)
        return {**before, **behind}, x, [a | b for a, b in zip(found, more, strict=True)]

    def stepped(state: Any, x: jax.Array, times: jax.Array, shown: bool) -> Any:
        return through(layers if shown else spiking.quiet(layers), state, x, times)

    def counted(state: _Ledger, x: jax.Array, times: jax.Array, shown: bool) -> Any:
        elapsed = jnp.minimum(times + 1, shown_steps or np.inf).astype(x.dtype)
        if still is not None:
            seen_so_far = elapsed.reshape(-1, *[1] * still.ndim) * still
        else:
            seen_so_far = state.frames + jnp.cumsum(x, 0)
        sent, reached, found = through(layers, state.sent, seen_so_far, elapsed)
        before = jnp.concatenate([state.reached[None], reached[:-1]])
        after = _Ledger(sent, reached[-1], None if still is not None else seen_so_far[-1])
        return after, reached - before, found

    def advance(carry: Any, frames: jax.Array, times: jax.Array, shown: bool) -> tuple[Any, Any]:
        state, out, counts = carry
        x = frames
        if still is not None:
            x = jnp.broadcast_to(still * shown, (len(times), *still.shape))
        state, currents, (sent, spikes) = (counted if by_counts else stepped)(
            state, x, times, shown
        )
        out, values = jax.lax.scan(partial(readout.step, params), out, currents)
        before = sum(counts.values(), jnp.zeros(batch, jnp.int32))
        total = before + sum((jnp.cumsum(n, 0) for n in sent.values()), jnp.zeros_like(before))
        counts = {path: counts[path] + n.sum(0) for path, n in sent.items()}
        observed = None
        if observe is not None:
            maps = {path: s.reshape(*s.shape[:2], *shapes[path]) for path, s in spikes.items()}
            observed = jax.lax.map(lambda of: observe(*of), (frames, maps))
        return (state, out, counts), (values, total, observed)

    def show(carry: Any, times: jax.Array) -> tuple[Any, Any]:
        return advance(carry, jax.vmap(seen)(times), times, True)

    def settle(carry: Any, times: jax.Array) -> tuple[Any, Any]:
        dark = jnp.zeros((len(times), *images.shape), images.dtype)
        return advance(carry, dark, times, False)

    logits = jax.eval_shape(partial(spiking.limit, network, params), images)
    if by_counts:
        state: Any = _Ledger(
            {path: jnp.zeros((batch, *synapse.rows(shape))) for path, shape in shapes.items()},
            jnp.zeros(logits.shape),
            jnp.zeros_like(images) if still is None else None,
        )
    else:
        state = spiking.init(shapes, layers, kept, batch)
    counts = {path: jnp.zeros(batch, jnp.int32) for path in shapes}
    return Course(layers, shapes, (state, readout.init(params, logits.shape), counts), show, settle)


class _Ledger(NamedTuple):
    """What a simulation by counts keeps: the net count of each neuron by path, in the layout of
    `synapse.rows`, the sum of the current into the readout `[B, K]`, and that of all frames, None
    where they are the same.
    """

    sent: dict[str, jax.Array]
    reached: jax.Array
    frames: Any


def before_answers(
    run: Course, network: arch.Network, neuron: NeuronModel, pre_steps: int, chunk_steps: int = 1
) -> tuple[Any, list[Any]]:
    """The carry behind all pre-steps, with revised neurons, and what each run of them gave."""
    state, out, counts = run.start
    done, parts = 0, []
    for revised in _rounds(network, neuron, pre_steps):
        (after, _, counts), given = _in_chunks(
            run.show, (state, out, counts), range(done, done + pre_steps), chunk_steps
        )
        parts += [(jnp.zeros_like(values), *others) for values, *others in given]
        for path in revised:
            numbers = spiking.laid_out(run.layers, path, run.shapes[path])
            again = neuron.revise(spiking.neuron_params(numbers), after[path])  # type: ignore[misc]
            state = {**state, path: again}
        done += pre_steps
    return (state, out, counts), parts


def _rounds(network: arch.Network, neuron: NeuronModel, pre_steps: int) -> list[list[str]]:
    """The layers that are revised after each run of pre-steps."""
    paths = list(arch.activations(network))
    if not pre_steps:
        return []
    return [[path] for path in paths] if neuron.in_turn else [paths]


def _spikes(shown: jax.Array, spikes: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The observer that keeps every spike."""
    del shown
    return spikes


def _count(spikes: jax.Array) -> jax.Array:
    """Spikes of either sign of each image at each timestep, `[T, B]`."""
    return jnp.sum(jnp.abs(spikes), axis=tuple(range(2, spikes.ndim))).astype(jnp.int32)
