"""EfficientNet-B0 (Tan & Le, 2019, arXiv:1905.11946): mobile inverted bottlenecks with SiLU and squeeze-and-excite."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from collections.abc import Sequence

import torch
from torch import nn

from .blocks import SqueezeExcite, conv_norm

# Table 1 of the paper, with the expansions of MnasNet: expansion, kernel, stride, channels, repeats.
B0 = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class MBConv(nn.Module):
    """Expansion, depthwise, squeeze-and-excite (to a quarter of the block's input channels), projection, shortcut."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(conv_norm(in_channels, hidden, 1, activation=nn.SiLU))
        layers += [
            conv_norm(hidden, hidden, kernel, stride=stride, groups=hidden, activation=nn.SiLU),
            SqueezeExcite(hidden, max(1, in_channels // 4), nn.SiLU, nn.Sigmoid),
            conv_norm(hidden, out_channels, 1, activation=None),
        ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        y: torch.Tensor = self.layers(x)
        return x + y if self.shortcut else y


class EfficientNet(nn.Module):
    """Stem of 32 channels, the stages given, a 1x1 convolution to `last` channels, pool, one dense layer."""

    def __init__(
        self, stages: Sequence[tuple[int, int, int, int, int]] = B0, last: int = 1280, classes: int = 1000
    ) -> None:
        super().__init__()
        channels = 32
        layers: list[nn.Module] = [conv_norm(3, channels, 3, stride=2, activation=nn.SiLU)]
        for expansion, kernel, first_stride, out_channels, repeats in stages:
            for index in range(repeats):
                stride = first_stride if index == 0 else 1
                layers.append(MBConv(channels, out_channels, kernel, stride, expansion))
                channels = out_channels
        layers.append(conv_norm(channels, last, 1, activation=nn.SiLU))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.pool(self.features(x)), 1))
        return logits
