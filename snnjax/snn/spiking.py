"""An architecture read as a spiking network: pure functions over a state of neurons."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnjax.networks import architecture as arch
from snnjax.networks import synapse
from snnjax.networks.activations import quantised_sth_leaky_relu, step_relu, sth_leaky_relu
from snnjax.snn.neuron import NeuronModel, NeuronParams

__all__ = [
    "activate",
    "bounded",
    "goes_by_counts",
    "init",
    "inside",
    "laid_out",
    "limit",
    "neuron_params",
    "neurons",
    "prepared",
    "propagate",
    "quiet",
    "rates",
    "split_stem",
    "step",
    "steps",
    "steps_by_counts",
]

Params = dict[str, Any]
State = dict[str, Any]
Spikes = dict[str, jax.Array]
Listener = Callable[[str, State, jax.Array], tuple[State, jax.Array]]


def split_stem(
    layers: tuple[arch.Layer, ...],
) -> int:
    """How many layers come before the first neurons; a constant input passes them once."""
    for place, layer in enumerate(layers):
        if isinstance(layer, arch.Activation | arch.Block):
            return place
    return len(layers)


def neurons(network: arch.Network, params: Params, image_shape: tuple[int, ...]) -> dict[str, Any]:
    """Shape of each layer of neurons for one image `(H, W, C)`, by path.

    Raises:
      ValueError: if images of that shape do not fit the parameters.
    """

    def currents(params: Params, images: jax.Array) -> Spikes:
        def listen(path: str, state: State, current: jax.Array) -> tuple[State, jax.Array]:
            return {**state, path: current}, current

        return propagate(network.layers, params, {}, images, "", listen)[0]

    try:
        shapes = jax.eval_shape(currents, params, jnp.zeros((1, *image_shape)))
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"images of shape {image_shape} do not fit the parameters of network"
            f" {network.name!r}: {str(error).splitlines()[0]}"
        ) from error
    return {path: leaf.shape[1:] for path, leaf in shapes.items()}


def init(
    shapes: dict[str, tuple[int, ...]], params: Params, model: NeuronModel, batch_size: int
) -> State:
    """Neurons at rest, by path, in the layout of `synapse.rows`.

    Args:
      shapes: of each layer for one image, by path, as `neurons` returns them.
      params: the "layers" of `conversion.convert`.
      model: the neuron of every layer.
      batch_size: B.

    Raises:
      KeyError: if the parameters are of another network.
    """
    return {
        path: model.init(
            neuron_params(laid_out(params, path, shape)), (batch_size, *synapse.rows(shape))
        )
        for path, shape in shapes.items()
    }


def step(
    network: arch.Network,
    params: Params,
    model: NeuronModel,
    state: State,
    x: jax.Array,
    *,
    start: int = 0,
) -> tuple[State, jax.Array, Spikes]:
    """One timestep through all layers; a spike passes every layer within the step.

    Source: He et al. 2024, figure 3.

    Args:
      network: the architecture.
      params: the "layers" of `conversion.convert`.
      model: the neuron of every layer.
      state: neurons by path, as `init` lays them out.
      x: input of layer `start`: encoded images, or the current that they cause.
      start: the layer to begin with.

    Returns:
      The next state, the current into the readout `[B, K]`, and spikes by path, laid out as it.

    Raises:
      AssertionError: while tracing, if `x` and the state differ in shape.
    """
    state, current, spikes = steps(network, params, model, state, x[None], start=start)
    return state, current[0], {path: sent[0] for path, sent in spikes.items()}


def steps(
    network: arch.Network,
    params: Params,
    model: NeuronModel,
    state: State,
    x: jax.Array,
    *,
    start: int = 0,
) -> tuple[State, jax.Array, Spikes]:
    """Several timesteps, layer by layer: each layer does all of them before the next begins.

    The spikes are those of `step` after `step`, since a layer listens to nothing behind it. Its
    product is one with the timesteps beside each other; only its neurons go through them in turn.
    The timesteps of an image lie together there, so that images shared among devices stay shared.

    Args:
      network: as in `step`, like all that follow.
      params: the "layers" of `conversion.convert`.
      model: the neuron of every layer.
      state: neurons by path.
      x: input of layer `start` at each timestep, `[T, B, ...]`.
      start: the layer to begin with.

    Returns:
      The state after them, the current into the readout `[T, B, K]`, and spikes `[T, B, ...]` by
      path, laid out as the state.

    Raises:
      AssertionError: while tracing, if `x` and the state differ in shape.
    """
    num_steps = len(x)
    spikes: Spikes = {}

    def fire(path: str, state: State, current: jax.Array) -> tuple[State, jax.Array]:
        shape = current.shape[1:]
        numbers = laid_out(params, path, shape)
        current = current.reshape(-1, *synapse.rows(shape))
        after, spikes[path] = jax.lax.scan(
            partial(model.step, neuron_params(numbers)), state[path],
            _apart(current + numbers["shift"], num_steps),
        )  # fmt: skip
        return {**state, path: after}, _together(spikes[path]).reshape(-1, *shape)

    state, x = propagate(
        network.layers, params, state, _together(x), "", fire, start=start, by_rows=True
    )
    return state, _apart(x, num_steps), spikes


def goes_by_counts(network: arch.Network, params: Params, model: NeuronModel) -> bool:
    """Whether `steps_by_counts` can do what `steps` does: a neuron that sends by its count and its
    charge, and no leak anywhere.
    """
    return model.next_count is not None and not any(
        "leak" in inside(params, path) for path in arch.activations(network)
    )


def steps_by_counts(
    network: arch.Network,
    params: Params,
    model: NeuronModel,
    sent: Spikes,
    x: jax.Array,
    elapsed: jax.Array,
    *,
    start: int = 0,
) -> tuple[Spikes, jax.Array, Spikes]:
    """`steps`, by how many spikes were sent so far in the place of each timestep's own.

    All between two layers of neurons is linear, so what the counts of one cause is the charge that
    came into the next, and neither charge nor current has to be kept: a third of the memory that
    `steps` reads and writes for its neurons, and no rounding that adds up over time.

    Args:
      network: the architecture.
      params: the "layers" of `conversion.convert`.
      model: the neuron of every layer, for which `goes_by_counts`.
      sent: net counts so far, by path, in the layout of `synapse.rows`.
      x: the sum of the input of layer `start` up to each timestep, `[T, B, ...]`.
      elapsed: timesteps up to each in which biases flowed, `[T]`.
      start: the layer to begin with; no neurons come before it.

    Returns:
      The net counts after them, the sum of the current into the readout up to each timestep
      `[T, B, K]`, and spikes `[T, B, ...]` by path, laid out as the counts.

    Raises:
      TypeError: from JAX, if shapes do not fit.
    """
    num_steps, batch = x.shape[:2]
    spikes: Spikes = {}

    def fire(path: str, sent: Spikes, caused: jax.Array) -> tuple[Spikes, jax.Array]:
        shape = caused.shape[1:]
        numbers = laid_out(params, path, shape)
        caused = caused.reshape(-1, *synapse.rows(shape))

        def body(count: jax.Array, at: tuple[jax.Array, jax.Array]) -> Any:
            charge, time = at
            charge = charge + time * numbers["shift"]
            after = model.next_count(neuron_params(numbers), count, charge)  # type: ignore[misc]
            return after, after

        after, counts = jax.lax.scan(body, sent[path], (_apart(caused, num_steps), elapsed))
        spikes[path] = jnp.diff(counts, axis=0, prepend=sent[path][None])
        return {**sent, path: after}, _together(counts).reshape(-1, *shape)

    sent, x = propagate(
        network.layers, params, sent, _together(x), "", fire, start=start,
        elapsed=jnp.tile(elapsed, batch), by_rows=True,
    )  # fmt: skip
    return sent, _apart(x, num_steps), spikes


def _together(x: jax.Array) -> jax.Array:
    """`[T, B, ...]` as one batch, image by image."""
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])


def _apart(x: jax.Array, num_steps: int) -> jax.Array:
    """`[T, B, ...]` again."""
    return jnp.swapaxes(x.reshape(-1, num_steps, *x.shape[1:]), 0, 1)


def propagate(
    layers: tuple[arch.Layer, ...],
    params: Params,
    state: State,
    x: jax.Array,
    prefix: str,
    neuron: Listener,
    *,
    start: int = 0,
    elapsed: ArrayLike = 1.0,
    by_rows: bool = False,
) -> tuple[State, jax.Array]:
    """Send `x` through layers, calling neuron(path, state, current) -> (state, x) at neurons.

    `x` is the input of one timestep, or a sum over `elapsed` of them, a number for all or `[B]`, in
    which biases flowed as often; `by_rows` says how they are added, see `synapse.apply`.

    Raises:
      KeyError: if the parameters are of other layers.
      TypeError: from JAX, if shapes do not fit.
    """
    for name, layer in arch.named(layers)[start:]:
        match layer:
            case arch.Activation():
                state, x = neuron(prefix + name, state, x)
            case arch.BatchNorm() | arch.Normalise():
                pass  # conversion folded it into the weights
            case arch.Residual() | arch.Concat():
                inner, parts = params[name], []
                for branch, inside in layer.branches.items():
                    into = f"{prefix}{name}/{branch}/"
                    state, y = propagate(
                        inside, inner.get(branch, {}), state, x, into, neuron, elapsed=elapsed,
                        by_rows=by_rows,
                    )  # fmt: skip
                    parts.append(y * synapse.of_each(inner.get(f"{branch}_weight", 1.0), y))
                x = synapse.join(layer, parts)
                x = x * synapse.of_each(inner.get("weight", 1.0), x)
            case _:
                inner = params.get(name, {})
                x = synapse.apply(layer, inner, x, elapsed=elapsed, by_rows=by_rows)
    return state, x


def prepared(layers: tuple[arch.Layer, ...], params: Params) -> Params:
    """The layers with what is worth computing once for many images; see `synapse.prepared`.

    Args:
      layers: of the architecture.
      params: the "layers" of `conversion.convert`.

    Raises:
      KeyError: if the parameters are of other layers.
    """
    found = dict(params)
    for name, layer in arch.named(layers):
        match layer:
            case arch.Residual() | arch.Concat():
                found[name] = params[name] | {
                    branch: prepared(inside, params[name][branch])
                    for branch, inside in layer.branches.items()
                    if branch in params[name]
                }
            case arch.Conv():
                found[name] = synapse.prepared(layer, params[name])
    return found


def neuron_params(numbers: Params) -> NeuronParams:
    """What a neuron needs of the numbers of its layer; there is no leak where it has none.

    Raises:
      KeyError: if one is missing, other than `most` and `leak`.
    """
    numbers = {"most": jnp.inf, "leak": 1.0, **numbers}
    return NeuronParams(**{name: numbers[name] for name in NeuronParams._fields})


def laid_out(params: Params, path: str, shape: tuple[int, ...]) -> Params:
    """The numbers of the neurons at a path, of that shape, in the layout of `synapse.rows`.

    Raises:
      KeyError: if the parameters are of another network.
      ValueError: from JAX, if they do not fit the shape.
    """
    return {name: synapse.in_rows(value, shape) for name, value in inside(params, path).items()}


def bounded(params: Params, shown_steps: int) -> Params:
    """The layers with the net count of every neuron kept within its ANN's bound.

    A neuron that fires at most once a timestep is within it while the input lasts, and could
    pass it afterwards, out of charge that its activation would have clipped.

    Args:
      params: the "layers" of `conversion.convert`.
      shown_steps: timesteps for which the input lasts.

    Raises:
      Nothing.
    """
    with_most = {
        name: bounded(value, shown_steps) if isinstance(value, dict) else value
        for name, value in params.items()
    }
    if "bound" in params:
        with_most["most"] = jnp.floor(params["bound"] * shown_steps + 0.5)
    return with_most


def quiet(params: Params) -> Params:
    """The layers without any current but that of spikes: no biases, borders or shifts.

    Args:
      params: the "layers" of `conversion.convert`.

    Raises:
      Nothing.
    """
    return {
        name: quiet(value)
        if isinstance(value, dict)
        else (jnp.zeros_like(value) if name in ("bias", "border", "shift") else value)
        for name, value in params.items()
    }


def inside(params: Params, path: str) -> Params:
    """What a pytree of layers holds at a path.

    Raises:
      KeyError: if there is no such path.
    """
    for name in path.split("/"):
        params = params[name]
    return params


def limit(
    network: arch.Network,
    params: Params,
    images: jax.Array,
    *,
    levels: ArrayLike | None = None,
) -> jax.Array:
    """Logits `[B, K]` that the spiking network tends to; see `rates`."""
    return rates(network, params, images, levels=levels)[1]


def rates(
    network: arch.Network,
    params: Params,
    images: jax.Array,
    *,
    levels: ArrayLike | None = None,
) -> tuple[Spikes, jax.Array]:
    """The ANN in the units of its spikes: rates by path, and the logits `[B, K]`.

    Every neuron is replaced by the ANN's activation of its current over v_p, which is its
    rate for constant current (eq. 12) as far as a rate can follow. With the default alpha this
    is the trained ANN up to rounding, read from the converted parameters alone, whatever
    the scales, shifts, leaks and initial potentials.

    Args:
      network: the architecture.
      params: what `conversion.convert` returned.
      images: floats `[B, H, W, C]`.
      levels: quantise every rate to so many steps, as in training; None leaves it smooth.

    Raises:
      TypeError: from JAX, if the images do not fit the parameters.
    """

    def rate(path: str, state: State, current: jax.Array) -> tuple[State, jax.Array]:
        y = activate(specs[path], inside(params["layers"], path), current, levels=levels)
        return {**state, path: y}, y

    specs = arch.activations(network)
    return propagate(network.layers, params["layers"], {}, params["gain"] * images, "", rate)


def activate(
    spec: arch.Activation,
    numbers: Params,
    current: jax.Array,
    *,
    levels: ArrayLike | None = None,
) -> jax.Array:
    """The ANN's activation of a current, in spikes per timestep.

    Args:
      spec: the activation.
      numbers: of its layer of neurons, as `conversion.convert` gives them.
      current: in membrane units.
      levels: as in `rates`.

    Raises:
      KeyError: if a number is missing.
    """
    z, alpha = current / numbers["positive"], numbers["positive"] / numbers["negative"]
    if spec.step:
        return step_relu(z, step=1.0)
    if levels is None:
        return sth_leaky_relu(z, theta=numbers["bound"], alpha=alpha)
    return quantised_sth_leaky_relu(z, theta=numbers["bound"], alpha=alpha, levels=levels)
