"""Integer networks: all their sums are whole numbers, which float32 holds exactly.

`conversion.quantisation.quantise` makes their parameters. These have an entry "integer":

| key | content |
| --- | --- |
| `pixel` | whole number that a pixel of 1 becomes, 255 |
| `logit` | logit that a current of 1 into the readout represents |
| `magnitude` | largest magnitude of a sum of one timestep at the output |
| `steps` | largest T at which float32 rounds no sum; files of before lack it |
| `weight` | largest magnitude of a kernel; files of before lack it |

and a `magnitude` for every layer of neurons. A sum of whole numbers is exact in every order while
no partial sum reaches 2^24. The spikes are then the same for every batch size, and on every machine
whose products are products of float32: a GPU's library may choose an algorithm with fractions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.runtime.checks import check_value
from snnjax.runtime.images import check_range
from snnjax.runtime.split_kernels import SplitKernel
from snnjax.snn.encoding import CONSTANT, Encoding
from snnjax.snn.engine import Loop, Task
from snnjax.snn.readout import ACCUMULATE, COUNT, CURRENT

__all__ = [
    "OUTPUT",
    "WHOLE",
    "check_bytes",
    "check_exact",
    "check_sums",
    "count_exact_steps",
    "is_integer",
    "mark_inexact",
    "sum_bits",
    "whole_input",
]

Params = dict[str, Any]

WHOLE = 2**24
"""Magnitude from which on float32 rounds whole numbers; from its half on it rounds halves."""

OUTPUT = "the output"
"""Name of the sums behind the last weights, beside the paths of neurons."""

TOLERANCE = 1e-3
"""Distance of a pixel from a byte, in bytes, that counts as the rounding of a division by 255."""


def is_integer(params: Mapping[str, Any]) -> bool:
    """True for the parameters of an integer network."""
    return "integer" in params


def whole_input(params: Mapping[str, Any], x: jax.Array) -> jax.Array:
    """Input of the first layer in whole numbers, if the network is an integer network.

    Args:
      params: of the network.
      x: input of a timestep, multiples of 1 / `pixel`.
    """
    return jnp.round(params["integer"]["pixel"] * x) if is_integer(params) else x


def check_bytes(images: Any, pixel: Any, advice: str = "") -> None:
    """Check that images are bytes divided by `pixel`; traced ones pass.

    Raises:
      ValueError: if a pixel is no multiple of 1 / `pixel` or outside [0, 1].
    """
    if any(isinstance(value, jax.core.Tracer) for value in (images, pixel)):
        return
    most = float(np.asarray(pixel))
    with jax.ensure_compile_time_eval():  # known images and a known pixel inside jax.jit
        good = np.asarray(_are_bytes(images, most))
    if not good.all():
        raise ValueError(
            f"images hold pixels that are no multiples of 1/{most:g} in [0, 1]; an integer network"
            f" takes bytes: want np.round(images * {most:g}) / {most:g}{advice}"
        )


@jax.jit
def _are_bytes(images: jax.Array, pixel: Any) -> jax.Array:
    """True for each image whose pixels are all bytes, `[B]`."""
    scaled = pixel * images
    whole = jnp.round(scaled)
    good = (jnp.abs(scaled - whole) <= TOLERANCE) & (whole >= 0) & (whole <= pixel)
    return jnp.all(good, axis=tuple(range(1, good.ndim)))


def check_exact(task: Task, params: Params, images: Any, num_steps: int) -> None:
    """Check that a simulation of an integer network is exact; other networks pass.

    Traced numbers pass; where they are not exact, `mark_inexact` makes the values NaN.

    Raises:
      ValueError: naming what is not: the neuron, the encoding, the readout, the images, or the
        layer whose sums could be rounded.
    """
    if not is_integer(params):
        return
    if not task.neuron.whole:
        raise ValueError(
            "this neuron does not keep whole numbers, and the network is an integer network; want"
            " EXACT_CHARGE, DOUBLE_THRESHOLD or INTEGRATE_AND_FIRE"
        )
    if task.readout not in (ACCUMULATE, COUNT, CURRENT):
        raise ValueError(
            "this readout does not keep whole numbers, and the network is an integer network; want"
            " ACCUMULATE, COUNT or CURRENT"
        )
    if task.encoding != CONSTANT and task.encoding.largest != 1:
        raise ValueError(
            "this encoding sends fractions, and the network is an integer network; want CONSTANT,"
            " RATE or DETERMINISTIC"
        )
    if path := _leaking(params["layers"]):
        raise ValueError(
            f"{path} has a leak, which makes fractions, and the network is an integer network;"
            " want leak=None"
        )
    check_value("gain", params["gain"], lambda x: x == 1, "1 for an integer network")
    check_value("output_leak", params["output_leak"], lambda x: x == 1, "1 for an integer network")
    if task.encoding == CONSTANT:
        check_bytes(images, params["integer"]["pixel"], ", or spikes by encoding=RATE")
    else:
        check_range(images, 0.0, 1.0, "an integer network takes no negative spikes; want [0, 1]")
    check_sums(params, num_steps)


def _leaking(layers: Mapping[str, Any]) -> str:
    """Path of the first neurons that leak, or "" if there are none."""
    for name, own in layers.items():
        if isinstance(own, Mapping):
            if own.get("leak") is not None:
                return name
            if inner := _leaking(own):
                return f"{name}/{inner}"
    return ""


def check_sums(params: Params, num_steps: int) -> None:
    """Check that float32 rounds no sum of an integer network in T timesteps; traced numbers pass.

    Raises:
      ValueError: naming the layer of neurons, or the output.
    """
    steps = params["integer"].get("steps")
    if steps is not None and not isinstance(steps, jax.core.Tracer) and num_steps <= float(steps):
        return  # one number to read, at every call; `mark_inexact` sees changed thresholds
    for path, magnitude, start, limit in _magnitudes(params):
        if isinstance(magnitude, jax.core.Tracer) or isinstance(start, jax.core.Tracer):
            continue
        begin, each = float(np.max(start)), float(np.max(magnitude))
        if begin + num_steps * each >= limit:
            fits = _fitting_steps(magnitude, start, limit)
            fewer = f"at most {fits} timestep{'s' * (fits > 1)}, or " if fits > 0 else ""
            raise ValueError(
                f"sums at {path} reach {begin + num_steps * each:,.0f} with num_steps={num_steps},"
                f" and float32 rounds from {float(limit):,.0f} on; want {fewer}fewer bits for the"
                " weights before it"
            )


def count_exact_steps(params: Params) -> int:
    """Return the largest T at which float32 rounds no sum of an integer network, or 0.

    Args:
      params: of the network.
    """
    return max(min(_fitting_steps(*numbers) for _, *numbers in _magnitudes(params)), 0)


def _fitting_steps(magnitude: Any, start: Any, limit: Any) -> int:
    """Largest T whose sums stay below the limit; 0 or less if there is none."""
    rest = float(limit) - 1 - float(np.max(start))
    return int(rest // max(float(np.max(magnitude)), 1.0))


def sum_bits(params: Params, num_steps: int) -> dict[str, int]:
    """Return the bits, sign included, that hold every sum of T timesteps of an integer network.

    They are by path of the neurons, and OUTPUT. Potentials are counted in halves, which need one
    more bit, where neurons start at half an odd threshold.

    Args:
      params: of the network.
      num_steps: T.
    """
    found = {}
    for path, magnitude, start, limit in _magnitudes(params):
        largest = float(np.max(start)) + num_steps * float(np.max(magnitude))
        found[path] = 1 + int(largest * (WHOLE // int(np.min(limit)))).bit_length()
    return found


def _magnitudes(params: Params) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield path, magnitude, initial potential and limit of each layer of neurons, and the output.

    The magnitude of all sums in T timesteps is at most the initial potential and T times the
    magnitude of one timestep; it has to stay below the limit.
    """
    for keys, magnitude in jax.tree_util.tree_flatten_with_path(params["layers"])[0]:
        if getattr(keys[-1], "key", None) == "magnitude":
            own: Any = params["layers"]
            for key in keys[:-1]:
                own = own[cast(Any, key).key]
            path = jax.tree_util.keystr(keys[:-1], simple=True, separator="/")
            initial, positive = _known(own["initial"]), _known(own["positive"])
            start = initial * positive
            xp: Any = jnp if isinstance(start, jax.core.Tracer) else np
            is_whole = xp.all(xp.floor(initial) == initial)
            yield path, magnitude, xp.abs(start), xp.where(is_whole, WHOLE, WHOLE // 2)
    yield OUTPUT, params["integer"]["magnitude"], np.float32(0), WHOLE


def _known(value: Any) -> Any:
    """A value in NumPy, which needs no compiled operation, unless it is traced."""
    return value if isinstance(value, jax.core.Tracer) else np.asarray(value)


def mark_inexact(
    loop: Loop, params: Params, images: jax.Array, encoding: Encoding, num_steps: int
) -> Loop:
    """Loop whose values are NaN where an integer network could be rounded: a sum, or a weight that
    is multiplied as one bfloat16 number.

    Negative input spikes are among these: the magnitudes are those for pixels from 0 on.

    The checks before a simulation see no traced numbers; this one does.

    Args:
      loop: of the simulation.
      params: of the network; the loop is returned as it is if they are no integer network's.
      images: `[B, ...]`.
      encoding: of the images.
      num_steps: T.
    """
    if not is_integer(params):
        return loop
    if encoding == CONSTANT:
        exact = _are_bytes(images, params["integer"]["pixel"])
    else:
        exact = jnp.all(images >= 0, axis=tuple(range(1, images.ndim)))
    for _, magnitude, start, limit in _magnitudes(params):
        exact &= jnp.all(start + num_steps * magnitude < limit)
    for kernel in jax.tree.leaves(params["layers"], is_leaf=_is_split):
        if _is_split(kernel) and kernel.parts.shape == kernel.shape:
            exact &= jnp.all(kernel.parts.astype(jnp.float32) == kernel.kernel)

    def body(carry: Any, times: jax.Array, shown: bool) -> Any:
        carry, outputs = loop.body(carry, times, shown)
        return carry, outputs._replace(values=jnp.where(exact[:, None], outputs.values, jnp.nan))

    return loop._replace(body=body)


def _is_split(value: Any) -> bool:
    return isinstance(value, SplitKernel)
