"""The building block that all convolutional networks here share: convolution, batch norm, activation."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from collections.abc import Callable

import torch
from torch import nn

Activation = Callable[[], nn.Module]


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    padding: int | tuple[int, int] | None = None,
    activation: Activation | None = nn.ReLU,
    eps: float = 1e-5,
) -> nn.Sequential:
    """Convolution without bias, batch norm, activation (none if None); "same" padding for odd kernels by default."""
    if padding is None:
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (high // 2 * dilation, wide // 2 * dilation)
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(out_channels, eps=eps),
    ]
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)


def round_channels(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels`, never more than 10 % below it (MobileNetV2, section 3)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channels' means (Hu et al., 2018).

    Args:
        channels: C of the input (N, C, H, W).
        squeezed: width of the bottleneck.
        activation: between the two 1x1 convolutions.
        gate: after them; its output multiplies the input.
    """

    def __init__(self, channels: int, squeezed: int, activation: Activation, gate: Activation) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.activation = activation()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        scale: torch.Tensor = self.gate(self.expand(self.activation(self.reduce(self.pool(x)))))
        return x * scale
