"""DenseNet-121 (Huang et al., 2017, arXiv:1608.06993): every layer sees the outputs of all layers before it."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from collections.abc import Sequence

import torch
from torch import nn

from .blocks import conv_norm


class DenseLayer(nn.Module):
    """Norm, ReLU, 1x1 bottleneck, norm, ReLU, 3x3: `growth` new channels, joined to the input's."""

    def __init__(self, in_channels: int, growth: int, bottleneck: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, bottleneck * growth, 1, bias=False),
            nn.BatchNorm2d(bottleneck * growth),
            nn.ReLU(),
            nn.Conv2d(bottleneck * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, in_channels + growth, H, W)."""
        return torch.cat([x, self.layers(x)], 1)


class DenseNet(nn.Module):
    """Stem, dense blocks with transitions that halve channels and size between them, pool, one dense layer."""

    def __init__(
        self, blocks: Sequence[int] = (6, 12, 24, 16), growth: int = 32, stem: int = 64, classes: int = 1000
    ) -> None:
        super().__init__()
        channels = stem
        layers: list[nn.Module] = [conv_norm(3, channels, 7, stride=2), nn.MaxPool2d(3, stride=2, padding=1)]
        for index, repeats in enumerate(blocks):
            if index > 0:
                layers += [
                    nn.BatchNorm2d(channels),
                    nn.ReLU(),
                    nn.Conv2d(channels, channels // 2, 1, bias=False),
                    nn.AvgPool2d(2),
                ]
                channels //= 2
            for _ in range(repeats):
                layers.append(DenseLayer(channels, growth))
                channels += growth
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.pool(self.features(x)), 1))
        return logits
