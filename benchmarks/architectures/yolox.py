"""YOLOX (Ge et al., 2021, arXiv:2107.08430): detection from a pyramid of features that runs up and down again."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from functools import partial

import torch
from torch import nn

from .blocks import conv_norm

conv = partial(conv_norm, activation=nn.SiLU, eps=1e-3)


class Bottleneck(nn.Module):
    """1x1 and 3x3, with a shortcut where asked."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(channels, channels, 1), conv(channels, channels, 3))
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) -> the same shape."""
        y: torch.Tensor = self.layers(x)
        return x + y if self.shortcut else y


class CrossStage(nn.Module):
    """Half the channels through bottlenecks, half past them (CSPNet, Wang et al., 2020)."""

    def __init__(self, in_channels: int, out_channels: int, repeats: int, shortcut: bool) -> None:
        super().__init__()
        half = out_channels // 2
        self.through = nn.Sequential(conv(in_channels, half, 1), *(Bottleneck(half, shortcut) for _ in range(repeats)))
        self.past = conv(in_channels, half, 1)
        self.join = conv(2 * half, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        joined: torch.Tensor = self.join(torch.cat([self.through(x), self.past(x)], 1))
        return joined


class PyramidPooling(nn.Module):
    """Maxima over three sizes of window beside the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = conv(channels, channels // 2, 1)
        self.pools = nn.ModuleList(nn.MaxPool2d(size, stride=1, padding=size // 2) for size in (5, 9, 13))
        self.leave = conv(2 * channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) -> the same shape."""
        x = self.enter(x)
        pooled: torch.Tensor = self.leave(torch.cat([x, *(pool(x) for pool in self.pools)], 1))
        return pooled


class Backbone(nn.Module):
    """CSPDarknet: every second pixel into channels of its own, then four stages; the last three are the result."""

    def __init__(self, base: int, repeats: int) -> None:
        super().__init__()
        self.stem = conv(12, base, 3)
        self.stages = nn.ModuleList()
        for stage in range(4):
            width = base << stage
            last = stage == 3
            layers = [conv(width, 2 * width, 3, stride=2)]
            if last:
                layers.append(PyramidPooling(2 * width))
            count = repeats if stage in (0, 3) else 3 * repeats
            layers.append(CrossStage(2 * width, 2 * width, count, shortcut=not last))
            self.stages.append(nn.Sequential(*layers))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) -> features at an eighth, a sixteenth and a thirty-second of the resolution."""
        x = self.stem(torch.cat([x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)], 1))
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[1:]


class Head(nn.Module):
    """For one level: class scores and boxes by branches of their own; (N, 4 + 1 + classes, H, W)."""

    def __init__(self, in_channels: int, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = conv(in_channels, channels, 1)
        self.for_classes, self.for_boxes = (
            nn.Sequential(conv(channels, channels, 3), conv(channels, channels, 3)) for _ in range(2)
        )
        self.classes = nn.Conv2d(channels, classes, 1)
        self.box = nn.Conv2d(channels, 4, 1)
        self.object = nn.Conv2d(channels, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, H, W) -> (N, 4 + 1 + classes, H, W)."""
        x = self.stem(x)
        boxes = self.for_boxes(x)
        scores = self.classes(self.for_classes(x))
        return torch.cat([self.box(boxes), self.object(boxes).sigmoid(), scores.sigmoid()], 1)


class YOLOX(nn.Module):
    """Backbone, feature pyramid down and up, heads; "tiny" by default. Boxes are as the heads give them."""

    def __init__(self, base: int = 24, repeats: int = 1, classes: int = 80) -> None:
        super().__init__()
        low, middle, high = 4 * base, 8 * base, 16 * base
        self.backbone = Backbone(base, repeats)
        self.enlarge = nn.Upsample(scale_factor=2)
        self.reduce_high = conv(high, middle, 1)
        self.merge_middle = CrossStage(2 * middle, middle, repeats, shortcut=False)
        self.reduce_middle = conv(middle, low, 1)
        self.merge_low = CrossStage(2 * low, low, repeats, shortcut=False)
        self.shrink_low = conv(low, low, 3, stride=2)
        self.join_middle = CrossStage(2 * low, middle, repeats, shortcut=False)
        self.shrink_middle = conv(middle, middle, 3, stride=2)
        self.join_high = CrossStage(2 * middle, high, repeats, shortcut=False)
        self.heads = nn.ModuleList(Head(width, 4 * base, classes) for width in (low, middle, high))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, boxes, 4 + 1 + classes): place and size, whether there is something, and what."""
        low, middle, high = self.backbone(x)
        from_high = self.reduce_high(high)
        middle = self.merge_middle(torch.cat([self.enlarge(from_high), middle], 1))
        from_middle = self.reduce_middle(middle)
        low = self.merge_low(torch.cat([self.enlarge(from_middle), low], 1))
        middle = self.join_middle(torch.cat([self.shrink_low(low), from_middle], 1))
        high = self.join_high(torch.cat([self.shrink_middle(middle), from_high], 1))
        levels = [head(level).flatten(2) for head, level in zip(self.heads, (low, middle, high), strict=True)]
        return torch.cat(levels, 2).transpose(1, 2)
