"""The U-Net of DDPM (Ho et al., 2020, arXiv:2006.11239): group norms, SiLU, attention at one resolution, a step."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
import math
from collections.abc import Sequence

import torch
from torch import nn


class StepEmbedding(nn.Module):
    """Sines and cosines of the time step, and two dense layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("rates", torch.exp(torch.arange(channels // 2) * (-math.log(1e4) / (channels // 2 - 1))))
        self.layers = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, 4 * channels), nn.SiLU()
        )

    def forward(self, step: torch.Tensor) -> torch.Tensor:
        """(N,) int64 -> (N, 4 * channels)."""
        angles = step[:, None] * self.rates
        embedded: torch.Tensor = self.layers(torch.cat([angles.sin(), angles.cos()], 1))
        return embedded


class ResidualBlock(nn.Module):
    """Norm, SiLU, 3x3, the step's channels added, norm, SiLU, 3x3; a 1x1 shortcut where channels differ."""

    def __init__(self, in_channels: int, out_channels: int, step_channels: int, groups: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(
            nn.GroupNorm(groups, in_channels), nn.SiLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1)
        )
        self.step = nn.Linear(step_channels, out_channels)
        self.leave = nn.Sequential(
            nn.GroupNorm(groups, out_channels), nn.SiLU(), nn.Conv2d(out_channels, out_channels, 3, padding=1)
        )
        same = in_channels == out_channels
        self.shortcut: nn.Module = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) and (N, step_channels) -> (N, out_channels, H, W)."""
        y = self.enter(x) + self.step(step)[:, :, None, None]
        return self.shortcut(x) + self.leave(y)


class Attention(nn.Module):
    """Norm and attention of one head over all pixels, with a shortcut."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.query, self.key, self.value, self.out = (nn.Conv2d(channels, channels, 1) for _ in range(4))
        self.scale = channels**-0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) -> the same shape."""
        y = self.norm(x)
        query, key, value = (layer(y).flatten(2) for layer in (self.query, self.key, self.value))
        weights = torch.softmax(query.transpose(1, 2) @ key * self.scale, -1)
        attended = (value @ weights.transpose(1, 2)).reshape(x.shape)
        return x + self.out(attended)


class UNet(nn.Module):
    """Down through the levels, a middle, and up again with what each block on the way down left.

    Args:
        channels: of the first level.
        multiples: of `channels`, for each level; levels halve the resolution.
        attended: the level whose blocks are followed by attention.
        blocks: residual blocks of a level on the way down; one more on the way up.
    """

    def __init__(
        self,
        channels: int = 128,
        multiples: Sequence[int] = (1, 2, 2, 2),
        attended: int = 1,
        blocks: int = 2,
        groups: int = 32,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        step_channels, width = 4 * channels, channels
        self.embed = StepEmbedding(channels)
        self.first = nn.Conv2d(image_channels, channels, 3, padding=1)
        left = [channels]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, multiple in enumerate(multiples):
            if level:
                self.down.append(nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(width, width, 3, stride=2)))
                left.append(width)
            for _ in range(blocks):
                self.down.append(ResidualBlock(width, channels * multiple, step_channels, groups))
                width = channels * multiple
                left.append(width)
                if level == attended:
                    self.down.append(Attention(width, groups))
        self.middle = nn.ModuleList(
            (
                ResidualBlock(width, width, step_channels, groups),
                Attention(width, groups),
                ResidualBlock(width, width, step_channels, groups),
            )
        )
        for level, multiple in reversed(list(enumerate(multiples))):
            for _ in range(blocks + 1):
                self.up.append(ResidualBlock(width + left.pop(), channels * multiple, step_channels, groups))
                width = channels * multiple
                if level == attended:
                    self.up.append(Attention(width, groups))
            if level:
                self.up.append(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1)))
        self.last = nn.Sequential(
            nn.GroupNorm(groups, width), nn.SiLU(), nn.Conv2d(width, image_channels, 3, padding=1)
        )

    def forward(self, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Images (N, image_channels, H, W) and their steps (N,) int64 -> the noise in them."""
        step = self.embed(step)
        x = self.first(x)
        left = [x]
        for block in self.down:
            x = block(x, step) if isinstance(block, ResidualBlock) else block(x)
            if isinstance(block, Attention):
                left[-1] = x
            else:
                left.append(x)
        for block in self.middle:
            x = block(x, step) if isinstance(block, ResidualBlock) else block(x)
        for block in self.up:
            x = block(torch.cat([x, left.pop()], 1), step) if isinstance(block, ResidualBlock) else block(x)
        noise: torch.Tensor = self.last(x)
        return noise
