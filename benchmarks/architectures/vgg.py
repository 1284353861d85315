"""VGG (Simonyan & Zisserman, 2015, arXiv:1409.1556): configuration D has 16 layers."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from collections.abc import Sequence

import torch
from torch import nn

CONFIGURATION_D = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG(nn.Module):
    """Stages of 3x3 convolutions with bias, each closed by a 2x2 max pool; then three dense layers.

    Args:
        stages: the output channels of each convolution, a tuple a stage.
        classes: number of logits.
        hidden: width of the dense layers.
        pooled: side of the feature map that the dense layers see (224 / 2**5 = 7).
    """

    def __init__(
        self,
        stages: Sequence[Sequence[int]] = CONFIGURATION_D,
        classes: int = 1000,
        hidden: int = 4096,
        pooled: int = 7,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in stages:
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(channels * pooled * pooled, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 32 * pooled, 32 * pooled) -> (N, classes)."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return logits
