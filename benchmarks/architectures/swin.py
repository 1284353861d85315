"""Swin transformer (Liu et al., 2021, arXiv:2103.14030): attention within windows that shift from block to block."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from collections.abc import Sequence

import torch
from torch import nn


def cut_windows(x: torch.Tensor, window: int) -> torch.Tensor:
    """(N, H, W, C) -> (N * windows, window * window, C)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // window, window, w // window, window, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, window * window, c)


def join_windows(x: torch.Tensor, window: int, shape: torch.Size) -> torch.Tensor:
    """The inverse of `cut_windows`; `shape` is (N, H, W, C)."""
    n, h, w, c = shape
    x = x.reshape(n, h // window, w // window, window, window, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h, w, c)


class WindowAttention(nn.Module):
    """Attention of several heads within each window, with a learnt bias for each relative position.

    Args:
        size: height and width of the feature map, a multiple of `window`.
        shift: by how many pixels the map is rolled first; pixels that this brings together do not see each other.
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int, size: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.scale = (channels // heads) ** -0.5
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.relative = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.02)
        places = torch.cartesian_prod(torch.arange(window), torch.arange(window))
        offsets = places[:, None] - places + window - 1
        self.register_buffer("index", (offsets[..., 0] * (2 * window - 1) + offsets[..., 1]).flatten())
        region = torch.zeros(size)
        region[size - window :] = 1
        region[size - shift :] = 2
        regions = cut_windows((3 * region[:, None] + region)[None, :, :, None], window)
        self.register_buffer("hidden", (regions != regions.transpose(1, 2)).float() * -100 if shift else None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, H, W, channels) -> the same shape."""
        shape, tokens = x.shape, self.window**2
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        windows = cut_windows(x, self.window)
        qkv = self.qkv(windows).reshape(len(windows), tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (qkv[0] * self.scale) @ qkv[1].transpose(-2, -1)
        scores = scores + self.relative[self.index].reshape(tokens, tokens, self.heads).permute(2, 0, 1)
        if self.hidden is not None:
            scores = scores.reshape(shape[0], -1, self.heads, tokens, tokens) + self.hidden[:, None]
            scores = scores.reshape(-1, self.heads, tokens, tokens)
        y = (torch.softmax(scores, -1) @ qkv[2]).transpose(1, 2).reshape(windows.shape)
        y = join_windows(self.out(y), self.window, shape)
        return torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y


class Block(nn.Module):
    """Norm and attention, norm and two dense layers, each with a shortcut."""

    def __init__(self, channels: int, heads: int, window: int, shift: int, size: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(channels), WindowAttention(channels, heads, window, shift, size))
        self.dense = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, H, W, channels) -> the same shape."""
        x = x + self.attention(x)
        return x + self.dense(x)


class Merging(nn.Module):
    """Four neighbours become one pixel of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(4 * channels), nn.Linear(4 * channels, 2 * channels, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, H, W, channels) -> (N, H / 2, W / 2, 2 * channels)."""
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged: torch.Tensor = self.layers(torch.cat(corners, -1))
        return merged


class Swin(nn.Module):
    """Patches, stages of blocks with merging between, norm, mean, one dense layer; "tiny" by default."""

    def __init__(
        self,
        channels: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        window: int = 7,
        image: int = 224,
        patch: int = 4,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels, patch, stride=patch)
        size = image // patch
        layers: list[nn.Module] = [nn.LayerNorm(channels)]
        for stage, (depth, count) in enumerate(zip(depths, heads, strict=True)):
            if stage:
                layers.append(Merging(channels))
                channels, size = 2 * channels, size // 2
            for index in range(depth):
                shift = window // 2 if index % 2 and size > window else 0
                layers.append(Block(channels, count, window, shift, size))
        layers.append(nn.LayerNorm(channels))
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, image, image) -> (N, classes)."""
        x = self.layers(self.patches(x).permute(0, 2, 3, 1))
        logits: torch.Tensor = self.classifier(x.mean((1, 2)))
        return logits
