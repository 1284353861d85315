"""MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381): inverted residuals with linear bottlenecks."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from collections.abc import Sequence

import torch
from torch import nn

from .blocks import conv_norm, round_channels

# Table 2 of the paper: expansion t, channels c, repeats n, stride of the first s.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 linear projection; a shortcut where the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(conv_norm(in_channels, hidden, 1, activation=nn.ReLU6))
        layers += [
            conv_norm(hidden, hidden, 3, stride=stride, groups=hidden, activation=nn.ReLU6),
            conv_norm(hidden, out_channels, 1, activation=None),
        ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        y: torch.Tensor = self.layers(x)
        return x + y if self.shortcut else y


class MobileNetV2(nn.Module):
    """The network of Table 2; `width` multiplies the channels of every layer but the last when below 1."""

    def __init__(
        self, width: float = 1.0, stages: Sequence[tuple[int, int, int, int]] = STAGES, classes: int = 1000
    ) -> None:
        super().__init__()
        channels = round_channels(32 * width)
        layers: list[nn.Module] = [conv_norm(3, channels, 3, stride=2, activation=nn.ReLU6)]
        for expansion, base, repeats, first_stride in stages:
            out_channels = round_channels(base * width)
            for index in range(repeats):
                stride = first_stride if index == 0 else 1
                layers.append(InvertedResidual(channels, out_channels, stride, expansion))
                channels = out_channels
        last = round_channels(1280 * max(1.0, width))
        layers.append(conv_norm(channels, last, 1, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.pool(self.features(x)), 1))
        return logits
