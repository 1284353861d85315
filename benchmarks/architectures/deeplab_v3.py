"""DeepLabV3 (Chen et al., 2017, arXiv:1706.05587) on MobileNetV3: dilated convolutions, and classes for each pixel."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from .blocks import conv_norm
from .mobilenet_v3 import LARGE, MobileNetV3, Row

# MobileNetV3-Large with a sixteenth of the resolution at its end: the last rows look further instead of shrinking.
DILATED = (*LARGE[:12], *(replace(row, stride=1, dilation=2) for row in LARGE[12:]))


def resize(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, *size), bilinear."""
    return nn.functional.interpolate(x, size, mode="bilinear", align_corners=False)


class Pyramid(nn.Module):
    """Spatial pyramid: a 1x1 convolution, dilated ones, and the mean of the image, side by side."""

    def __init__(self, in_channels: int, channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv_norm(in_channels, channels, 1),
                *(conv_norm(in_channels, channels, 3, dilation=rate) for rate in rates),
            ]
        )
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_norm(in_channels, channels, 1))
        self.project = conv_norm(channels * (len(rates) + 2), channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, channels, H, W)."""
        mean = resize(self.mean(x), x.shape[2:])
        joined: torch.Tensor = self.project(torch.cat([*(branch(x) for branch in self.branches), mean], 1))
        return joined


class DeepLabV3(nn.Module):
    """The features of MobileNetV3, pyramid, 3x3, 1x1, resized to the image."""

    def __init__(
        self,
        rows: Sequence[Row] = DILATED,
        channels: int = 256,
        rates: Sequence[int] = (12, 24, 36),
        classes: int = 21,
    ) -> None:
        super().__init__()
        self.features = MobileNetV3(rows).features
        self.head = nn.Sequential(
            Pyramid(6 * rows[-1].out, channels, rates),
            conv_norm(channels, channels, 3),
            nn.Conv2d(channels, classes, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, classes, H, W)."""
        return resize(self.head(self.features(x)), x.shape[2:])
