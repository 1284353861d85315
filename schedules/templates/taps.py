"""Filters of convolutions, and which of their taps meet the image.

A filter that is dilated far over a small image lies mostly beside it: of a 3x3 filter with dilation 24 over 28x28
pixels, 18% of the products are with pixels and not with zeros. For a tile of pixels next to each other, an offset of
the filter along an axis is left out where none of them has a pixel of the image there. The condition is the same for
all of a tile, so nothing changes inside of its loops; `compiler/lowering/skip_padding.py` writes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# Taps are left out where that saves more than this share of the products.
_WORTHWHILE = 0.04


@dataclass(frozen=True)
class Filter:
    """What a contraction is where it is a convolution.

    Attributes:
        images: of the batch.
        output: extents of an image of the result; they are the rows.
        kernel, strides, dilation: an axis of an image.
        is_constant: whether the weights are known when compiling.
        image: where there is padding: how much comes before the image, and the image's extent, an axis.
    """

    images: int
    output: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    is_constant: bool
    image: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Inside:
    """Where the offsets of a filter along an axis meet the image.

    Attributes:
        axis: of the channels-last image.
        before: padding before the image.
        extent: of the image.
    """

    axis: int
    before: int
    extent: int


def offsets_inside(filter: Filter | None, axes: int, rows: int) -> tuple[Inside, ...]:
    """Where the offsets along the first `axes` axes meet the image; none where tiles leave out (next to) nothing.

    Args:
        axes: of the filter that are axes of k of their own.
        rows: pixels of a tile.
    """
    if filter is None or share_inside(filter, axes, rows) == 1:
        return ()
    return tuple(Inside(1 + axis, *filter.image[axis]) for axis in range(axes))


def share_inside(filter: Filter | None, axes: int, rows: int) -> float:
    """The share of the products that tiles of `rows` pixels compute, when taps beside the image are left out."""
    if filter is None or not filter.image:
        return 1.0
    share = _share(filter, axes, rows)
    return share if share < 1 - _WORTHWHILE else 1.0


@lru_cache(maxsize=4096)
def _share(filter: Filter, axes: int, rows: int) -> float:
    pixels = filter.images * math.prod(filter.output)
    first = np.arange(0, pixels, rows)
    last = np.minimum(first + rows, pixels) - 1
    begin, end = (np.unravel_index(each, (filter.images, *filter.output)) for each in (first, last))
    together = np.ones(len(first), bool)  # the pixels of a tile lie along the axis, and no other
    products = np.ones(len(first))
    for axis in range(axes):
        together &= begin[axis] == end[axis]
        before, extent = filter.image[axis]
        offsets = np.arange(filter.kernel[axis])[:, None] * filter.dilation[axis]
        low, high = (each[axis + 1] * filter.strides[axis] + offsets for each in (begin, end))
        meets = (high >= before) & (low < before + extent)
        products *= np.where(together, meets.sum(0), filter.kernel[axis])
    return float(products.mean()) / math.prod(filter.kernel[:axes])
