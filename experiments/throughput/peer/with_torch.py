"""Training of the same quantised network in torch, with the recipe of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from answering import Run, answer_all, versions
from torch_layers import build, channels_first


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
    rates: list[float],
    batch: int,
    alpha: float,
    theta: float,
    levels: int,
    weight_decay: float,
    label_smoothing: float,
) -> tuple[Run, dict[str, Any]]:
    images, labels = channels_first(arrays["images"]), torch.tensor(arrays["labels"]).long()
    network, _ = build(
        spec, arrays, images[:1] / 255, lambda: QuantisedActivation(alpha, theta, levels)
    )
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
    )
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    network.train()

    def epoch() -> list[float]:
        losses = []
        for at, rate in enumerate(rates):
            for group in optimiser.param_groups:
                group["lr"] = rate
            places = slice(at * batch, (at + 1) * batch)
            loss = loss_of(network(images[places].float() / 255), labels[places])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses).tolist()

    return epoch, {
        "losses": epoch(),
        "threads": torch.get_num_threads(),
        "versions": versions("torch"),
    }


if __name__ == "__main__":
    answer_all(prepare)
