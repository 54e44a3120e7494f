"""Small modules of PyTorch, as users write them; channels come first."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    """Residual block with a scale that is a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.scale = torch.tensor(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu(x + self.scale * self.bn(self.conv(x)), inplace=True)


class ResidualNetwork(nn.Module):
    def __init__(self, pool: type[nn.Module] = nn.MaxPool2d) -> None:
        super().__init__()
        first = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.features = nn.Sequential(*first, nn.Dropout(0.5), pool(2), Block())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.flatten(self.pool(self.features(x)), 1))


class Attention(nn.Module):
    """Self-attention with a class token, a table of indices and two layers that share weights."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.ones(1, 1, 8))
        self.norm = nn.LayerNorm(8)
        self.qkv, self.project = nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.head = nn.Linear(8, 8), nn.Linear(8, 8)
        self.head.weight = self.up.weight
        self.register_buffer("order", torch.arange(4).flip(0))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.patch(x).flatten(2)[:, :, self.order].transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        q, k, v = self.qkv(self.norm(x)).reshape(len(x), -1, 3, 2, 4).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.project(y.transpose(1, 2).flatten(2))
        return {"class": self.head(nn.functional.gelu(self.up(x[:, 0])))}


class Encoder(nn.Module):
    """PyTorch's own layers of attention, with images first and with tokens first."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(self.patch(x).flatten(2).transpose(1, 2)).transpose(0, 1)
        return self.head((x + self.attention(x, x, x)[0]).mean(0))


class Noise(nn.Module):
    """Dropout that is never off."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, 0.5, training=True)


class Counting(nn.Module):
    """Adds the number of its calls."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x + self.calls


def trained(module: nn.Module) -> nn.Module:
    """Return a module with statistics, whose weights are multiples of 1/64."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                positive = name.endswith("running_var")
                drawn = value.uniform_(0.25, 1.0) if positive else value.normal_(0.0, 0.4)
                value.copy_(torch.round(64 * drawn) / 64)
    return module
