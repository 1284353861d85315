"""MobileNetV3-Large (Howard et al., 2019, arXiv:1905.02244): depthwise, squeeze-and-excite, hard-swish."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from .blocks import SqueezeExcite, conv_norm, round_channels


@dataclass(frozen=True)
class Row:
    """One row of Table 1: kernel size, expanded and output width, squeeze-and-excite, hard-swish, stride; dilation."""

    kernel: int
    expanded: int
    out: int
    squeeze: bool
    hard_swish: bool
    stride: int
    dilation: int = 1


LARGE = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)


class Bottleneck(nn.Module):
    """Expansion, depthwise, squeeze-and-excite (on the expanded channels), linear projection, shortcut."""

    def __init__(self, in_channels: int, row: Row) -> None:
        super().__init__()
        activation = nn.Hardswish if row.hard_swish else nn.ReLU
        layers: list[nn.Module] = []
        if row.expanded != in_channels:
            layers.append(conv_norm(in_channels, row.expanded, 1, activation=activation, eps=1e-3))
        layers.append(
            conv_norm(
                row.expanded,
                row.expanded,
                row.kernel,
                stride=row.stride,
                groups=row.expanded,
                dilation=row.dilation,
                activation=activation,
                eps=1e-3,
            )
        )
        if row.squeeze:
            layers.append(SqueezeExcite(row.expanded, round_channels(row.expanded / 4), nn.ReLU, nn.Hardsigmoid))
        layers.append(conv_norm(row.expanded, row.out, 1, activation=None, eps=1e-3))
        self.layers = nn.Sequential(*layers)
        self.shortcut = row.stride == 1 and in_channels == row.out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, out, H / stride, W / stride)."""
        y: torch.Tensor = self.layers(x)
        return x + y if self.shortcut else y


class MobileNetV3(nn.Module):
    """The network of Table 1: stem, bottlenecks, 1x1 convolution, pool, two dense layers."""

    def __init__(self, rows: Sequence[Row] = LARGE, hidden: int = 1280, classes: int = 1000) -> None:
        super().__init__()
        channels = 16
        layers: list[nn.Module] = [conv_norm(3, channels, 3, stride=2, activation=nn.Hardswish, eps=1e-3)]
        for row in rows:
            layers.append(Bottleneck(channels, row))
            channels = row.out
        layers.append(conv_norm(channels, 6 * channels, 1, activation=nn.Hardswish, eps=1e-3))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Linear(6 * channels, hidden), nn.Hardswish(), nn.Linear(hidden, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.pool(self.features(x)), 1))
        return logits
