"""Training through time in SpikingJelly: multi-step mode, the faster memory format.

What comes before the first neurons is the same at every timestep and is computed once, as in ours.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch
from answering import Run, answer_all, versions
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.neuron import IFNode
from spikingjelly.activation_based.surrogate import ATan
from torch_layers import build, channels_first
from torch_training import make_epoch

FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


class ThroughTime(torch.nn.Module):
    """Modules in a row on all timesteps, and the mean of their output."""

    def __init__(self, modules: torch.nn.Sequential, num_steps: int, memory_format: Any) -> None:
        super().__init__()
        self.inner, self.num_steps = modules.to(memory_format=memory_format), num_steps
        self.memory_format = memory_format

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        functional.reset_net(self)
        x, lasts = x.contiguous(memory_format=self.memory_format), False
        for module in self.inner:
            if isinstance(module, IFNode):
                x = module(x if lasts else x.expand(self.num_steps, *x.shape))
                lasts = True
            else:
                x = functional.seq_to_ann_forward(x, module) if lasts else module(x)
        return x.mean(0)


def prepare(
    arrays: dict[str, np.ndarray],
    *,
    spec: list[dict[str, Any]],
    num_steps: int,
    alpha: float,
    **recipe: Any,
) -> tuple[Run, dict[str, Any]]:
    def neuron() -> torch.nn.Module:
        return IFNode(v_threshold=1.0, v_reset=None, surrogate_function=ATan(alpha))

    example = channels_first(arrays["images"])[:1] / 255
    modules, _ = build(spec, arrays, example, neuron)
    functional.set_step_mode(modules, "m")
    functional.reset_net(modules)
    found = {}
    for name, memory_format in FORMATS.items():
        network = ThroughTime(copy.deepcopy(modules), num_steps, memory_format).train()
        epoch = make_epoch(network, list(network.parameters()), arrays, **recipe)
        losses, begun = epoch(), time.perf_counter()
        epoch()
        found[name] = time.perf_counter() - begun, epoch, losses
    best = min(found, key=lambda name: found[name][0])
    _, epoch, losses = found[best]
    return epoch, {
        "losses": losses,
        "memory_format": best,
        "threads": torch.get_num_threads(),
        "versions": versions("spikingjelly", "torch"),
    }


if __name__ == "__main__":
    answer_all(prepare)
