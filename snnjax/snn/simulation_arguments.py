"""Checks of the arguments of a simulation, for both engines and for early exit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnjax.runtime.checks import check_count, check_key, check_kind, check_value
from snnjax.runtime.images import NETWORK_RANKS, check_range, float_images
from snnjax.runtime.ranges import STEPS
from snnjax.snn.encoding import ENCODINGS, Encoding
from snnjax.snn.engine import SpikingFunction, Task
from snnjax.snn.fast.parts import choose_parts
from snnjax.snn.neurons import NEURONS, NeuronModel
from snnjax.snn.noise import Noise
from snnjax.snn.readout import READOUTS, Readout
from snnjax.snn.stimulus import Stimulus
from snnjax.snn.whole_numbers import check_exact

__all__ = [
    "Checked",
    "check_arguments",
    "check_models",
    "check_network",
    "check_params",
    "check_shown_steps",
    "check_stimulus",
    "count_pre_steps",
    "needed_key",
]

Params = dict[str, Any]


class Checked(NamedTuple):
    """Arguments of a simulation after their checks.

    task: with `shown_steps` of at most `num_steps`; stimulus: float32 images, and a key as
    `jax.random.key` returns it; num_steps, pre_steps: ints.
    """

    task: Task
    stimulus: Stimulus
    num_steps: int
    pre_steps: int


def check_arguments(
    task: Task,
    params: Params,
    stimulus: Stimulus,
    *,
    num_steps: int,
    pre_steps: int,
) -> Checked:
    """Check the arguments of `simulation.simulate`, and return them in one form.

    Raises:
      ValueError: as in `simulate`, except for shapes that do not fit the parameters.
    """
    check_network(task.network)
    check_models(task.neuron, task.encoding)
    check_kind("readout", task.readout, Readout, READOUTS, "snnjax.snn.readout.READOUTS")
    num_steps = check_count("num_steps", num_steps, most=STEPS.highest)
    check_params(params)
    pre_steps = check_count("pre_steps", pre_steps, least=0)
    count_pre_steps(task.network, task.neuron, pre_steps, num_steps)
    shown_steps = check_shown_steps(task.neuron, task.shown_steps)
    if shown_steps > num_steps:
        raise ValueError(
            f"shown_steps is {shown_steps}; want at most num_steps, which is {num_steps}, or 0 for"
            " input at all timesteps"
        )
    parts = choose_parts(task.kernel_parts, params)
    task = task._replace(shown_steps=shown_steps, kernel_parts=parts)
    stimulus = check_stimulus(stimulus, params["gain"], task.encoding)
    check_exact(task, params, stimulus.images, num_steps)
    return Checked(task, stimulus, num_steps, pre_steps)


def check_network(network: Any) -> None:
    """Check that a network is one, and not its name.

    Raises:
      ValueError: if it is not.
    """
    if callable(getattr(getattr(network, "function", None), "begin", None)):
        raise ValueError("network is a spiking function with its params; want simulate(it, images)")
    if not callable(getattr(network, "propagate", None)):
        raise ValueError(
            f"network is {network!r}; want a Network, such as"
            " snnjax.networks.known_networks.find(name)"
        )


def check_models(neuron: Any, encoding: Any) -> None:
    """Check that a neuron and an encoding are what they should be, and not their names.

    Raises:
      ValueError: if they are not.
    """
    check_kind("neuron", neuron, NeuronModel, NEURONS, "snnjax.snn.neurons.NEURONS")
    check_kind("encoding", encoding, Encoding, ENCODINGS, "snnjax.snn.encoding.ENCODINGS")


def needed_key(key: Any, encoding: Encoding, noise: Noise | None = None) -> jax.Array | None:
    """Return the key in the form of `jax.random.key`, None if none is given and nothing drawn.

    Raises:
      ValueError: if there is no key and the encoding or the noise is random, or it is no key.
    """
    if key is not None:
        return check_key(key)
    if encoding.needs_key or noise is not None:
        drawn = "this encoding draws spikes" if encoding.needs_key else "noise is drawn"
        raise ValueError(f"{drawn} at random; pass key=jax.random.key(seed)")
    return None


def check_shown_steps(neuron: NeuronModel, shown_steps: int) -> int:
    """Return `shown_steps` as an int, if the neuron can do without input after so many timesteps.

    Raises:
      ValueError: if `shown_steps` is negative, or not 0 for a neuron that does not settle.
    """
    shown_steps = check_count("shown_steps", shown_steps, least=0)
    if shown_steps and not neuron.settles:
        raise ValueError(
            f"shown_steps is {shown_steps}; want 0, or at least 1 with the exact-charge neuron,"
            " whose counts settle when the input has ended"
        )
    return shown_steps


def count_pre_steps(
    network: SpikingFunction, neuron: NeuronModel, pre_steps: int, num_steps: int
) -> int:
    """Number of timesteps before the first answer.

    Raises:
      ValueError: if `pre_steps` is negative, the neuron has no pre-steps, or no timestep is
        left.
    """
    if check_count("pre_steps", pre_steps, least=0) and neuron.revise is None:
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


def check_params(params: Params) -> None:
    """Check that parameters are those of a converted network.

    Raises:
      ValueError: naming what is missing or no number.
    """
    if not {"gain", "layers", "output_leak"} <= set(params):
        raise ValueError(
            f"params holds {', '.join(sorted(params))}; want gain, layers and output_leak, which"
            " convert returns"
        )
    for keys, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int):
            raise ValueError(f"params hold {leaf!r}; want arrays of numbers, as convert returns")
        path = jax.tree_util.keystr(keys, simple=True, separator="/")
        if path.endswith(("/positive", "/negative")):
            wanted = "a threshold above 0, as convert returns it"
            check_value(path, leaf, lambda x: x > 0, wanted)  # type: ignore[arg-type]
    if _lacks_leak(params["layers"]):
        raise ValueError(
            "a layer of neurons has no leak; use snnjax.snn.engine.with_leaks on the layers of a"
            " file"
        )


def _lacks_leak(layers: Params) -> bool:
    """True if the parameters of some neurons have no `leak`, not even None."""
    inner = [value for value in layers.values() if isinstance(value, dict)]
    return ("positive" in layers and "leak" not in layers) or any(map(_lacks_leak, inner))


def check_stimulus(
    stimulus: Stimulus,
    gain: ArrayLike,
    encoding: Encoding,
    ranks: Sequence[int] = NETWORK_RANKS,
) -> Stimulus:
    """Return the stimulus with float32 images, after a check of all its fields.

    Args:
      stimulus: images, keys and noise.
      gain: of the encoding.
      encoding: of the images.
      ranks: numbers of axes of the images that are good.

    Raises:
      ValueError: if a field is bad.
    """
    images, key, first, noise = stimulus
    images, key = float_images(images, ranks=ranks), needed_key(key, encoding, noise)
    if noise is not None:
        check_range(images, 0.0, 1.0, "noise sets pixels to 0 or 1; want images in [0, 1]")
    if np.isfinite(encoding.largest) and not isinstance(gain, jax.core.Tracer):
        most = encoding.largest / min(float(np.asarray(gain).max()), 1.0)
        check_range(
            images, -most, most,
            f"a pixel becomes at most one spike per timestep, so a pixel above {most:g} is cut"
            " off; convert with a smaller gain, or encode with CONSTANT",
        )  # fmt: skip
    if isinstance(first, jax.Array):
        first_is_index = not first.shape and jnp.issubdtype(first.dtype, jnp.integer)
        if not first_is_index:
            raise ValueError(f"first is {first}; want a whole number, the index of an image")
    else:
        first = check_count("first", first, least=0)  # type: ignore[arg-type]
    return Stimulus(images, key, first, noise)
