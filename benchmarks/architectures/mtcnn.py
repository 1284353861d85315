"""The three networks of MTCNN (Zhang et al., 2016, arXiv:1604.02878), with the layers' names of facenet-pytorch."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from collections.abc import Sequence

import torch
from torch import nn


class Stage(nn.Module):
    """Convolutions with PReLU and pools that count incomplete windows, a dense layer if any, then the heads.

    Args:
        layers: for each convolution its output channels, kernel and pool (kernel, stride), if it has one.
        dense: columns of the dense layer behind them, or 0; and how many it reads.
        heads: the outputs of each head, in the order of their names; the first is a softmax over two classes.
        order: of the results.
    """

    def __init__(
        self,
        layers: Sequence[tuple[int, int, tuple[int, int] | None]],
        dense: tuple[int, int],
        heads: Sequence[int],
        order: Sequence[int],
    ) -> None:
        super().__init__()
        channels, number = 3, len(layers) + 1
        self.pools = [pool for *_, pool in layers]
        for place, (wide, kernel, _) in enumerate(layers, 1):
            setattr(self, f"conv{place}", nn.Conv2d(channels, wide, kernel))
            setattr(self, f"prelu{place}", nn.PReLU(wide))
            channels = wide
        self.dense = dense[0] > 0
        if self.dense:
            setattr(self, f"dense{number}", nn.Linear(dense[1], dense[0]))
            setattr(self, f"prelu{number}", nn.PReLU(dense[0]))
            channels, number = dense[0], number + 1
        self.names = [f"{'dense' if self.dense else 'conv'}{number}_{place}" for place in range(1, len(heads) + 1)]
        for name, size in zip(self.names, heads, strict=True):
            setattr(self, name, nn.Linear(channels, size) if self.dense else nn.Conv2d(channels, size, 1))
        self.order = list(order)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, 3, height, width), about -1 to 1 -> corrections of boxes, ..., probabilities of a face."""
        for place, pool in enumerate(self.pools, 1):
            x = getattr(self, f"prelu{place}")(getattr(self, f"conv{place}")(x))
            if pool is not None:
                x = nn.functional.max_pool2d(x, *pool, ceil_mode=True)
        if self.dense:
            place = len(self.pools) + 1
            x = x.permute(0, 3, 2, 1).flatten(1)
            x = getattr(self, f"prelu{place}")(getattr(self, f"dense{place}")(x))
        first, *others = (getattr(self, name)(x) for name in self.names)
        results = [first.softmax(1), *others]
        return tuple(results[place] for place in self.order)


def pnet() -> nn.Module:
    """Proposals, at every place of an image of any size."""
    return Stage([(10, 3, (2, 2)), (16, 3, None), (32, 3, None)], (0, 0), (2, 4), (1, 0))


def rnet() -> nn.Module:
    """Refinement of 24x24 pixels."""
    return Stage([(28, 3, (3, 2)), (48, 3, (3, 2)), (64, 2, None)], (128, 576), (2, 4), (1, 0))


def onet() -> nn.Module:
    """Refinement of 48x48 pixels, and five points of each face."""
    layers = [(32, 3, (3, 2)), (64, 3, (3, 2)), (64, 3, (2, 2)), (128, 2, None)]
    return Stage(layers, (256, 1152), (2, 4, 10), (1, 2, 0))
