"""Choice of the layers whose weights are multiplied by spikes in bfloat16 parts.

Accelerators multiply bfloat16 numbers many times faster than float32 numbers. Spikes, their counts
and sums over pools are whole numbers, so bfloat16 holds them up to MOST_WHOLE, and kernels split
into bfloat16 parts give exact products: see `runtime.split_kernels`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from snnjax.networks.architecture import Network, named
from snnjax.networks.layers import (
    Activation,
    AvgPool,
    Block,
    Flatten,
    Folded,
    Layer,
    Transpose,
    Weights,
)
from snnjax.runtime.split_kernels import MOST_WHOLE
from snnjax.snn.engine import Params, Task
from snnjax.snn.whole_numbers import is_integer

__all__ = ["choose_parts", "split_kernels"]

FLOAT_PARTS = 3
"""bfloat16 numbers whose sum is a float32 number."""


def choose_parts(parts: Any, params: Params) -> int:
    """Number of bfloat16 parts of the kernels of a simulation, 0 for float32 products.

    Choice: on a GPU or TPU one part for an integer network whose weights are known to be at most
    MOST_WHOLE: its sums are exact. Floats stay in float32: on an H100 three parts take a third of
    the time of VGG16 and nine tenths of that of Net2, but their sums are rounded more than those of
    float32 products, which moves spikes. A CPU gains nothing.

    Args:
      parts: as a user gives it; None for the choice.
      params: of the network.

    Raises:
      ValueError: if `parts` is not 0, 1, 3 or None, or is 1 for weights that bfloat16 does not
        hold; traced weights pass, and `whole_numbers.mark_inexact` sees these.
    """
    weight = params["integer"].get("weight") if is_integer(params) else None
    known = weight is not None and not isinstance(weight, jax.core.Tracer)
    largest = float(np.asarray(weight)) if known else math.inf
    if parts is None:
        return 1 if jax.default_backend() != "cpu" and largest <= MOST_WHOLE else 0
    if isinstance(parts, bool) or parts not in (0, 1, FLOAT_PARTS):
        raise ValueError(f"kernel_parts is {parts!r}; want 0, 1, {FLOAT_PARTS} or None")
    if parts == 1 and (not is_integer(params) or (known and largest > MOST_WHOLE)):
        weights = f"weights reach {largest:g}" if known else "the network is no integer network"
        raise ValueError(
            f"kernel_parts is 1 and {weights}, so one bfloat16 number would round weights; want"
            f" {FLOAT_PARTS}, or an integer network with weights of 8 bits by snnjax.quantise"
        )
    return int(parts)


class _How(NamedTuple):
    """parts: of every kernel; num_steps: T, the largest net count; integer: pools are sums."""

    parts: int
    num_steps: int
    integer: bool


def split_kernels(task: Task, params: Params, num_steps: int) -> Params:
    """Parameters with kernels in `task.kernel_parts` bfloat16 parts, for one simulation.

    Only kernels are split whose input is known to be whole numbers up to MOST_WHOLE, or such
    numbers times a power of 2: spikes of a neuron that sends -1, 0 or 1, their counts in T
    timesteps, and pools of these. The input of the network, currents, and layers that no rule here
    knows are multiplied in float32, and so is everything if gradients are computed.

    Args:
      task: with the number of parts; 0 or None leaves the parameters as they are.
      params: of the network; not prepared.
      num_steps: T.

    Raises:
      KeyError: if the parameters belong to another network.
    """
    if not task.kernel_parts or task.gradient or not task.neuron.whole:
        return params
    how = _How(task.kernel_parts, num_steps, is_integer(params))
    layers = cast(Network, task.network).layers
    return {**params, "layers": _split(layers, params["layers"], math.inf, how)}


def _split(layers: tuple[Layer, ...], params: Params, reach: float, how: _How) -> Params:
    """Split the kernels of a stack.

    Args:
      layers: of the stack.
      params: their arrays by name.
      reach: largest magnitude of the input in multiples of a power of 2; inf if not known.
      how: of the simulation.
    """
    found = dict(params)
    for name, layer in named(layers):
        match layer:
            case Activation():
                reach = how.num_steps
            case AvgPool():
                pixels = math.prod(layer.window)
                is_exact = how.integer or pixels & (pixels - 1) == 0
                reach = reach * pixels if is_exact else math.inf
            case Block():
                found[name] = params[name] | {
                    branch: _split(inner, params[name][branch], reach, how)
                    for branch, inner in layer.branches.items()
                    if branch in params[name]
                }
                reach = math.inf
            case Weights():
                if reach <= MOST_WHOLE:
                    found[name] = layer.split_kernel(params[name], how.parts)
                reach = math.inf
            case Flatten() | Transpose() | Folded():
                pass  # the same numbers
            case _:
                reach = math.inf
    return found
