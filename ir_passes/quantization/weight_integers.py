"""Weights as integers: symmetric, with one scale for all of them, or one for each column of the product."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..core.constants import Array
from .weight_steps import own_steps


@dataclass(frozen=True)
class WeightBits:
    """How the weights of a layer are quantized.

    Attributes:
        bits: of an integer, 2 to 8; the range is symmetric, so that no zero point is needed: -127 to 127.
        granularity: what shares a scale, one of `GRANULARITIES`.
    """

    bits: int = 8
    granularity: str = "channel"


# What shares a scale -> the axes of an array that a scale is for, given the axis of its columns.
GRANULARITIES: Mapping[str, Callable[[int, int], tuple[int, ...]]] = MappingProxyType(
    {
        "channel": lambda rank, column: tuple(axis for axis in range(rank) if axis != column % rank),
        "tensor": lambda rank, column: tuple(range(rank)),
    }
)


def weight_integers(weights: Array, column: int, asked: WeightBits) -> tuple[Array, Array]:
    """int8 and float32 scales that broadcast against them: w is about integers * scales, none beyond the range.

    Weights that are integers times a scale already keep both.

    Args:
        weights: of float32.
        column: the axis of the columns of the product.
    """
    most = 2 ** (asked.bits - 1) - 1
    axes = GRANULARITIES[asked.granularity](weights.ndim, column)
    largest = np.abs(weights).max(axis=axes, keepdims=True).astype(np.float64)
    rows = np.moveaxis(weights, axes, range(len(axes)))
    own = own_steps(rows.reshape(1, -1, largest.size), -most, most).reshape(largest.shape)
    scales = np.where(own > 0, own, np.where(largest > 0, largest / most, 1.0)).astype(np.float32)
    scales = np.maximum(scales, np.finfo(np.float32).tiny)
    integers = np.clip(np.rint(weights / scales), -most, most).astype(np.int8)
    return integers, scales
