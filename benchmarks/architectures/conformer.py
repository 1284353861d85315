"""Conformer's encoder (Gulati et al., 2020, arXiv:2005.08100): dense layers, attention and convolution over time."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
import torch
from torch import nn


def relative_positions(steps: int, channels: int) -> torch.Tensor:
    """Sines and cosines of the distances steps - 1 down to 1 - steps: (2 * steps - 1, channels)."""
    distances = torch.arange(steps - 1, -steps, -1, dtype=torch.float32)
    angles = distances[:, None] * 10000 ** (-torch.arange(0, channels, 2) / channels)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class Attention(nn.Module):
    """Attention with relative positions after Transformer-XL (Dai et al., 2019)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))
        self.position = nn.Linear(channels, channels, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(heads, 1, channels // heads))
        self.position_bias = nn.Parameter(torch.zeros(heads, 1, channels // heads))

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, channels) -> (N, heads, T, channels / heads)."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, channels) -> the same shape."""
        n, steps, channels = x.shape
        query, key, value = (self.split(layer(x)) for layer in (self.query, self.key, self.value))
        distances = self.split(self.position(relative_positions(steps, channels)[None]))
        content = (query + self.content_bias) @ key.transpose(-2, -1)
        place = (query + self.position_bias) @ distances.transpose(-2, -1)
        # Row t has its distance 0 in column T - 1 - t: one more column, read in rows that are shorter by it, moves it.
        place = nn.functional.pad(place, (1, 0)).reshape(n, self.heads, 2 * steps, steps)[:, :, 1:]
        place = place.reshape(n, self.heads, steps, 2 * steps - 1)[..., :steps]
        weights = torch.softmax((content + place) * (channels // self.heads) ** -0.5, -1)
        attended: torch.Tensor = self.out((weights @ value).transpose(1, 2).reshape(x.shape))
        return attended


class Convolution(nn.Module):
    """1x1 to twice the channels, gate, depthwise over time, batch norm, SiLU, 1x1."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(channels, 2 * channels, 1),
            nn.GLU(1),
            nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels),
            nn.BatchNorm1d(channels),
            nn.SiLU(),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, channels) -> the same shape."""
        y: torch.Tensor = self.layers(x.transpose(1, 2)).transpose(1, 2)
        return y


class Block(nn.Module):
    """Half a step of dense layers, attention, convolution, half a step of dense layers, norm."""

    def __init__(self, channels: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.enter, self.leave = (
            nn.Sequential(
                nn.LayerNorm(channels), nn.Linear(channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, channels)
            )
            for _ in range(2)
        )
        self.attention = nn.Sequential(nn.LayerNorm(channels), Attention(channels, heads))
        self.convolution = nn.Sequential(nn.LayerNorm(channels), Convolution(channels, kernel))
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, channels) -> the same shape."""
        x = x + self.enter(x) / 2
        x = x + self.attention(x)
        x = x + self.convolution(x)
        y: torch.Tensor = self.norm(x + self.leave(x) / 2)
        return y


class Conformer(nn.Module):
    """Two strided convolutions over time and frequency, a dense layer, blocks; "S" of the paper by default."""

    def __init__(
        self, channels: int = 144, blocks: int = 16, heads: int = 4, kernel: int = 31, features: int = 80
    ) -> None:
        super().__init__()
        self.subsample = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.project = nn.Linear(channels * (features // 4), channels)
        self.blocks = nn.Sequential(*(Block(channels, heads, kernel) for _ in range(blocks)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of frames (N, T, features) -> (N, T / 4, channels)."""
        x = self.subsample(x[:, None])
        states: torch.Tensor = self.blocks(self.project(x.transpose(1, 2).flatten(2)))
        return states
