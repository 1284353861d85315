"""EDSR (Lim et al., 2017, arXiv:1707.02921): super-resolution without norms, the image enlarged by pixel shuffle."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
import torch
from torch import nn


class ResidualBlock(nn.Module):
    """3x3, ReLU, 3x3 and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) -> the same shape."""
        y: torch.Tensor = self.layers(x)
        return x + y


class EDSR(nn.Module):
    """The authors' baseline: a convolution, residual blocks under a long shortcut, enlargement, a convolution."""

    def __init__(self, blocks: int = 16, channels: int = 64, scale: int = 2) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(
            *(ResidualBlock(channels) for _ in range(blocks)), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.tail = nn.Sequential(
            nn.Conv2d(channels, channels * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
            nn.Conv2d(channels, 3, 3, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 3, scale * H, scale * W)."""
        x = self.head(x)
        image: torch.Tensor = self.tail(x + self.body(x))
        return image
