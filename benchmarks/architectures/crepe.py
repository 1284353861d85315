"""CREPE (Kim et al., 2018, arXiv:1802.06182): the pitch of 1024 samples, with the layers' names of torchcrepe."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from itertools import pairwise

import torch
from torch import nn

PITCHES = 360


class Crepe(nn.Module):
    """Six convolutions over time, each with ReLU, batch norm and a pool of two; then a probability for each pitch."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        sizes = [(1, channels[0], 512, 4), *((a, b, 64, 1) for a, b in pairwise(channels))]
        for place, (before, after, kernel, stride) in enumerate(sizes, 1):
            setattr(self, f"conv{place}", nn.Conv2d(before, after, (kernel, 1), (stride, 1)))
            setattr(self, f"conv{place}_BN", nn.BatchNorm2d(after, eps=0.0010000000474974513))
        self.classifier = nn.Linear(channels[-1] * 4, PITCHES)
        self.layers = len(sizes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(N, 1024) samples at 16 kHz, each frame of mean 0 and variance 1 -> (N, 360)."""
        x = frames[:, None, :, None]
        for place in range(1, self.layers + 1):
            x = nn.functional.pad(x, (0, 0, 254, 254) if place == 1 else (0, 0, 31, 32))
            x = getattr(self, f"conv{place}")(x).relu()
            x = nn.functional.max_pool2d(getattr(self, f"conv{place}_BN")(x), (2, 1))
        pitches: torch.Tensor = self.classifier(x.permute(0, 2, 1, 3).flatten(1)).sigmoid()
        return pitches


def crepe_tiny() -> nn.Module:
    """The smallest."""
    return Crepe((128, 16, 16, 16, 32, 64))
