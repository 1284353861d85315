"""SqueezeNet 1.1 (Iandola et al., 2016, arXiv:1602.07360; 1.1 is the authors' smaller variant): fire modules."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from collections.abc import Sequence

import torch
from torch import nn

# Widths of the fire modules (squeeze, expand); a 3x3 max pool of stride 2, rounding up, stands before each group.
V1_1 = (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256)))


class Fire(nn.Module):
    """1x1 squeeze, then 1x1 and 3x3 expansions side by side, joined along channels."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.expand_1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand_3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.activation = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, 2 * expanded, H, W)."""
        x = self.activation(self.squeeze(x))
        return torch.cat([self.activation(self.expand_1x1(x)), self.activation(self.expand_3x3(x))], 1)


class SqueezeNet(nn.Module):
    """Stem, groups of fire modules, and a 1x1 convolution that makes the logits before the pool."""

    def __init__(self, groups: Sequence[Sequence[tuple[int, int]]] = V1_1, classes: int = 1000) -> None:
        super().__init__()
        channels = 64
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, stride=2), nn.ReLU()]
        for group in groups:
            layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            for squeezed, expanded in group:
                layers.append(Fire(channels, squeezed, expanded))
                channels = 2 * expanded
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Conv2d(channels, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        return torch.flatten(self.classifier(self.features(x)), 1)
