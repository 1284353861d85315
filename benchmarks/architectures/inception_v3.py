"""Inception-v3 (Szegedy et al., 2016, arXiv:1512.00567), as it is run: without the auxiliary classifier.

A module is a list of branches that are joined along channels. A branch is a chain of convolutions, may start with a
pool, and may fork at its end (module E). The modules A to E are those of the paper's figures 5, 10, 6, 10 and 7.
`divisor` narrows every convolution, for tests.
"""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from .blocks import conv_norm


@dataclass(frozen=True)
class Convolution:
    """Makes convolutions by the paper's widths, `divisor` times narrower (all widths are multiples of 16)."""

    divisor: int

    def __call__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] | None = None,
    ) -> nn.Sequential:
        """Convolution, batch norm, ReLU."""
        widths = (in_channels // self.divisor, out_channels // self.divisor)
        return conv_norm(*widths, kernel, stride=stride, padding=padding, eps=1e-3)


def _average_pool() -> nn.Module:
    return nn.AvgPool2d(3, stride=1, padding=1)


class Branches(nn.Module):
    """Runs every branch on the same input and joins the results along channels."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, sum of the branches' channels, H', W')."""
        return torch.cat([branch(x) for branch in self.branches], 1)


def module_a(conv: Convolution, channels: int, pooled: int) -> Branches:
    """35x35 grid: 1x1, 5x5, two 3x3, pool; 224 + `pooled` channels."""
    return Branches(
        [
            conv(channels, 64, 1),
            nn.Sequential(conv(channels, 48, 1), conv(48, 64, 5)),
            nn.Sequential(conv(channels, 64, 1), conv(64, 96, 3), conv(96, 96, 3)),
            nn.Sequential(_average_pool(), conv(channels, pooled, 1)),
        ]
    )


def module_b(conv: Convolution, channels: int) -> Branches:
    """35x35 to 17x17: 480 channels and the input's."""
    return Branches(
        [
            conv(channels, 384, 3, stride=2, padding=0),
            nn.Sequential(conv(channels, 64, 1), conv(64, 96, 3), conv(96, 96, 3, stride=2, padding=0)),
            nn.MaxPool2d(3, stride=2),
        ]
    )


def module_c(conv: Convolution, channels: int, width: int) -> Branches:
    """17x17 grid: convolutions factored into 1x7 and 7x1; 768 channels."""
    return Branches(
        [
            conv(channels, 192, 1),
            nn.Sequential(conv(channels, width, 1), conv(width, width, (1, 7)), conv(width, 192, (7, 1))),
            nn.Sequential(
                conv(channels, width, 1),
                conv(width, width, (7, 1)),
                conv(width, width, (1, 7)),
                conv(width, width, (7, 1)),
                conv(width, 192, (1, 7)),
            ),
            nn.Sequential(_average_pool(), conv(channels, 192, 1)),
        ]
    )


def module_d(conv: Convolution, channels: int) -> Branches:
    """17x17 to 8x8: 512 channels and the input's."""
    return Branches(
        [
            nn.Sequential(conv(channels, 192, 1), conv(192, 320, 3, stride=2, padding=0)),
            nn.Sequential(
                conv(channels, 192, 1),
                conv(192, 192, (1, 7)),
                conv(192, 192, (7, 1)),
                conv(192, 192, 3, stride=2, padding=0),
            ),
            nn.MaxPool2d(3, stride=2),
        ]
    )


def module_e(conv: Convolution, channels: int) -> Branches:
    """8x8 grid: branches that fork into 1x3 and 3x1; 2048 channels."""

    def fork() -> Branches:
        return Branches([conv(384, 384, (1, 3)), conv(384, 384, (3, 1))])

    return Branches(
        [
            conv(channels, 320, 1),
            nn.Sequential(conv(channels, 384, 1), fork()),
            nn.Sequential(conv(channels, 448, 1), conv(448, 384, 3), fork()),
            nn.Sequential(_average_pool(), conv(channels, 192, 1)),
        ]
    )


class InceptionV3(nn.Module):
    """Stem, three modules A, B, four C, D, two E, pool, one dense layer: 299x299 images, at least 75x75."""

    def __init__(self, classes: int = 1000, divisor: int = 1) -> None:
        super().__init__()
        conv = Convolution(divisor)
        self.features = nn.Sequential(
            conv_norm(3, 32 // divisor, 3, stride=2, padding=0, eps=1e-3),
            conv(32, 32, 3, padding=0),
            conv(32, 64, 3),
            nn.MaxPool2d(3, stride=2),
            conv(64, 80, 1),
            conv(80, 192, 3, padding=0),
            nn.MaxPool2d(3, stride=2),
            module_a(conv, 192, 32),
            module_a(conv, 256, 64),
            module_a(conv, 288, 64),
            module_b(conv, 288),
            module_c(conv, 768, 128),
            module_c(conv, 768, 160),
            module_c(conv, 768, 160),
            module_c(conv, 768, 192),
            module_d(conv, 768),
            module_e(conv, 1280),
            module_e(conv, 2048),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(2048 // divisor, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.pool(self.features(x)), 1))
        return logits
