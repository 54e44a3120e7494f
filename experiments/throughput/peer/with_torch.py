"""Training of the same quantised network in torch, with the recipe of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from answering import Run, answer_all, versions
from torch_layers import build, channels_first
from torch_training import make_epoch


class QuantisedActivation(torch.nn.Module):
    """A LeakyReLU within bounds, rounded to levels; the gradient passes through the rounding."""

    def __init__(self, alpha: float, theta: float, levels: int) -> None:
        super().__init__()
        self.alpha, self.theta, self.levels = alpha, theta, levels

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        leaky = torch.nn.functional.leaky_relu(z / self.theta, self.alpha)
        steps = leaky.clamp(-1.0, 1.0) * self.levels
        rounded = steps.sign() * (steps.abs() + 0.5).floor()
        return self.theta * (steps + (rounded - steps).detach()) / self.levels


def prepare(
    arrays: dict[str, np.ndarray],
    *,
    spec: list[dict[str, Any]],
    alpha: float,
    theta: float,
    levels: int,
    **recipe: Any,
) -> tuple[Run, dict[str, Any]]:
    network, _ = build(
        spec, arrays, channels_first(arrays["images"])[:1] / 255,
        lambda: QuantisedActivation(alpha, theta, levels),
    )  # fmt: skip
    network.train()
    epoch = make_epoch(network, list(network.parameters()), arrays, **recipe)
    return epoch, {
        "losses": epoch(),
        "threads": torch.get_num_threads(),
        "versions": versions("torch"),
    }


if __name__ == "__main__":
    answer_all(prepare)
