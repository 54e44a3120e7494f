"""Steps of training in torch, with the recipe of ours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch_layers import channels_first


def make_epoch(
    forward: Callable[[torch.Tensor], torch.Tensor],
    parameters: list[torch.nn.Parameter],
    arrays: dict[str, np.ndarray],
    *,
    rates: list[float],
    batch: int,
    weight_decay: float,
    label_smoothing: float,
) -> Callable[[], list[float]]:
    """Steps of AdamW, which go on from the last ones; it returns the loss of each.

    Args:
      forward: from images `[B, C, H, W]` to logits `[B, K]`.
      parameters: those that are trained; those with one axis do not decay.
      arrays: "images", bytes, and "labels".
      rates: learning rate of each step.
    """
    images, labels = channels_first(arrays["images"]), torch.tensor(arrays["labels"]).long()
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
    )
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    def epoch() -> list[float]:
        losses = []
        for at, rate in enumerate(rates):
            for group in optimiser.param_groups:
                group["lr"] = rate
            places = slice(at * batch, (at + 1) * batch)
            loss = loss_of(forward(images[places].float() / 255), labels[places])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses).tolist()

    return epoch
