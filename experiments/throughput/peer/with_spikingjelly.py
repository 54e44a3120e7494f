"""SpikingJelly: its own converter on the ANN, both of its step modes, the faster memory format."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from answering import Run, answer_all, versions
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.ann2snn import FXConverter
from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe
from spikingjelly.activation_based.neuron import IFNode
from torch_layers import build, channels_first

FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def watched(
    snn: torch.nn.Module, run: Callable[[], torch.Tensor]
) -> tuple[torch.Tensor, list[float]]:
    """What a run gives, and the spikes of each layer in it, in network order."""
    counts: dict[torch.nn.Module, float] = {}

    def count(module: torch.nn.Module, _: Any, spikes: torch.Tensor) -> None:
        counts[module] = counts.get(module, 0.0) + float(spikes.sum(dtype=torch.float64))

    neurons = [module for module in snn.modules() if isinstance(module, IFNode)]
    handles = [module.register_forward_hook(count) for module in neurons]
    result = run()
    for handle in handles:
        handle.remove()
    return result, list(counts.values())


def prepare(
    arrays: dict[str, np.ndarray], *, spec: list[dict[str, Any]], num_steps: int, mode: str
) -> tuple[Run, dict[str, Any]]:
    images = channels_first(arrays["images"])
    calibration = channels_first(arrays["calibration"])
    ann, _ = build(spec, arrays, images[:1], torch.nn.ReLU)
    begun = time.perf_counter()
    recipe = RateCodingRecipe(dataloader=[(calibration, torch.zeros(len(calibration)))], mode="max")
    snn = FXConverter(recipe).convert(ann.eval()).eval()
    converted = time.perf_counter() - begun
    functional.set_step_mode(snn, mode)

    @torch.inference_mode()
    def step_by_step(x: torch.Tensor, steps: int) -> torch.Tensor:
        functional.reset_net(snn)
        total = snn(x)
        for _ in range(steps - 1):
            total = total + snn(x)
        return total / steps

    @torch.inference_mode()
    def layer_by_layer(x: torch.Tensor, steps: int) -> torch.Tensor:
        functional.reset_net(snn)
        return snn(x.expand(steps, *x.shape)).mean(0)

    forward = step_by_step if mode == "s" else layer_by_layer
    seconds = {}
    for name, memory_format in FORMATS.items():
        snn.to(memory_format=memory_format)
        some = images[:16].contiguous(memory_format=memory_format)
        forward(some, 2)
        begun = time.perf_counter()
        forward(some, 2)
        seconds[name] = time.perf_counter() - begun
    best = min(seconds, key=seconds.__getitem__)
    snn.to(memory_format=FORMATS[best])
    x = images.contiguous(memory_format=FORMATS[best])
    logits, spikes = watched(snn, lambda: forward(x, num_steps))
    return lambda: forward(x, num_steps), {
        "logits": logits.tolist(),
        "spikes": spikes,
        "convert_seconds": round(converted, 3),
        "memory_format": best,
        "threads": torch.get_num_threads(),
        "versions": versions("spikingjelly", "torch"),
    }


if __name__ == "__main__":
    answer_all(prepare)
