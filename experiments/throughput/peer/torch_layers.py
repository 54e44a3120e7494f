"""A network of torch modules from its description, channels first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Spec = list[dict[str, Any]]
Arrays = dict[str, np.ndarray]
Made = tuple[torch.nn.Module, torch.Tensor]


class Residual(torch.nn.Module):
    def __init__(self, body: torch.nn.Module, shortcut: torch.nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.shortcut(x)


def border(size: int, window: int, stride: int) -> tuple[int, int]:
    """Before and after an axis, as XLA has it for "SAME"."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def conv(layer: dict[str, Any], arrays: Arrays, x: torch.Tensor) -> torch.nn.Module:
    kernel = torch.tensor(arrays[f"{layer['path']}/kernel"]).permute(3, 2, 0, 1).contiguous()
    features, channels, *window = kernel.shape
    strides = tuple(layer["strides"])
    pads = [(0, 0), (0, 0)]
    if layer["padding"] == "SAME":
        pads = [border(n, w, s) for n, w, s in zip(x.shape[2:], window, strides, strict=True)]
    even = all(before == after for before, after in pads)
    padding = tuple(before for before, _ in pads) if even else (0, 0)
    module = torch.nn.Conv2d(channels, features, tuple(window), strides, padding)
    if not even:
        # torch has no word for a border on one side only, but its convolution pads first for
        # every mode but "zeros"; as a module of its own the converter would refuse it.
        module.padding_mode = "constant"
        module._reversed_padding_repeated_twice = [n for pair in reversed(pads) for n in pair]
    module.weight.data = kernel
    module.bias.data = torch.tensor(arrays[f"{layer['path']}/bias"])
    return module


def dense(
    layer: dict[str, Any], arrays: Arrays, flattened: tuple[int, ...] | None
) -> torch.nn.Module:
    kernel = torch.tensor(arrays[f"{layer['path']}/kernel"])
    if flattened:  # a map that was flattened channels last is flattened channels first here
        channels, height, width = flattened
        kernel = kernel.reshape(height, width, channels, -1).permute(2, 0, 1, 3)
        kernel = kernel.reshape(channels * height * width, -1)
    module = torch.nn.Linear(*kernel.shape)
    module.weight.data = kernel.T.contiguous()
    module.bias.data = torch.tensor(arrays[f"{layer['path']}/bias"])
    return module


def build(
    spec: Spec, arrays: Arrays, x: torch.Tensor, neuron: Callable[[], torch.nn.Module]
) -> Made:
    """Modules in order, and what they make of `x`.

    Args:
      spec: the description.
      arrays: weights by path, channels last.
      x: an image `[B, C, H, W]`, for the shapes.
      neuron: makes what stands for neurons.
    """
    modules: list[torch.nn.Module] = []
    flattened = None
    for layer in spec:
        match layer["kind"]:
            case "conv":
                module = conv(layer, arrays, x)
            case "dense":
                module, flattened = dense(layer, arrays, flattened), None
            case "pool":
                module = torch.nn.AvgPool2d(tuple(layer["window"]), tuple(layer["strides"]))
            case "flatten":
                module, flattened = torch.nn.Flatten(), tuple(x.shape[1:])
            case "neurons":
                module = neuron()
            case "residual":
                body, _ = build(layer["body"], arrays, x, neuron)
                shortcut, _ = build(layer["shortcut"], arrays, x, neuron)
                module = Residual(body, shortcut)
        modules.append(module)
        with torch.no_grad():
            x = module(x)
    return torch.nn.Sequential(*modules), x


def channels_first(images: np.ndarray) -> torch.Tensor:
    return torch.tensor(images).permute(0, 3, 1, 2).contiguous()
